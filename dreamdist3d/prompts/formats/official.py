"""Checkpoints of the official DreamDistribution code: `final-*.pt` (prompts) and `final-*.npz` (their moments).

A `.pt` holds `ctx` [1, K, M, d] among everything else its module owned; the words around the prompts are
arguments of the official commands and in no file. An `.npz` holds `means` and `stds` [1, L, D], taken without
those words, and `prompt_texts`, the nearest words to the mean prompt.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from dreamdist3d.errors import UserError
from dreamdist3d.files import write_atomic
from dreamdist3d.prompts.distribution import PromptDistribution
from dreamdist3d.prompts.formats.reading import checked, existing_file, is_plain, listed, load_pickle
from dreamdist3d.prompts.formats.storage import check_size

DIFFERENCES = (
    "learned by the official code, which takes sigma with 1/(K-1), squares the orthogonality term, and adds the "
    "position embeddings twice to all but the learned tokens; dreamdist3d follows the paper and CLIP: 1/K, the "
    "absolute value, once"
)
_CONTEXT = "ctx"
_WRAPPERS = ("model_state_dict", "state_dict")
_SMALLEST_FLOAT = 2  # bytes


class OfficialPrompts(NamedTuple):
    """What a checkpoint tells about its prompts."""

    tokens: Tensor  # [K, M, d] float32
    vocabulary: Tensor | None  # [words, d], the token embeddings of the text encoder saved along, if it was
    prefix: str  # words before the tokens; "" in the official code's own files, which do not keep them
    suffix: str  # words after them


class OfficialMoments(NamedTuple):
    """Mean and deviation of encoded prompts, without the prompts."""

    mu: Tensor  # [L, D] float32
    sigma: Tensor  # [L, D] float32, with 1/(K-1)
    text: str  # nearest words to the mean prompt; "" if the file has none


def read_official(path: Path) -> OfficialPrompts:
    """Read the prompts of an official checkpoint.

    Raises:
        UserError: unreadable, needs code to run, no or several `ctx`, several classes, another rank, not finite.
    """
    return official_prompts(path, load_pickle(path))


def is_official(content: Any) -> bool:
    """Whether a loaded file looks like an official checkpoint: wrapped as one, or with a key `ctx`."""
    return isinstance(content, Mapping) and (any(key in content for key in _WRAPPERS) or bool(_keys(content)))


def official_prompts(
    path: Path,  # for messages
    content: Any,  # as loaded
) -> OfficialPrompts:
    """The prompts in a loaded checkpoint; as `read_official`."""
    state = _state(content)
    found = _keys(state)
    if len(found) != 1:
        held = f"several tensors ctx ({listed(found)})" if found else f"no tensor ctx but {listed(state)}"
        raise UserError(f"{path} holds {held}: give an official checkpoint (final-*.pt) of one model.")
    tokens = checked(path, found[0], state[found[0]], (4,), "[1, prompts, tokens, width]")
    if len(tokens) != 1:
        raise UserError(
            f"{path}: {found[0]!r} holds the prompts of {len(tokens)} classes: save one class, [1, prompts, tokens, "
            "width], in a file of its own."
        )
    words = {name: str(content.get(f"customize_{name}") or "") for name in ("prefix", "suffix")}
    return OfficialPrompts(tokens[0], _vocabulary(state), **words)


def read_official_moments(path: Path) -> OfficialMoments:
    """Read the fitted moments of an official `.npz`.

    Raises:
        UserError: unreadable, objects that need code to run, lacking arrays, shapes that differ, not finite,
            negative deviations.
    """
    arrays = _arrays(existing_file(path))
    if missing := {"means", "stds"} - set(arrays):
        raise UserError(f"{path} lacks {listed(missing)}: give an official final-*.npz.")
    means, stds = (_moment(path, key, arrays[key]) for key in ("means", "stds"))
    if means.shape != stds.shape or len(means) != 1 or bool((stds < 0).any()):
        raise UserError(
            f"{path} holds means {list(means.shape)} and stds {list(stds.shape)}: both must be [1, length, width] "
            "(one class), and no deviation negative."
        )
    texts = np.asarray(arrays.get("prompt_texts", "")).ravel()
    return OfficialMoments(means[0], stds[0], str(texts[0]) if len(texts) else "")


def write_official(distribution: PromptDistribution, path: Path) -> None:
    """Write a `.pt` that the official commands take as `--weights_path` and `--load_checkpoint`.

    They take the words as `--customize_prefix` and `--customize_suffix`; the file carries them under these names.

    Raises:
        UserError: the file cannot be written.
    """
    content = {
        "model_state_dict": {_CONTEXT: distribution.tokens[None].clone()},
        "customize_prefix": distribution.prefix,
        "customize_suffix": distribution.suffix,
    }
    write_atomic(Path(path), lambda temporary: torch.save(content, temporary))


def _state(content: Any) -> Mapping[Any, Any]:
    """The state dict inside its wrapper; empty if there is none."""
    if isinstance(content, Mapping):
        content = next((content[key] for key in _WRAPPERS if key in content), content)
    return content if isinstance(content, Mapping) else {}


def _keys(state: Mapping[Any, Any]) -> list[str]:
    """Keys whose last word is `ctx`: compiled, parallel and owning modules prefix it."""
    return [key for key in state if isinstance(key, str) and key.rpartition(".")[2] == _CONTEXT]


def _vocabulary(state: Mapping[Any, Any]) -> Tensor | None:
    """The whole module is saved, its frozen text encoder included."""
    found = [state[key] for key in state if isinstance(key, str) and key.endswith("token_embedding.weight")]
    return next((value for value in found if is_plain(value)), None)


def _moment(path: Path, key: str, array: Any) -> Tensor:
    if not isinstance(array, np.ndarray) or array.dtype.kind != "f":
        raise UserError(f"{path}: {key!r} is no array of floats: give an official final-*.npz.")
    # numpy has floats that torch does not know: other byte orders and lengths.
    return checked(path, key, torch.from_numpy(array.astype(np.float64)), (3,), "[1, length, width]")


def _arrays(path: Path) -> dict[str, Any]:
    try:
        with np.load(path, allow_pickle=False) as arrays:
            names = [name for name in ("means", "stds", "prompt_texts") if name in arrays]
            for entry in arrays.zip.infolist():  # compressed, zeros take next to nothing
                if (name := entry.filename.removesuffix(".npy")) in names:
                    check_size(entry.file_size // _SMALLEST_FLOAT, f"{path}: {name!r}")
            return {name: arrays[name] for name in names}
    except UserError:
        raise
    except Exception as error:  # numpy and zipfile raise many types on odd files
        line = " ".join(str(error).split())[:200]
        raise UserError(
            f"{path} cannot be read ({line or type(error).__name__}): give an .npz of plain numbers and text."
        ) from error
