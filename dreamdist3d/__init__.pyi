from .backbones import load_backbone as load_backbone
from .prompts import PromptDistribution as PromptDistribution, PromptDraw as PromptDraw
from .version import __version__ as __version__
