"""A number with the interval that says how far to trust it."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor


@dataclass(frozen=True, eq=False)
class Estimate:
    """A value and its 95 % interval over assets; `low` and `high` are None where there are too few assets for one."""

    value: float
    low: float | None = None
    high: float | None = None
    resamples: Tensor = field(default_factory=lambda: torch.empty(0), repr=False)  # [B], centred on `value`

    @classmethod
    def of(cls, value: float, resamples: Tensor) -> "Estimate":
        """The 2.5 and 97.5 % quantiles of the resamples, shifted so that their mean falls on the value.

        Without the shift, what resampling itself does to a statistic (a draw with repetitions holds fewer different
        assets than the set) would pull the interval to one side. Resamples that are not finite are left out.
        """
        finite = resamples[torch.isfinite(resamples)].double()
        if not len(finite):
            return cls(value)
        centred = finite - finite.mean() + value
        low, high = torch.quantile(centred, torch.tensor([0.025, 0.975], dtype=torch.float64)).tolist()
        return cls(value, low, high, centred)

    def as_dict(self) -> dict[str, float | None]:
        """What JSON keeps: `value`, `low`, `high`."""
        return {"value": self.value, "low": self.low, "high": self.high}


def mean_of(estimates: Sequence[Estimate]) -> Estimate:
    """The mean of independent estimates, such as one method's on several families, with its own interval.

    No interval unless each of them has one.

    Raises:
        ValueError: no estimates.

    Example:
        >>> both = mean_of([Estimate.of(1.0, torch.ones(5)), Estimate.of(3.0, torch.ones(5))])
        >>> both.as_dict()
        {'value': 2.0, 'low': 2.0, 'high': 2.0}
    """
    if not estimates:
        raise ValueError("there is no mean of no estimates")
    value = sum(estimate.value for estimate in estimates) / len(estimates)
    count = min(len(estimate.resamples) for estimate in estimates)
    return Estimate.of(value, torch.stack([estimate.resamples[:count] for estimate in estimates]).mean(dim=0))
