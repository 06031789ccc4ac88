"""A generator on disk: `generator.safetensors`, and the UNet's part beside it, by the name that backbones look for."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from dreamdist3d.assistant.generator.conditions import Conditions
from dreamdist3d.assistant.generator.patches import Patches, load_patches
from dreamdist3d.backbones import Backbone, has_fingerprint, scale_references, see_references
from dreamdist3d.backbones.references import FILE, hash_of
from dreamdist3d.errors import UserError, one_line
from dreamdist3d.files import write_atomic
from dreamdist3d.prompts import PromptDistribution

FORMAT = "dreamdist3d-generator-1"
GENERATOR = "generator.safetensors"
_PLACE = "reference_attention_path"  # where `PromptSource.check_model` looks


@dataclass(frozen=True, eq=False)
class Generator:
    """What a backbone needs to see S and a picture's patches.

    Attributes:
        conditions: from both to tokens.
        patches: the frozen encoder that it was trained with.
        inputs: name of the CLIP that spans S.
        reference_attention: hash of the weights by which the UNet sees the tokens.
        folder: where those lie.
        backbone, fingerprint: name of the backbone that it was loaded for, and of its text encoder.
    """

    conditions: Conditions
    patches: Patches
    inputs: str
    reference_attention: str
    folder: Path
    backbone: str
    fingerprint: str

    def install(self, backbone: Backbone, scales: Sequence[float] = (1.0, 1.0)) -> None:
        """Let `backbone` see what `tokens` makes.

        Args:
            backbone: the one it was trained for.
            scales: of S's branch and of the patches' (the s of equation 1).

        Raises:
            UserError: the UNet's part is not there, or another one's.
        """
        see_references(backbone, self.reference_attention, str(self.folder / FILE))
        scale_references(backbone.unet, scales)

    @torch.no_grad()
    def tokens(self, wanted: Tensor | None, picture: Tensor, count: int) -> Tensor:
        """[N, T, D]: what stands behind the words of N prompts, on the CPU.

        Args:
            wanted: embeddings of the pictures wanted [N, S]; None: they are not known.
            picture: the one given [3, H, W] in [0, 1].
            count: N.
        """
        device = next(self.conditions.parameters()).device
        patches = self.patches(picture[None]).expand(count, -1, -1).to(device)
        if wanted is None:
            kept = torch.tensor([[False, True]], device=device).expand(count, -1)
            return self.conditions(patches.new_zeros(count, self.conditions.sizes[0]), patches, kept).cpu()
        return self.conditions(wanted.to(device), patches).cpu()

    def file(self, vectors: Tensor, shown: Tensor) -> PromptDistribution:
        """One prompt as a distribution of its own, which the backbone sees with what stands behind it.

        Args:
            vectors: of its words [M, d].
            shown: of `tokens`, [T, D].
        """
        facts = {"backbone": self.backbone, "objective": "assistant", _PLACE: str((self.folder / FILE).resolve())}
        return PromptDistribution(
            vectors[None].cpu(),
            "low_rank",
            self.fingerprint,
            metadata=facts,
            references=shown,
            reference_attention=self.reference_attention,
        )


def save_generator(
    folder: Path, conditions: Conditions, layers: nn.ModuleList, patches: str, inputs: str, backbone: Backbone
) -> None:
    """Write both files into `folder`, in half precision."""
    folder.mkdir(parents=True, exist_ok=True)
    seen_by = {name: _half(value) for name, value in layers.state_dict().items()}
    tensors = {name: _half(value) for name, value in conditions.state_dict().items()}
    metadata = {
        "format": FORMAT,
        "sizes": json.dumps(conditions.sizes),
        "patches": patches,
        "inputs": inputs,
        "encoder_fingerprint": backbone.fingerprint,
        "reference_attention": hash_of(seen_by),
    }
    write_atomic(folder / FILE, lambda path: save_file(seen_by, path))
    # Last, so that a folder with this file in it is a whole one.
    write_atomic(folder / GENERATOR, lambda path: save_file(tensors, path, metadata))


def load_generator(folder: Path, backbone: Backbone, patches: str = "") -> Generator:
    """Read what `save_generator` wrote, frozen.

    Args:
        folder: with both files.
        backbone: the one it was trained for.
        patches: where the patches' encoder lies, as `load_patches` takes it; empty: as recorded.

    Raises:
        UserError: a file is missing or damaged, or the backbone or the encoder is another one.
    """
    path = Path(folder) / GENERATOR
    if not path.is_file():
        raise UserError(
            f"no generator in {folder}: {GENERATOR} is missing; `dreamdist3d assistant generator` makes one."
        )
    try:
        with safe_open(path, "pt") as file:
            about = dict(file.metadata() or {})
            tensors = {name: file.get_tensor(name).float() for name in file.keys()}  # noqa: SIM118, it is no mapping
        if about.get("format") != FORMAT:
            raise UserError(f"{path} is no generator: name the folder that `dreamdist3d assistant generator` wrote.")
        conditions = Conditions(*json.loads(about["sizes"]))
        conditions.load_state_dict(tensors)
    except (OSError, SafetensorError, LookupError, TypeError, ValueError, RuntimeError) as error:
        raise UserError(f"{path} is no whole generator ({one_line(error)[:200]}): get it again.") from error
    if not has_fingerprint(backbone, about.get("encoder_fingerprint", "")):
        raise UserError(f"{path} was trained for another backbone than {backbone.name}: use that one.")
    seen = load_patches(patches or about["patches"], backbone)
    if seen.name != about["patches"]:
        raise UserError(f"{path} sees by {about['patches']}, but here are {seen.name}: get the same weights.")
    conditions = conditions.to(backbone.device).eval().requires_grad_(False)
    return Generator(
        conditions,
        seen,
        about.get("inputs", ""),
        about.get("reference_attention", ""),
        Path(folder),
        backbone.name,
        backbone.fingerprint,
    )


def is_for(folder: Path, backbone: Backbone) -> bool:
    """Whether a folder holds a generator for this backbone."""
    path = folder / GENERATOR
    if not path.is_file():
        return False
    try:
        with safe_open(path, "pt") as file:
            return has_fingerprint(backbone, (file.metadata() or {}).get("encoder_fingerprint", ""))
    except (OSError, SafetensorError):
        return True  # which `load_generator` tells more about


def _half(value: Tensor) -> Tensor:
    value = value.detach().cpu().contiguous()
    return value.half() if value.is_floating_point() else value
