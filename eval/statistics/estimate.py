"""A number with the interval that says how far to trust it."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from scipy import stats

CONFIDENCE = 0.95


@dataclass(frozen=True)
class Estimate:
    """A value and its 95 % interval over assets; `low` and `high` are None where there are too few assets for one.

    Attributes:
        value: the score of the set.
        low, high: the interval's ends.
        error: the standard error, None without an interval.
        degrees: of freedom that the error was estimated with.
        lowest, highest: what the score cannot be less or more than.
    """

    value: float
    low: float | None = None
    high: float | None = None
    error: float | None = None
    degrees: float = 0.0
    lowest: float = -math.inf
    highest: float = math.inf

    @classmethod
    def of(
        cls, value: float, error: float, degrees: float, lowest: float = -math.inf, highest: float = math.inf
    ) -> "Estimate":
        """Student's t interval around the value, cut at what the score can be.

        Example:
            >>> round(Estimate.of(0.5, 0.1, 3).high, 3), Estimate.of(0.9, 0.1, 3, highest=1.0).high
            (0.818, 1.0)
        """
        reach = quantile(degrees) * error
        return cls(value, max(value - reach, lowest), min(value + reach, highest), error, degrees, lowest, highest)

    def as_dict(self) -> dict[str, float | None]:
        """What JSON keeps: `value`, `low`, `high`."""
        return {"value": self.value, "low": self.low, "high": self.high}


def quantile(degrees: float) -> float:
    """How many standard errors a 95 % interval reaches to each side, with so many degrees of freedom."""
    return float(stats.t.ppf(0.5 + CONFIDENCE / 2, degrees))


def mean_of(estimates: Sequence[Estimate]) -> Estimate:
    """The mean of independent estimates, such as one method's on several families, with its own interval.

    Errors add in squares; degrees of freedom are Welch and Satterthwaite's. No interval unless each of them has one.

    Source: Satterthwaite, "An approximate distribution of estimates of variance components", Biometrics 2 (1946).

    Raises:
        ValueError: no estimates.

    Example:
        >>> mean_of([Estimate.of(1.0, 0.0, 4), Estimate.of(3.0, 0.0, 4)]).as_dict()
        {'value': 2.0, 'low': 2.0, 'high': 2.0}
    """
    if not estimates:
        raise ValueError("there is no mean of no estimates")
    count = len(estimates)
    value = sum(one.value for one in estimates) / count
    errors = [one.error for one in estimates if one.error is not None]
    if len(errors) < count:
        return Estimate(value)
    variances = [error**2 for error in errors]
    total = sum(variances)
    spread = sum(variance**2 / one.degrees for variance, one in zip(variances, estimates, strict=True))
    degrees = total**2 / spread if spread else sum(one.degrees for one in estimates)
    lowest, highest = (sum(getattr(one, end) for one in estimates) / count for end in ("lowest", "highest"))
    return Estimate.of(value, math.sqrt(total) / count, degrees, lowest, highest)
