"""Can the road be walked on this machine? Each check looks, and says what it found; none changes anything.

Nothing heavy is imported before its check, so that a missing or broken torch is a finding like any other.
"""

import platform
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import import_module, metadata
from pathlib import Path
from typing import Any, Literal

from dreamdist3d.backbones.catalogue import CATALOGUE
from dreamdist3d.licences import Terms, required_names, required_packages

Section = Literal["system", "packages", "optional", "weights", "mini road"]

# Import name -> what it is for.
_OPTIONAL = {
    "ray": "many runs on a cluster",
    "pytorch3d": "meshes in pytorch3d",
    "threestudio": "distributions inside threestudio",
}
_ROAD = ("dreamdist3d.prompts", "dreamdist3d.runs.one", "dreamdist3d.eval")
# Findings without which the miniature road can still be walked.
_FULL_ONLY = ("GPU", "mvdream")


@dataclass(frozen=True)
class Finding:
    """What one check found. `ok` is None where a lack does no harm; `remedy` is the next step where it does."""

    section: Section
    name: str
    ok: bool | None
    detail: str
    remedy: str = ""


@dataclass(frozen=True)
class Verdict:
    """What stands in the way of each road, of which the remedy is the one next step; None where nothing does."""

    mini: Finding | None
    full: Finding | None


def licences() -> dict[str, list[Terms]]:
    """The terms of all that an asset can be made with, by where it comes from."""
    from dreamdist3d.backbones.licences import weights_terms
    from dreamdist3d.threestudio.licences import PARTS as OF_THREESTUDIO
    from dreamdist3d.trellis.licences import PARTS as OF_TRELLIS

    weights = [weights_terms(name, weights.purpose) for name, weights in CATALOGUE.items()]
    return {
        "weights, each from where `dreamdist3d backbones list` says": [weights_terms("mini", "packaged"), *weights],
        "threestudio, with --engine threestudio alone": [*OF_THREESTUDIO],
        "TRELLIS, with --engine trellis alone": [*OF_TRELLIS],
        "ComfyUI, which the nodes of comfyui_ext are loaded by": [
            Terms("ComfyUI", "GPL-3.0", "copyleft", "samples pictures; never imported or copied by dreamdist3d"),
            Terms("comfyui_ext", "Apache-2.0", role="our nodes"),
        ],
        "packages that dreamdist3d itself requires": required_packages(),
    }


def examine() -> list[Finding]:
    """All findings, what others rest on first."""
    return [
        *_system(),
        *_required(),
        *_optional(),
        *_weights(),
        _mini_road(),
    ]


def verdict(findings: list[Finding]) -> Verdict:
    """The first lack that matters; what stops the miniature road stops the full one."""
    lacks = [finding for finding in findings if finding.ok is False]
    mini = next((lack for lack in lacks if lack.name not in _FULL_ONLY), None)
    return Verdict(mini, mini or next(iter(lacks), None))


def _system() -> Iterator[Finding]:
    yield Finding("system", "Python", True, f"{platform.python_version()} on {platform.platform(terse=True)}")
    torch, error = _imported("torch")
    if torch is None:
        yield Finding("system", "torch", False, error, "pip install torch (see pytorch.org for your machine)")
    else:
        yield Finding("system", "torch", True, f"{torch.__version__}, {torch.get_num_threads()} threads")
    yield _gpu(torch)
    yield _disk()


def _gpu(torch: Any) -> Finding:
    if torch is None:
        return Finding("system", "GPU", False, "not known without torch", "install torch")
    if torch.cuda.is_available():
        properties = torch.cuda.get_device_properties(0)
        detail = f"{properties.name}, {properties.total_memory / 2**30:.1f} GiB, CUDA {torch.version.cuda}"
        return Finding("system", "GPU", True, detail)
    if torch.version.cuda is None and shutil.which("nvidia-smi"):
        step = "install the CUDA build of torch (pytorch.org); this one is for CPUs only"
        return Finding("system", "GPU", False, "there is an NVIDIA driver, but this torch has no CUDA", step)
    return Finding("system", "GPU", False, "no CUDA GPU", "use a machine with an NVIDIA GPU")


