"""Prompt distributions: learn them from images, keep them in a file, draw from them."""

from dreamdist3d.prompts.distribution import PromptDistribution
from dreamdist3d.prompts.draw import Moments, PromptDraw
from dreamdist3d.prompts.encoder import PromptFeatures, SoftPromptEncoder
from dreamdist3d.prompts.images import ReferenceImages, load_references
from dreamdist3d.prompts.learn import learn
from dreamdist3d.prompts.settings import LearnConfig, preset_for

__all__ = [
    "LearnConfig",
    "Moments",
    "PromptDistribution",
    "PromptDraw",
    "PromptFeatures",
    "ReferenceImages",
    "SoftPromptEncoder",
    "learn",
    "load_references",
    "preset_for",
]
