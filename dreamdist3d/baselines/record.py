"""`baseline.json`: what a folder's baseline was asked for, so that nothing else goes on there, and its state."""

import shutil
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dreamdist3d.backbones.adapted import lasting_name
from dreamdist3d.baselines.settings import BaselineConfig
from dreamdist3d.errors import UserError
from dreamdist3d.files import ensure_folder, read_json, write_json
from dreamdist3d.prompts import ReferenceImages

if TYPE_CHECKING:
    from dreamdist3d.backbones import Backbone

_NAME = "baseline.json"
_OURS = ("prompts.safetensors", "inversion.safetensors", "inversion.safetensors.ckpt", "learning.ckpt", _NAME)
_FOLDERS = ("backbone", "class")


class Record:
    """A baseline's folder.

    Raises:
        UserError: the folder cannot be written, or holds another baseline.
    """

    def __init__(
        self,
        folder: Path,
        config: BaselineConfig,
        references: ReferenceImages | None,
        backbone: "Backbone",
        restart: bool,
    ) -> None:
        self.folder = folder
        self._asked: dict[str, Any] = {
            **asdict(config),
            "words": list(config.words),
            "references_sha256": None if references is None else references.content_hash,
            "references": None if references is None else len(references),
            "backbone": lasting_name(backbone),
            "backbone_sha256": backbone.identity,
        }
        ensure_folder(folder)
        if restart and (folder / _NAME).is_file():  # without it nothing there is of a baseline
            self._forget()
        self._check()
        if not self.is_done:
            write_json(folder / _NAME, {**self._asked, "state": "begun"})

    @property
    def is_done(self) -> bool:
        """Whether the folder is finished."""
        path = self.folder / _NAME
        return path.is_file() and read_json(path).get("state") == "done"

    def finish(self) -> None:
        """Say so."""
        write_json(self.folder / _NAME, {**self._asked, "state": "done"})

    def _check(self) -> None:
        if not (self.folder / _NAME).is_file():
            return
        known = read_json(self.folder / _NAME)
        differing = [f"{key} ({known.get(key)!r})" for key, ours in self._asked.items() if known.get(key) != ours]
        if differing:
            raise UserError(
                f"{self.folder} holds another baseline: {', '.join(differing)} differ. Start anew with --restart, or "
                "choose another --out."
            )

    def _forget(self) -> None:
        for name in _OURS:
            (self.folder / name).unlink(missing_ok=True)
        for name in _FOLDERS:
            if (self.folder / name).is_dir() and not (self.folder / name).is_symlink():
                shutil.rmtree(self.folder / name)
