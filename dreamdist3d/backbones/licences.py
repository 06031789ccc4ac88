"""What is known of the terms of weights."""

from dreamdist3d.backbones.catalogue import CATALOGUE


def licence_note(name: str, source: str) -> str:
    """What is known of the terms that come with a backbone's weights.

    Args:
        name: as the backbone was asked for.
        source: where its weights came from.
    """
    if name == "mini":
        return "Apache-2.0"
    if name in CATALOGUE:
        return f"{CATALOGUE[name].licence}: it restricts uses; read it where the weights come from ({source})"
    return f"that of the weights in {source}, which dreamdist3d does not know"
