"""The scores of a report: what each is called, which side it is on, and which way is better."""

from dataclasses import dataclass
from typing import Any, Literal

from dreamdist3d.eval.statistics import Estimate


@dataclass(frozen=True)
class Metric:
    """A column of the tables."""

    label: str
    side: Literal["diversity", "fidelity"]
    better: Literal["lower", "higher"]


METRICS: dict[str, Metric] = {
    "pooled": Metric("similarity, all pictures (Table 4)", "diversity", "lower"),
    "matched": Metric("similarity, matched views", "diversity", "lower"),
    "vendi": Metric("Vendi score", "diversity", "higher"),
    "nearest_distance": Metric("distance to the nearest other asset", "diversity", "higher"),
    "silhouette": Metric("silhouette distance", "diversity", "higher"),
    "chamfer": Metric("chamfer distance", "diversity", "higher"),
    "extent_spread": Metric("spread of proportions", "diversity", "higher"),
    "volume_spread": Metric("spread of volumes", "diversity", "higher"),
    "hue_entropy": Metric("hue entropy, bits", "diversity", "higher"),
    "hue_divergence": Metric("hue divergence, bits", "diversity", "higher"),
    "iv": Metric("Inception variance (IV), nats", "diversity", "higher"),
    "lpips": Metric("LPIPS", "diversity", "higher"),
    "to_references": Metric("similarity to references", "fidelity", "higher"),
    "agreement": Metric("agreement with the draw's own first views", "fidelity", "higher"),
    "to_text": Metric("similarity to the text", "fidelity", "higher"),
    "density": Metric("density", "fidelity", "higher"),
    "coverage": Metric("coverage", "fidelity", "higher"),
    "precision": Metric("precision", "fidelity", "higher"),
    "recall": Metric("recall", "fidelity", "higher"),
    "frechet": Metric("Frechet distance", "fidelity", "lower"),
    "iq": Metric("Inception quality (IQ), nats", "fidelity", "lower"),
    "fid": Metric("FID", "fidelity", "lower"),
    "kid": Metric("KID", "fidelity", "lower"),
}


@dataclass(frozen=True, eq=False)
class Score:
    """One number of one set."""

    metric: str  # a key of METRICS
    judge: str | None  # an encoder's name; None for what needs none
    estimate: Estimate

    def as_dict(self) -> dict[str, Any]:
        """What JSON keeps."""
        return {"metric": self.metric, "judge": self.judge, **rounded(self.estimate.as_dict())}


def rounded(values: dict[str, float | None]) -> dict[str, float | None]:
    """Six decimals, which is what the metrics promise."""
    return {key: None if value is None else round(value, 6) for key, value in values.items()}
