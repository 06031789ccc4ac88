from .base import Condition as Condition, guidance_for as guidance_for
from .batch import plain_background as plain_background, rescale_std as rescale_std
from .multiview import MultiviewGuidance as MultiviewGuidance, guide_together as guide_together
