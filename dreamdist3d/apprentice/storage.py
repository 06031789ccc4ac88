"""An apprentice's file: weights in half precision, its sizes, the text encoder it is for, and what it knows."""

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from dreamdist3d.apprentice.details import Details
from dreamdist3d.apprentice.network import Apprentice, ApprenticeConfig
from dreamdist3d.backbones import Fingerprinted, has_fingerprint, shortened
from dreamdist3d.errors import UserError
from dreamdist3d.files import write_atomic

FORMAT = "dreamdist3d-apprentice-1"
_KNOWN = "known."  # before the names of tensors that the knownness estimate keeps
_DETAILS = "details."  # before those of the projection of patches for a UNet's reference attention


@dataclass(frozen=True, eq=False)
class Trained:
    """An apprentice with what is known of it.

    Attributes:
        fingerprint: of the text encoder its tokens are for.
        inputs: name of what it sees of pictures (`load_inputs`).
        known: tensors of the knownness estimate; empty: it was never calibrated.
        facts: about its training.
        details: how it shows pictures to a UNet; None: it was not trained to.
        reference_attention: hash of the weights by which the UNet sees them.
    """

    apprentice: Apprentice
    fingerprint: str
    inputs: str
    known: dict[str, Tensor] = field(default_factory=dict)
    facts: dict[str, str] = field(default_factory=dict)
    details: Details | None = None
    reference_attention: str = ""

    def save(self, path: Path) -> None:
        """Write the file, whole or not at all."""
        tensors = {
            name: value.detach().half().cpu().contiguous() for name, value in self.apprentice.state_dict().items()
        }
        tensors |= {_KNOWN + name: value.half().cpu().contiguous() for name, value in self.known.items()}
        if self.details is not None:
            tensors |= {_DETAILS + name: value.detach().half() for name, value in self.details.state_dict().items()}
        about = {
            **self.facts,
            "reference_attention": self.reference_attention,
            "format": FORMAT,
            "config": json.dumps(asdict(self.apprentice.config)),
            "encoder_fingerprint": self.fingerprint,
            "inputs": self.inputs,
        }
        whole = {name: value.cpu().contiguous() for name, value in tensors.items()}
        write_atomic(Path(path), lambda temporary: save_file(whole, temporary, about))

    def check_encoder(self, model: Fingerprinted) -> None:
        """Raise a UserError unless its tokens are for the text encoder of `model`."""
        if not has_fingerprint(model, self.fingerprint):
            raise UserError(
                f"the apprentice was trained for another text encoder ({shortened(self.fingerprint)}; this one is "
                f"{shortened(model.fingerprint)}): give --apprentice a file that was trained for it."
            )


def load_apprentice(path: Path) -> Trained:
    """Read what `Trained.save` wrote, as float32, in eval mode.

    Raises:
        UserError: missing, damaged, or another kind of file.
    """
    path = Path(path)
    if not path.is_file():
        raise UserError(f"{path} does not exist: name the file that `dreamdist3d apprentice train` wrote.")
    try:
        with safe_open(path, framework="pt") as file:
            about = dict(file.metadata() or {})
            if about.pop("format", "") != FORMAT:
                raise UserError(f"{path} is no apprentice: name the file that `dreamdist3d apprentice train` wrote.")
            tensors = {name: file.get_tensor(name).float() for name in file.keys()}  # noqa: SIM118, it is no mapping
        config: dict[str, Any] = json.loads(about.pop("config"))
        apprentice = Apprentice(ApprenticeConfig(**config))
        known = {name.removeprefix(_KNOWN): tensors.pop(name) for name in list(tensors) if name.startswith(_KNOWN)}
        details = _details(apprentice, tensors)
        apprentice.load_state_dict(tensors)
        named = {key: about.pop(key, "") for key in ("encoder_fingerprint", "inputs", "reference_attention")}
        return Trained(
            apprentice.eval().requires_grad_(False),
            named["encoder_fingerprint"],
            named["inputs"],
            known,
            about,
            details,
            named["reference_attention"],
        )
    except (OSError, SafetensorError, LookupError, TypeError, ValueError, RuntimeError) as error:
        raise UserError(f"{path} is no whole apprentice ({type(error).__name__}: {error}): get it again.") from error


def _details(apprentice: Apprentice, tensors: dict[str, Tensor]) -> Details | None:
    """What the file holds of them, taken out of `tensors`."""
    state = {name.removeprefix(_DETAILS): tensors.pop(name) for name in list(tensors) if name.startswith(_DETAILS)}
    if not state:
        return None
    config = apprentice.config
    details = Details(config.features + config.width, len(state["project.3.bias"]))
    details.load_state_dict(state)
    return details.eval().requires_grad_(False)
