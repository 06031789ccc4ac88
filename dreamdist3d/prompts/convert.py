"""Distributions between this program, the official code and diffusers."""

from pathlib import Path

from safetensors import SafetensorError, safe_open

from dreamdist3d.backbones import Backbone
from dreamdist3d.errors import UserError
from dreamdist3d.files import safe_name
from dreamdist3d.prompts.convert_files import existing_file
from dreamdist3d.prompts.convert_import import import_file
from dreamdist3d.prompts.distribution import PromptDistribution
from dreamdist3d.prompts.official import write_official
from dreamdist3d.prompts.opening import load_distribution
from dreamdist3d.prompts.textual_inversion import write_embedding

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
    if src.suffix not in _FOREIGN or dst.suffix != ".safetensors":
        raise _nonsense(src, dst)
    if backbone is None:
        raise UserError(f"{src} does not say which text encoder it was learned with: name it with --backbone.")
    import_file(src, backbone, prefix, suffix, token).save(dst)


def _export(src: Path, dst: Path, backbone: Backbone | None, token: str | None) -> None:
    distribution = load_distribution(src)
    if not isinstance(distribution, PromptDistribution):
        raise UserError(f"{src} is composed, or holds moments alone: only what `learn` wrote is exported. {_PAIRS}")
    if backbone is not None:
        distribution.check_encoder(backbone.fingerprint)
    if dst.suffix == ".pt" and token is None:
        write_official(distribution, dst)
    elif dst.suffix in (".safetensors", ".bin"):
        name = token or distribution.metadata.get("token") or f"<{safe_name(dst.stem)}>"
        write_embedding(distribution, dst, name)
    elif dst.suffix == ".pt":
        raise UserError("--token names the placeholder of an embedding; the official layout has none: leave it out.")
    else:
        raise _nonsense(src, dst)


def _is_ours(path: Path) -> bool:
    if path.suffix != ".safetensors":
        return False
    try:
        with safe_open(path, framework="pt") as file:
            return (file.metadata() or {}).get("format", "").startswith("dreamdist3d-")
    except (SafetensorError, OSError):
        return False  # whoever reads it says what is wrong with it


def _nonsense(src: Path, dst: Path) -> UserError:
    return UserError(f"{src.name} cannot become {dst.name}. {_PAIRS}")
