"""dreamdist3d inside threestudio: link this folder into its `custom/` (`dreamdist3d threestudio install`).

threestudio imports it under the folder's own name and looks the parts up by the names they register. All work is
done by the `dreamdist3d` package; nothing here is needed without threestudio.
"""

from . import cameras, exporter, guidance, prompt_processor
from .experiment import follow_draws

__all__ = ["cameras", "exporter", "guidance", "prompt_processor"]

follow_draws()
