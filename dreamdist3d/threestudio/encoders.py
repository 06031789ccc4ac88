"""The text encoder alone of a model that threestudio is told to use."""

import re
from pathlib import Path
from typing import Any

from dreamdist3d.backbones import TextSide
from dreamdist3d.backbones.find import find
from dreamdist3d.backbones.parts import load_model, load_part
from dreamdist3d.errors import UserError
from dreamdist3d.prompts import PromptSource, SoftPromptEncoder
from dreamdist3d.quiet import quiet_loading

_HUB_ID = re.compile(r"[\w.-]+/[\w.-]+")


def open_encoder(name_or_path: str, source: PromptSource | None, device: Any = "cpu") -> SoftPromptEncoder:
    """Load a text encoder in float32, frozen, whatever precision its file has.

    Args:
        name_or_path: mini, a name of the catalogue, a local folder, an original checkpoint file, or a repository of
            the hub.
        source: the distribution to be encoded; it must have been learned with this encoder. None: a plain text.
        device: a torch device.

    Raises:
        UserError: nothing is found there, it cannot be loaded, or it is not the encoder of `source`.
    """
    with quiet_loading():
        tokenizer, text_encoder = _parts(name_or_path)
    if source is not None:
        try:
            source.check_text_side(TextSide(tokenizer, text_encoder))
        except UserError as error:
            raise UserError(f"pretrained_model_name_or_path={name_or_path}: {error}") from error
    return SoftPromptEncoder(tokenizer, text_encoder.to(device).float().eval().requires_grad_(False))


def _parts(name_or_path: str) -> tuple[Any, Any]:
    from transformers import CLIPTextModel, CLIPTokenizer

    if _HUB_ID.fullmatch(name_or_path) and not Path(name_or_path).exists():
        return _hub_part(CLIPTokenizer, name_or_path, "tokenizer"), _hub_part(
            CLIPTextModel, name_or_path, "text_encoder", use_safetensors=True
        )
    path = find(name_or_path).path
    if path.is_file():
        from dreamdist3d.backbones.convert import parts_of_checkpoint

        parts = parts_of_checkpoint(path)
        return parts["tokenizer"], parts["text_encoder"]
    return load_part(CLIPTokenizer, path / "tokenizer"), load_model(CLIPTextModel, path / "text_encoder")


def _hub_part(kind: Any, repository: str, part: str, **options: Any) -> Any:
    try:
        return kind.from_pretrained(repository, subfolder=part, **options)
    except Exception as error:  # the library raises its own kinds for what the hub or the disk does not have
        line = " ".join(str(error).split())[:200]
        raise UserError(f"{repository}/{part} cannot be had: {line} Give a local folder instead.") from error
