"""Prompt distributions: learn them from images, keep them in a file, draw from them."""

from dreamdist3d.prompts.composition import PromptComposition
from dreamdist3d.prompts.distribution import PromptDistribution
from dreamdist3d.prompts.draw import PromptDraw
from dreamdist3d.prompts.encoder import PromptFeatures, SoftPromptEncoder
from dreamdist3d.prompts.fixed import FixedMoments
from dreamdist3d.prompts.formats.opening import load_distribution, open_distributions
from dreamdist3d.prompts.learning.execution import Execution
from dreamdist3d.prompts.learning.images import ReferenceImages, load_references
from dreamdist3d.prompts.learning.learn import learn
from dreamdist3d.prompts.learning.settings import LearnConfig, preset_for
from dreamdist3d.prompts.moments import Moments
from dreamdist3d.prompts.source import PromptSource

__all__ = [
    "Execution",
    "FixedMoments",
    "LearnConfig",
    "Moments",
    "PromptComposition",
    "PromptDistribution",
    "PromptDraw",
    "PromptFeatures",
    "PromptSource",
    "ReferenceImages",
    "SoftPromptEncoder",
    "learn",
    "load_distribution",
    "load_references",
    "open_distributions",
    "preset_for",
]
