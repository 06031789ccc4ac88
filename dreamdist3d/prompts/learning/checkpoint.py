"""The state of unfinished learning on disk, and whether it belongs to the learning that is asked for."""

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from dreamdist3d.backbones import Backbone, has_fingerprint
from dreamdist3d.errors import UserError
from dreamdist3d.files import write_atomic

SAVE_STEPS = 50
SAVE_SECONDS = 30.0
_SHARE = 20  # of the time between two states that writing one may take: those of whole models are gigabytes
_FREE = ("steps",)  # step n depends on the seed and n alone, however many follow
_WAY_OUT = "Start anew with --restart, or choose another --out."


class Checkpoint:
    """`<out>.ckpt`: a learner's state beside the settings, images and model it belongs to."""

    def __init__(
        self,
        out: Path,
        settings: Mapping[str, Any],  # plain values, `steps` among them
        references: str,  # content hash of the images
        backbone: Backbone,
        start: str = "",  # content hash of the distribution it began from
    ) -> None:
        self.path = out.with_name(out.name + ".ckpt")
        self._settings, self._references, self._backbone = dict(settings), references, backbone
        self._start = start
        self._saved_at, self._took = time.monotonic(), 0.0

    def due(self, step: int) -> bool:
        """Whether a state after `step` steps is to be kept."""
        passed = time.monotonic() - self._saved_at
        return (step % SAVE_STEPS == 0 or passed > SAVE_SECONDS) and passed > _SHARE * self._took

    def save(self, state: dict[str, Any]) -> None:
        """Atomically write a learner's state."""
        began = time.monotonic()
        belongs = {
            "config": self._settings,
            "references": self._references,
            "encoder": self._backbone.fingerprint,
            "model": self._backbone.identity,
            "start": self._start,
        }
        write_atomic(self.path, lambda temporary: torch.save({**state, **belongs}, temporary))
        self._saved_at = time.monotonic()
        self._took = self._saved_at - began

    def load(self) -> dict[str, Any] | None:
        """The kept state, or None if there is none.

        Raises:
            UserError: damaged, of other settings, images or another model, or beyond the steps asked for.
        """
        if not self.path.exists():
            return None
        try:
            state = dict(torch.load(self.path, map_location="cpu", weights_only=True))
            differing = self._differences(state)
        except Exception as error:  # torch raises many types on a broken file
            raise UserError(f"{self.path} cannot be read ({type(error).__name__}). {_WAY_OUT}") from error
        if differing:
            raise UserError(f"{self.path} is of another learning: {', '.join(differing)} differ. {_WAY_OUT}")
        if state["step"] > self._settings["steps"]:
            steps = self._settings["steps"]
            raise UserError(f"{self.path} is at step {state['step']}, beyond --steps {steps}. {_WAY_OUT}")
        return state

    def remove(self) -> None:
        """Forget the state, if there is one."""
        self.path.unlink(missing_ok=True)

    def _differences(self, state: dict[str, Any]) -> list[str]:
        # Checkpoints from before there was a choice are of the paper's objective.
        kept = {"objective": "paper", **state["config"]}
        found = [
            f"{name} ({kept.get(name)!r})"
            for name, ours in self._settings.items()
            if name not in _FREE and kept.get(name) != ours
        ]
        if state["references"] != self._references:
            found.append("the reference images")
        if state.get("start", "") != self._start:  # earlier versions began at random
            found.append("what it began from (--from)")
        if not has_fingerprint(self._backbone, state["encoder"]):
            found.append("the text encoder")
        elif state.get("model", self._backbone.identity) != self._backbone.identity:  # earlier versions did not tell
            found.append("the model (its UNet, autoencoder or noise schedule)")
        return found
