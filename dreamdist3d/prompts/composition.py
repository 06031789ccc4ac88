"""Several distributions as one: their blend, or their mixture (DreamDistribution, section 3.4)."""

import hashlib
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

from dreamdist3d.backbones import Fingerprinted, is_earlier, shortened
from dreamdist3d.choices import CompositionKind
from dreamdist3d.errors import UserError, one_line
from dreamdist3d.prompts.distribution import PromptDistribution
from dreamdist3d.prompts.draw import PromptDraw
from dreamdist3d.prompts.encoder import SoftPromptEncoder
from dreamdist3d.prompts.formats.storage import Stored, write_stored
from dreamdist3d.prompts.moments import Moments, blend, common_covariance
from dreamdist3d.prompts.normal import choose
from dreamdist3d.prompts.source import MODEL, PromptSource
from dreamdist3d.typed import build

if TYPE_CHECKING:
    from typing_extensions import Self

FORMAT = "dreamdist3d-composition-1"
KINDS: tuple[str, ...] = get_args(CompositionKind)
_TOLERANCE = 1e-3  # of the weights' sum: what is left of thirds written with three decimals
_ROUNDING = 1e-12
_OF_COMPONENT = ("covariance", "encoder_fingerprint", "prefix", "suffix", "metadata", "limit")


@dataclass(frozen=True, eq=False)
class PromptComposition(PromptSource):
    """Learned distributions D_i with weights w_i.

    A `blend` is a new Gaussian between them: mean sum w_i mu_i, covariance sum (w_i gamma_i)^2 C_i. A
    `mixture` picks one component for each draw, with probability w_i.

    Args:
        components: at least two, of one text encoder; for a blend also of one covariance.
        weights: at least 0, with sum 1 (to a thousandth; they are scaled to it); None: equal.
        gammas: each component's own scale, on top of the draw's; None: 1.

    Raises:
        UserError: any of these does not hold.
    """

    components: tuple[PromptDistribution, ...]
    weights: tuple[float, ...] | None = None
    gammas: tuple[float, ...] | None = None
    kind: CompositionKind = "blend"

    def __post_init__(self) -> None:
        components, count = tuple(self.components), len(self.components)
        object.__setattr__(self, "components", components)
        object.__setattr__(self, "weights", normalised(_or_equal(self.weights, 1 / max(1, count), count), count))
        object.__setattr__(self, "gammas", _checked_gammas(_or_equal(self.gammas, 1.0, count), count))
        self._check()

    @property  # where others keep a value, a composition asks its components
    def encoder_fingerprint(self) -> str:  # type: ignore[override]
        """Of the text encoder they were all learned with, as the first component has it."""
        return self.components[0].encoder_fingerprint

    def check_encoder(self, model: Fingerprinted) -> None:
        """As `PromptSource.check_encoder`, for every component."""
        for component in self.components:
            component.check_encoder(model)

    @cached_property
    def metadata(self) -> dict[str, str]:  # type: ignore[override]
        """The backbone all components name, if it is one; that of a component for a changed model, and its hash."""
        bound = [component.metadata for component in self.components if MODEL in component.metadata]
        if bound:
            return {key: bound[0][key] for key in ("backbone", MODEL) if key in bound[0]}
        names = {component.metadata.get("backbone", "") for component in self.components}
        return {"backbone": names.pop()} if len(names) == 1 and "" not in names else {}

    @property
    def content_hash(self) -> str:
        """Hex SHA-256 of kind, weights, gammas and the components' own."""
        parts = [self.kind, self.weights, self.gammas, [component.content_hash for component in self.components]]
        return hashlib.sha256(json.dumps(parts).encode()).hexdigest()

    def save(self, path: Path) -> None:
        """As `PromptSource.save`; the components are in the file."""
        described = [
            {key: value for key in _OF_COMPONENT if (value := getattr(component, key)) is not None}
            for component in self.components
        ]
        metadata = {
            "encoder_fingerprint": self.encoder_fingerprint,
            "kind": self.kind,
            "weights": json.dumps(self.weights),
            "gammas": json.dumps(self.gammas),
            "components": json.dumps(described, sort_keys=True),
        }
        tensors = {f"tokens.{index}": component.tokens for index, component in enumerate(self.components)}
        write_stored(Path(path), FORMAT, tensors, metadata)

    @classmethod
    def from_stored(cls, stored: Stored) -> "Self":
        """As `PromptSource.from_stored`."""
        stored.require(FORMAT, *(f"tokens.{index}" for index in range(len(stored.tensors))))
        known = stored.take("encoder_fingerprint", "kind", "weights", "gammas", "components")
        common = known["encoder_fingerprint"]
        try:
            components = [
                PromptDistribution(stored.tensors[f"tokens.{i}"], **_described(described, common))
                for i, described in enumerate(json.loads(known["components"]))
            ]
            weights, gammas = (tuple(json.loads(known[key])) for key in ("weights", "gammas"))
            kind: Any = known["kind"]  # checked in __post_init__
            return cls(tuple(components), weights, gammas, kind)
        except (UserError, ValueError, TypeError, KeyError, RecursionError) as error:
            raise UserError(f"{stored.path}: {one_line(error)}") from error

    def draw(
        self,
        seed: int,
        gamma: float = 1.0,
        prefix: str | None = None,
        suffix: str | None = None,
        antithetic: bool = False,
    ) -> PromptDraw:
        """As `PromptSource.draw`; of a mixture it says which component it is from."""
        component = choose(seed, self._scales[0]) if self.kind == "mixture" else None
        covariance = self.components[component or 0].covariance
        return PromptDraw(seed, gamma, covariance, antithetic, prefix, suffix, component=component)

    def moments_for(self, draw: PromptDraw, encoder: SoftPromptEncoder) -> Moments:
        """The blend under the draw's words and weights, or the drawn component.

        Raises:
            UserError: as `PromptSource.moments_for`; or the draw is of another composition.
        """
        weights, gammas = self._scales
        if self.kind == "mixture":
            index = self._component_of(draw)
            return self.components[index].moments_for(draw, encoder).scaled(gammas[index])
        if draw.weights is not None:
            weights = normalised(draw.weights, len(self.components))
        return blend([c.moments_for(draw, encoder) for c in self.components], weights, gammas)

    @property
    def _scales(self) -> tuple[tuple[float, ...], tuple[float, ...]]:
        """Weights and gammas, which __post_init__ has made numbers."""
        return self.weights or (), self.gammas or ()

    def _component_of(self, draw: PromptDraw) -> int:
        if draw.component is None or not 0 <= draw.component < len(self.components):
            raise UserError(
                f"the draw names component {draw.component}, the mixture has {len(self.components)} (from 0): "
                "draw from this mixture."
            )
        return draw.component

    def _check(self) -> None:
        if len(self.components) < 2:
            raise UserError("a composition is made of at least two distributions: name them all.")
        if self.kind not in KINDS:
            raise UserError(f"the composition {self.kind!r} is unknown: it is one of {', '.join(KINDS)}.")
        if any(component.references is not None for component in self.components):
            raise UserError("distributions with pictures in them do not mix: make them without --details.")
        if len({component.metadata.get(MODEL) for component in self.components} - {None}) > 1:
            raise UserError(
                "the distributions belong to different changed models, of which a run has one: do not mix them."
            )
        first = self.components[0]
        for component in self.components[1:]:
            names = first.encoder_fingerprint, component.encoder_fingerprint
            # Those of files of different versions cannot be compared before there is a text encoder.
            if names[0] != names[1] and is_earlier(names[0]) == is_earlier(names[1]):
                raise UserError(
                    f"the distributions are not of one text encoder: one was learned with another text encoder "
                    f"({shortened(names[1])}) than the first ({shortened(names[0])})."
                )
        if self.kind == "blend":
            common_covariance([component.covariance for component in self.components])


