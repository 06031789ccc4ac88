"""Assets that a person should look at before a number is believed, one reason a module."""

from dreamdist3d.eval.flags.empty import empty_assets, foreground
from dreamdist3d.eval.flags.janus import front_back_similarity, janus_suspects
from dreamdist3d.eval.flags.outside import outside_manifold

__all__ = ["empty_assets", "foreground", "front_back_similarity", "janus_suspects", "outside_manifold"]
