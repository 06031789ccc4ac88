from .multiview import (
    MultiviewGuidance as MultiviewGuidance,
    guide_together as guide_together,
    plain_background as plain_background,
    rescale_std as rescale_std,
)