def _disk() -> Finding:
    places = {"here": Path.cwd(), "hub cache": _existing(_hub_cache())}
    free = {name: shutil.disk_usage(place).free / 1e9 for name, place in places.items()}
    detail = ", ".join(f"{gigabytes:.1f} GB free {_at(name)}" for name, gigabytes in free.items())
    return Finding("system", "disk", True, detail)


def _at(place: str) -> str:
    return place if place == "here" else f"in the {place} ({_hub_cache()})"


def _required() -> Iterator[Finding]:
    """The packages dreamdist3d declares; torch has its own finding."""
    declared = [name for name in required_names() if name != "torch"]
    missing = [name for name in declared if _version(name) is None]
    if missing:
        step = f"pip install {' '.join(missing)}"
        yield Finding("packages", "required", False, f"missing: {', '.join(missing)}", step)
    else:
        yield Finding("packages", "required", True, f"all {len(declared)} installed")
    for name in ("diffusers", "transformers", "huggingface_hub"):
        if version := _version(name):
            yield Finding("packages", name, True, version)


def _optional() -> Iterator[Finding]:
    for name, purpose in _OPTIONAL.items():
        version = _version(name)
        yield Finding("optional", name, True if version else None, f"{version or 'not installed'} ({purpose})")


def _weights() -> Iterator[Finding]:
    """The named full-size weights on this disk, each by its first source that is whole."""
    hub, error = _imported("huggingface_hub")
    if hub is None:
        yield Finding("weights", "mvdream", False, f"not known: {error}", "pip install huggingface_hub")
        return
    from dreamdist3d.backbones.survey import survey

    listed = [entry for entry in survey() if entry.name != "mini"]
    for name in dict.fromkeys(entry.name for entry in listed):
        yield _named_weights(name, [entry for entry in listed if entry.name == name])


def _named_weights(name: str, entries: list) -> Finding:
    here = [entry for entry in entries if entry.state in ("verified", "unverified")]
    if here:
        return Finding("weights", name, True, f"{here[0].state}, from {here[0].origin}")
    damaged = [entry for entry in entries if entry.state == "damaged"]
    detail = f"damaged: {damaged[0].path}" if damaged else "not downloaded"
    # Only MVDream is on the full road; sd21 is a second choice for learning.
    return Finding("weights", name, False if name == "mvdream" else None, detail, _get_weights(entries[0].size_gb))


def _get_weights(size_gb: float) -> str:
    free = shutil.disk_usage(_existing(_hub_cache())).free / 1e9
    if import_module("huggingface_hub.constants").HF_HUB_OFFLINE:
        return "HF_HUB_OFFLINE is set: unset it, or give system.backbone=/path/to/weights"
    if free < size_gb:
        return f"make {size_gb} GB of room in {_hub_cache()}, or point HF_HOME elsewhere"
    return (
        f"`dreamdist3d launch --config dreamdist3d/mvdream.yaml ...`: its first run downloads {size_gb} GB "
        "(or give system.backbone=/path/to/weights)"
    )


def _mini_road() -> Finding:
    """Imports every room of the road and loads the packaged backbone: what a first run would do first."""
    for name in _ROAD:
        module, error = _imported(name)
        if module is None:
            return Finding("mini road", "imports", False, f"{name}: {error}", f"repair the installation: {error}")
    from dreamdist3d.backbones import load_backbone

    try:
        backbone = load_backbone("mini")
    except Exception as error:  # whatever is wrong is the finding
        line = _one_line(error)
        return Finding(
            "mini road", "weights", False, line, "install dreamdist3d again: its packaged weights do not load"
        )
    detail = f"packaged weights load: {backbone.n_views} views of {backbone.image_size} pixels"
    return Finding("mini road", "weights", True, detail)


def _imported(name: str) -> tuple[Any, str]:
    """A module, or None and why it cannot be imported."""
    try:
        return import_module(name), ""
    except Exception as error:  # broken packages raise anything, from ImportError to OSError
        return None, _one_line(error)


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def _hub_cache() -> Path:
    hub, _ = _imported("huggingface_hub.constants")
    return Path(hub.HF_HUB_CACHE) if hub else Path.home() / ".cache" / "huggingface" / "hub"


def _existing(folder: Path) -> Path:
    """The folder, or the nearest above it that exists."""
    return next(place for place in (folder, *folder.parents) if place.exists())


def _one_line(error: Exception) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
