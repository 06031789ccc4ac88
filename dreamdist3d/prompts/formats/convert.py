"""Distributions between this program, the official code and diffusers."""

import os
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from dreamdist3d.backbones import Backbone
from dreamdist3d.errors import UserError
from dreamdist3d.files import safe_name, sha256_of
from dreamdist3d.prompts.distribution import PromptDistribution
from dreamdist3d.prompts.encoder import SoftPromptEncoder
from dreamdist3d.prompts.fixed import FixedMoments
from dreamdist3d.prompts.formats.official import (
    DIFFERENCES,
    OfficialMoments,
    OfficialPrompts,
    is_official,
    official_prompts,
    read_official_moments,
    write_official,
)
from dreamdist3d.prompts.formats.opening import load_distribution
from dreamdist3d.prompts.formats.reading import existing_file, load_pickle
from dreamdist3d.prompts.formats.textual_inversion import embedding_in, read_embedding, write_embedding

_FOREIGN = (".pt", ".bin", ".npz", ".safetensors")
_PAIRS = (
    "Official .pt or .npz, and embeddings .safetensors, .bin or .pt, become a distribution .safetensors; "
    "a learned distribution becomes an official .pt or, with one prompt, an embedding .safetensors or .bin."
)


def convert(
    src: Path,
    dst: Path,
    backbone: Backbone | None = None,
    prefix: str | None = None,
    suffix: str | None = None,
    token: str | None = None,
) -> Path:
    """Import another program's file as a distribution, or export a distribution to another program.

    What SRC is, its content decides; what DST becomes, its suffix.

    Args:
        src: a distribution `.safetensors`; an official `.pt` or `.npz`; an embedding `.safetensors`, `.bin`, `.pt`.
        dst: of an import a `.safetensors`; of an export a `.pt` (official), or for one prompt a `.safetensors` or
            `.bin` (embedding); replaced if it exists.
        backbone: of an import: the model it was learned with. Of an export: checked, if given.
        prefix: of an import: words before the tokens; None: those in the file, if any.
        suffix: words after them.
        token: of an import: which embedding, if the file holds several. Of an export: the placeholder's name;
            None: the one it was imported with, or `<name of DST>`.

    Returns:
        `dst`.

    Raises:
        UserError: in one line, anything wrong with either file, or how they do not go together.
    """
    src, dst = existing_file(Path(src)), Path(dst)
    if dst.exists() and dst.samefile(src):
        raise UserError(f"{dst} is the file to convert itself: choose another name for the result.")
    if _is_ours(src):
        if prefix is not None or suffix is not None:
            raise UserError("--prefix and --suffix belong to imports: an export carries the distribution's own.")
        _export(src, dst, backbone, token)
    else:
        _import(src, dst, backbone, prefix, suffix, token)
    return dst


def _import(
    src: Path, dst: Path, backbone: Backbone | None, prefix: str | None, suffix: str | None, token: str | None
) -> None:
    if src.suffix.lower() not in _FOREIGN or dst.suffix.lower() != ".safetensors":
        raise _nonsense(src, dst)
    if backbone is None:
        raise UserError(f"{src} does not say which text encoder it was learned with: name it with --backbone.")
    import_file(src, backbone, prefix, suffix, token).save(dst)


def _export(src: Path, dst: Path, backbone: Backbone | None, token: str | None) -> None:
    distribution = load_distribution(src)
    if not isinstance(distribution, PromptDistribution):
        raise UserError(f"{src} is composed, or holds moments alone: only what `learn` wrote is exported. {_PAIRS}")
    if backbone is not None:
        distribution.check_encoder(backbone)
    if dst.suffix.lower() == ".pt" and token is None:
        write_official(distribution, dst)
    elif dst.suffix.lower() in (".safetensors", ".bin"):
        name = token or distribution.metadata.get("token") or f"<{safe_name(dst.stem)}>"
        write_embedding(distribution, dst, name)
    elif dst.suffix.lower() == ".pt":
        raise UserError("--token names the placeholder of an embedding; the official layout has none: leave it out.")
    else:
        raise _nonsense(src, dst)


def _is_ours(path: Path) -> bool:
    if path.suffix.lower() != ".safetensors":
        return False
    try:
        with safe_open(path, framework="pt") as file:
            return (file.metadata() or {}).get("format", "").startswith("dreamdist3d-")
    except (SafetensorError, OSError):
        return False  # whoever reads it says what is wrong with it


def _nonsense(src: Path, dst: Path) -> UserError:
    return UserError(f"{src.name} cannot become {dst.name}. {_PAIRS}")


