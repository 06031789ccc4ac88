"""Textual-inversion embeddings (Gal et al. 2022): one placeholder token that stands for M vectors.

Layouts: {token: [M, d] or [d]} as diffusers writes it (`.safetensors`, `.bin`), kohya's {"emb_params": [M, d]}, and
{"string_to_param": {"*": [M, d]}}, pickled by the original code (`embeddings_gs-*.pt`, a ParameterDict) and, with
{"name": token}, by AUTOMATIC1111. What else lies in a file beside vectors is left alone.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor

from dreamdist3d.errors import UserError
from dreamdist3d.files import write_atomic
from dreamdist3d.prompts.distribution import PromptDistribution
from dreamdist3d.prompts.formats.reading import checked, existing_file, is_plain, listed, load_pickle, parameters_of

_ENCODERS = {"clip_g", "clip_l", "t5xxl"}  # keys of files that hold vectors for each of a model's encoders


def read_embedding(path: Path, token: str | None = None) -> tuple[str, Tensor]:
    """A placeholder token and its vectors, float32 [M, d].

    Args:
        path: `.safetensors`, or anything that `torch.save` wrote.
        token: which one, of a file with several.

    Raises:
        UserError: unreadable, needs code to run, several tokens and none named, odd shapes, not finite.
    """
    content = _load_safetensors(path) if path.suffix.lower() == ".safetensors" else load_pickle(path)
    return embedding_in(path, content, token)


def embedding_in(
    path: Path,  # for messages
    content: Any,  # as loaded
    token: str | None = None,
) -> tuple[str, Tensor]:
    """The embedding in a loaded file; as `read_embedding`."""
    if not isinstance(content, Mapping) or not content:
        raise UserError(f"{path} holds {type(content).__name__}, no {{token: vectors}}: give an embedding file.")
    vectors = _by_token(path, content)
    if token is None and len(vectors) > 1:
        raise UserError(f"{path} holds {len(vectors)} tokens, {listed(vectors)}: name one with --token.")
    name = next(iter(vectors)) if token is None else token
    if name not in vectors:
        raise UserError(f"{path} holds no token {name!r} but {listed(vectors)}: name one of these with --token.")
    return str(name), torch.atleast_2d(checked(path, str(name), vectors[name], (1, 2), "[vectors, width]"))


def write_embedding(distribution: PromptDistribution, path: Path, name: str) -> None:
    """Write {name: [M, d]} for diffusers' `load_textual_inversion`: `.safetensors`, or else a pickle of tensors.

    The words around the tokens are not in such a file; put them around the placeholder in the prompt.

    Raises:
        UserError: more than one prompt, a name with spaces, or the file cannot be written.
    """
    if len(distribution.tokens) != 1:
        raise UserError(
            f"an embedding is one prompt, this distribution has {len(distribution.tokens)}: learn with --prompts 1, "
            "or convert it to the official layout (.pt), which keeps all."
        )
    if [name] != name.split() or name == "__metadata__":  # what safetensors keeps for itself
        raise UserError(f"the token {name!r} must be one word, as in a prompt: choose another --token.")
    content = {name: distribution.tokens[0].clone()}
    if path.suffix.lower() == ".safetensors":
        write_atomic(path, lambda temporary: temporary.write_bytes(save(content)))
    else:
        write_atomic(path, lambda temporary: torch.save(content, temporary))


def _by_token(path: Path, content: Mapping[Any, Any]) -> Mapping[Any, Any]:
    if several := sorted(_ENCODERS & content.keys()):
        raise UserError(
            f"{path} is for a model of several text encoders ({', '.join(several)}), as SDXL and Stable Diffusion 3 "
            "are: half of it would be no prompt. Give an embedding of Stable Diffusion 1 or 2."
        )
    if "emb_params" in content:
        return {path.stem: content["emb_params"]}
    if "string_to_param" not in content:
        vectors = {name: value for name, value in content.items() if is_plain(value) and value.ndim in (1, 2)}
        return vectors or content
    vectors = parameters_of(content["string_to_param"])
    if not isinstance(vectors, Mapping) or len(vectors) != 1:
        raise UserError(f"{path}: 'string_to_param' does not hold one embedding: give an embedding file.")
    # All such files call their placeholder "*"; the word to type is the name.
    return {str(content.get("name") or path.stem): next(iter(vectors.values()))}


def _load_safetensors(path: Path) -> dict[str, Tensor]:
    try:
        return load_file(existing_file(path))
    except (SafetensorError, OSError) as error:
        raise UserError(f"{path} cannot be read as safetensors ({error}): copy or export it again.") from error
