"""The terms of TRELLIS and of its parts, as their repositories state them, and which have a hand in an asset."""

from dreamdist3d.choices import TrellisAppearance
from dreamdist3d.licences import Terms

_NVIDIA = "NVIDIA Source Code License (1-Way Commercial)"
_INRIA = "Gaussian-Splatting License (Inria, MPII)"

# Imported or called when a mesh is made.
_MESH = (
    Terms("TRELLIS", "MIT", role="makes the asset", package="trellis"),
    Terms(
        "FlexiCubes, as changed for TRELLIS",
        "Apache-2.0 since April 2025; before, NVIDIA's, non-commercial",
        role="extracts its mesh; a submodule of its checkout",
    ),
    Terms("spconv", "Apache-2.0", role="sparse convolutions", package="spconv"),
    Terms("flash-attn or xformers", "BSD-3-Clause", role="attention", package="flash_attn"),
    Terms("kaolin", "Apache-2.0 but for kaolin.non_commercial", role="one check of a tensor", package="kaolin"),
)
# And when a texture is baked by its own code.
_BAKED = (
    Terms("nvdiffrast", _NVIDIA, "non-commercial", "rasterises for its texture", "nvdiffrast"),
    Terms(
        "diff-gaussian-rasterization of mip-splatting",
        _INRIA,
        "non-commercial",
        "renders what its texture is baked from",
        "diff_gaussian_rasterization",
    ),
    Terms("diffoctreerast", _INRIA, "non-commercial", "renders its radiance fields; not used here", "diffoctreerast"),
    Terms(
        "pymeshfix", "GPL-3.0, its newer releases AGPL-3.0", "copyleft", "closes holes before its texture", "pymeshfix"
    ),
    Terms("igraph", "GPL-2.0", "copyleft", "cuts hidden faces off before its texture", "igraph"),
)
# Imported by its code, with no hand in an asset.
_IMPORTED = (
    Terms("easydict", "LGPL-3.0", "copyleft", "holds its settings", "easydict"),
    Terms("plyfile", "GPL-3.0 or later", "copyleft", "writes gaussians, not meshes; imported all the same", "plyfile"),
    Terms("open3d, rembg, utils3d", "MIT", role="imported, not used on the way to a mesh"),
)
PARTS = (*_MESH, *_IMPORTED, *_BAKED)


def terms_of_asset(model: str, appearance: TrellisAppearance) -> list[Terms]:
    """Weights and parts that had a hand in an asset."""
    made, own = "made the asset", model.startswith("microsoft/TRELLIS-")
    weights = (
        Terms(f"weights {model}", "MIT", role=made)
        if own
        else Terms(f"weights {model}", "not known to dreamdist3d", "unknown", made)
    )
    baked = [part for part in _BAKED if "not used" not in part.role] if appearance == "gaussians" else []
    return [weights, *_MESH, *baked]
