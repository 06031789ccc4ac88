"""What is known of the terms of weights."""

from dreamdist3d.backbones.catalogue import CATALOGUE
from dreamdist3d.licences import Terms


def licence_note(name: str, source: str) -> str:
    """What is known of the terms that come with a backbone's weights, in a sentence.

    Args:
        name: as the backbone was asked for.
        source: where its weights came from.
    """
    if name == "mini":
        return "Apache-2.0"
    if name in CATALOGUE:
        return f"{CATALOGUE[name].licence}: it restricts uses; read it where the weights come from ({source})"
    return f"that of the weights in {source}, which dreamdist3d does not know"


def weights_terms(name: str, role: str) -> Terms:
    """The terms of a backbone's weights.

    Args:
        name: as the backbone was asked for: a known name, or where it lies.
        role: what they did for an asset.
    """
    if name == "mini":
        return Terms("weights mini", "Apache-2.0", role=role)
    if name in CATALOGUE:
        return Terms(f"weights {name}", CATALOGUE[name].licence, "uses", role)
    return Terms(f"weights {name}", "not known to dreamdist3d", "unknown", role)


def terms_of_run(backbone: str | None, learned_with: str | None) -> list[Terms]:
    """The weights that an asset of ours comes from.

    Args:
        backbone: that it was lifted with; None for one that is not known.
        learned_with: that its distribution was learned with, as far as its file tells; None without a distribution.
    """
    found = [] if backbone is None else [weights_terms(backbone, "lifted the asset")]
    return found if not learned_with else [*found, weights_terms(learned_with, "learned the prompts")]
