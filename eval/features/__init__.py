"""The judges: image encoders that turn pictures into unit vectors, each with its own preprocessing."""

from dreamdist3d.eval.features.cache import FeatureCache
from dreamdist3d.eval.features.catalogue import PUBLISHED, load_encoders
from dreamdist3d.eval.features.clip import ClipEncoder
from dreamdist3d.eval.features.encoder import ImageEncoder, TextEncoder
from dreamdist3d.eval.features.mini import MiniClip, MiniDino
from dreamdist3d.eval.features.timm_vit import TimmEncoder

__all__ = [
    "PUBLISHED",
    "ClipEncoder",
    "FeatureCache",
    "ImageEncoder",
    "MiniClip",
    "MiniDino",
    "TextEncoder",
    "TimmEncoder",
    "load_encoders",
]