@dataclass(frozen=True)
class _Component:
    """What a file says of a component beside its tokens."""

    covariance: str
    metadata: dict[str, str]
    prefix: str
    suffix: str
    encoder_fingerprint: str
    limit: float | None = None


def _described(values: Any, fingerprint: str) -> dict[str, Any]:
    """Earlier versions wrote the fingerprint once for all."""
    values = {"encoder_fingerprint": fingerprint} | dict(values)
    return vars(build(_Component, values, "the metadata 'components'"))


def _or_equal(given: Sequence[float] | None, value: float, count: int) -> Sequence[float]:
    return [value] * count if given is None else given


def normalised(weights: Sequence[float], count: int) -> tuple[float, ...]:
    """Weights with sum 1.

    Raises:
        UserError: another number of them than `count`, one that is negative or not finite, or a sum other than 1.
    """
    if len(weights) != count:
        raise UserError(f"{len(weights)} weights for {count} distributions: give one for each.")
    total = math.fsum(weights)
    if not (all(weight >= 0 for weight in weights) and abs(total - 1) <= _TOLERANCE):
        listed = " ".join(f"{weight:g}" for weight in weights)
        raise UserError(f"the weights {listed} sum to {total:g}: they must be at least 0 and sum to 1.")
    # Left alone where only rounding is off: scaling again would change a hash.
    return tuple(float(weight) if abs(total - 1) < _ROUNDING else weight / total for weight in weights)


def _checked_gammas(gammas: Sequence[float], count: int) -> tuple[float, ...]:
    if len(gammas) != count:
        raise UserError(f"{len(gammas)} gammas for {count} distributions: give one for each.")
    if not all(math.isfinite(gamma) and gamma >= 0 for gamma in gammas):
        raise UserError("the gammas must be finite numbers of at least 0 (1 = as learned).")
    return tuple(float(gamma) for gamma in gammas)