def import_file(
    path: Path,
    backbone: Backbone,
    prefix: str | None = None,
    suffix: str | None = None,
    token: str | None = None,
) -> PromptDistribution | FixedMoments:
    """Read an official checkpoint, official moments or a textual-inversion embedding.

    The files do not say which text encoder they belong to: `backbone` does, and is checked as far as they allow.

    Args:
        path: `.npz`, `.safetensors`, or anything that `torch.save` wrote.
        backbone: the model the prompts were learned with.
        prefix: words before the tokens; None: those in the file, if any.
        suffix: words after them.
        token: which embedding, of a file with several.

    Raises:
        UserError: the file cannot be read, or does not fit the backbone; words for moments, which take none.
    """
    if path.suffix.lower() == ".npz":
        if prefix or suffix or token:
            raise UserError(f"{path} holds moments without tokens: --prefix, --suffix and --token do not apply.")
        return _from_moments(path, read_official_moments(path), backbone)
    content = None if path.suffix.lower() == ".safetensors" else load_pickle(path)
    if is_official(content):
        if token:
            raise UserError(f"{path} is an official checkpoint, which has no placeholder tokens: leave out --token.")
        return _from_official(path, official_prompts(path, content), backbone, prefix, suffix)
    embedding = read_embedding(path, token) if content is None else embedding_in(path, content, token)
    return _from_embedding(path, embedding, backbone, prefix or "", suffix or "")


def _from_official(
    path: Path, found: OfficialPrompts, backbone: Backbone, prefix: str | None, suffix: str | None
) -> PromptDistribution:
    _check_vocabulary(path, found.vocabulary, backbone)
    words = (found.prefix if prefix is None else prefix, found.suffix if suffix is None else suffix)
    _check_fits(path, found.tokens, backbone, *words)
    facts = _origin(path, backbone) | {"differences": DIFFERENCES}
    # The paper's Gaussian is the one they were trained with.
    return PromptDistribution(found.tokens, "diagonal", backbone.fingerprint, *words, metadata=facts)


def _from_embedding(
    path: Path, found: tuple[str, Tensor], backbone: Backbone, prefix: str, suffix: str
) -> PromptDistribution:
    name, vectors = found
    _check_fits(path, vectors[None], backbone, prefix, suffix)
    facts = _origin(path, backbone) | {"token": name}
    # Of one prompt both kinds of Gaussian are a point.
    return PromptDistribution(vectors[None], "low_rank", backbone.fingerprint, prefix, suffix, facts)


def _from_moments(path: Path, found: OfficialMoments, backbone: Backbone) -> FixedMoments:
    encoder = SoftPromptEncoder(backbone.tokenizer, backbone.text_encoder)
    if tuple(found.mu.shape) != (encoder.max_length, encoder.width):
        raise UserError(
            f"{path} holds moments {list(found.mu.shape)}, the text encoder of {backbone.name} gives "
            f"[{encoder.max_length}, {encoder.width}]: name the --backbone they were fitted with."
        )
    facts = _origin(path, backbone) | {"differences": DIFFERENCES, "editable": "no"}
    if found.text:
        facts["nearest_words"] = found.text
    return FixedMoments(found.mu, found.sigma, backbone.fingerprint, facts)


def _origin(path: Path, backbone: Backbone) -> dict[str, str]:
    # The name alone, and as text whatever bytes it is made of: a folder is nobody else's business.
    name = os.fsencode(path.name).decode(errors="replace")
    return {"backbone": backbone.name, "imported_from": name, "imported_sha256": sha256_of(path)}


def _check_fits(path: Path, tokens: Tensor, backbone: Backbone, prefix: str, suffix: str) -> None:
    encoder = SoftPromptEncoder(backbone.tokenizer, backbone.text_encoder)
    if tokens.shape[-1] != encoder.width:
        raise UserError(
            f"{path} holds vectors of width {tokens.shape[-1]}, the text encoder of {backbone.name} takes "
            f"{encoder.width}: name the --backbone they were learned with."
        )
    with torch.no_grad():
        encoder.encode(tokens[:1], prefix, suffix)  # says so if they are too long together


def _check_vocabulary(path: Path, vocabulary: Tensor | None, backbone: Backbone) -> None:
    """The one trace of its text encoder that an official checkpoint has."""
    if vocabulary is None:
        return
    ours = backbone.text_encoder.get_input_embeddings().weight.detach().float().cpu()
    # A copy in half precision or bfloat16 is still the same vocabulary.
    if vocabulary.shape != ours.shape or not torch.allclose(vocabulary.float(), ours, rtol=1e-2, atol=1e-4):
        raise UserError(
            f"{path} was learned with another text encoder than {backbone.name}'s: the token embeddings saved in it "
            "differ. Name the --backbone it was learned with."
        )
