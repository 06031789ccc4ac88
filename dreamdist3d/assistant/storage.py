"""An assistant on disk: `llm/` as transformers saves a language model, `assistant.safetensors` with what is ours.

A language model that is only read (CAFE keeps Llama 2 frozen) need not lie in the folder: the file names where it is.
"""

from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from dreamdist3d.assistant.inputs import ClipInputs, PictureInputs, mini_inputs
from dreamdist3d.assistant.model import AssistantModel
from dreamdist3d.errors import UserError, one_line
from dreamdist3d.files import read_json, write_atomic, write_json
from dreamdist3d.quiet import quiet_loading

FORMAT = "dreamdist3d-assistant-1"
_OWN, _LLM, _LORA = "assistant.safetensors", "llm", "lora"
_LAYERS = {"project.weight", "project.bias", "token", "head.weight", "head.bias"}


@dataclass(frozen=True)
class Stored:
    """A model, the encoders that it sees pictures through, and where it lies, if it lies anywhere."""

    model: AssistantModel
    inputs: PictureInputs
    folder: Path | None = None


def packaged() -> Path:
    """The folder of the miniature assistant."""
    return Path(str(files("dreamdist3d.assistant"))) / "weights"


def save_assistant(model: AssistantModel, inputs_name: str, folder: Path, half: bool = False, llm: str = "") -> None:
    """Write `folder`.

    Args:
        inputs_name: `PictureInputs.name` of what it was trained with.
        half: in float16.
        llm: where the language model lies, if it was only read; empty: it is written too. Low-rank factors that it was
            given are written in any case.
    """
    folder.mkdir(parents=True, exist_ok=True)
    dtype = torch.float16 if half else torch.float32
    if not llm:
        # A copy of the weights is made half, so that training goes on in full; what is one tensor stays one.
        cast: dict[int, torch.Tensor] = {}
        weights = model.llm.state_dict().items()
        state = {name: cast.setdefault(value.data_ptr(), value.to(dtype)) for name, value in weights}
        with quiet_loading():
            model.llm.save_pretrained(folder / _LLM, state_dict=state, safe_serialization=True)
        model.tokenizer.save_pretrained(folder / _LLM)
        _make_plain(folder / _LLM)
    elif has_lora(model.llm):
        with quiet_loading():
            model.llm.save_pretrained(folder / _LORA, safe_serialization=True)
    tensors = {name: value.detach().to(dtype).contiguous() for name, value in model.own_parameters().items()}
    metadata = {"format": FORMAT, "inputs": inputs_name, "llm": llm}
    # Last, so that a folder with this file in it is a whole one.
    write_atomic(folder / _OWN, lambda path: save_file(tensors, path, metadata))


def _make_plain(folder: Path) -> None:
    """A tokenizer's configuration that older readers understand too, and weights that everybody may read."""
    path = folder / "tokenizer_config.json"
    values = read_json(path)
    if values.get("tokenizer_class") == "TokenizersBackend":  # transformers 5's name for what 4 has as well
        values["tokenizer_class"] = "PreTrainedTokenizerFast"
    if isinstance(extra := values.pop("extra_special_tokens", None), list):
        values["additional_special_tokens"] = extra
    write_json(path, {k: v for k, v in values.items() if k not in ("backend", "is_local", "local_files_only")})
    for weights in folder.glob("*.safetensors"):
        weights.chmod(0o644)


def load_assistant(folder: Path | None = None, clip: Path | None = None) -> Stored:
    """Read what `save_assistant` wrote, frozen.

    Args:
        folder: None for the packaged miniature.
        clip: the CLIP folder of an assistant that was trained with one at full size.

    Raises:
        UserError: a part is missing or does not fit, in one line that names it.
    """
    folder = packaged() if folder is None else Path(folder)
    tensors, metadata = _read_own(folder / _OWN)
    llm, tokenizer = load_llm(Path(metadata.get("llm") or folder / _LLM))
    if (folder / _LORA).is_dir():
        llm = _with_lora(llm, folder / _LORA)
    inputs = _inputs_named(metadata.get("inputs", ""), clip)
    model = AssistantModel(llm, tokenizer, tensors["project.weight"].shape[1], tensors["head.weight"].shape[0])
    try:
        model.load_state_dict({name: value.float() for name, value in tensors.items()}, strict=False)
    except RuntimeError as error:
        raise UserError(f"{folder / _OWN} does not fit the language model beside it: {one_line(error)[:200]}") from None
    if (inputs.width, inputs.wanted_width) != (model.project.in_features, model.head.out_features):
        raise UserError(f"{folder / _OWN} was trained with another CLIP than {inputs.name}: name that one.")
    if not metadata.get("llm"):
        model.float()  # small, and half precision is slow on a CPU; one that lies elsewhere keeps the precision it has
    return Stored(model.eval().requires_grad_(False), inputs, folder)


def load_llm(folder: Path) -> tuple[Any, Any]:
    """A causal language model and its tokenizer from a local folder, whichever transformers knows.

    Raises:
        UserError: nothing is there, or it does not load. Nothing is downloaded.
    """
    from transformers import AutoModelForCausalLM, AutoTokenizer

    if not (folder / "config.json").is_file():
        raise UserError(f"no language model in {folder}: name a folder with a config.json, such as a copy of Llama 2.")
    try:
        with quiet_loading():
            llm = AutoModelForCausalLM.from_pretrained(
                folder, local_files_only=True, use_safetensors=True, torch_dtype="auto"
            )
            tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
    except Exception as error:  # transformers and its tokenizers raise what they like
        raise UserError(f"the language model in {folder} does not load: {one_line(error)[:200]}") from error
    return llm, tokenizer


def has_lora(llm: Any) -> bool:
    """Whether peft gave a language model low-rank factors."""
    return bool(getattr(llm, "peft_config", None))


def _with_lora(llm: Any, folder: Path) -> Any:
    from peft import PeftModel

    try:
        with quiet_loading():
            return PeftModel.from_pretrained(llm, str(folder), local_files_only=True)
    except Exception as error:  # peft, safetensors and torch each raise their own
        raise UserError(f"the low-rank factors in {folder} do not load: {one_line(error)[:200]}") from error


def _inputs_named(name: str, clip: Path | None) -> PictureInputs:
    if name == "mini-clip":
        return mini_inputs()
    if clip is None:
        raise UserError(
            f"this assistant sees pictures through {name or 'an unnamed encoder'}: give its folder (--clip)."
        )
    return ClipInputs(clip)


def _read_own(path: Path) -> tuple[dict[str, torch.Tensor], dict[str, str]]:
    if not path.is_file():
        raise UserError(
            f"no assistant in {path.parent}: {path.name} is missing; train one, or install the package again."
        )
    try:
        with safe_open(path, "pt") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise UserError(f"{path} cannot be read: {one_line(error)}. Restore it from a backup.") from error
    if metadata.get("format") != FORMAT or set(tensors) != _LAYERS:
        raise UserError(f"{path} is no assistant ({metadata.get('format', 'no format')}): give a folder that has one.")
    return tensors, metadata
