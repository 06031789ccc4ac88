"""Words that the command line, configurations and the library choose among; each set is written here alone.

Importing this imports nothing else: `--help` shows the words without what they stand for.
"""

from typing import Literal

Covariance = Literal["low_rank", "diagonal"]
"""The Gaussian of a distribution: the prompts' full covariance, or the paper's diagonal."""

Objective = Literal["coupled", "paper"]
"""What learning minimises: each draw with the picture it belongs to, or, as published, with pictures of any kind."""

CompositionKind = Literal["blend", "mixture"]
"""Several distributions as one: a family in between them, or now one of them and now another."""

Batching = Literal["independent", "antithetic", "spread"]
"""Several draws at once: each by itself, in pairs across the mean, or chosen to lie far apart."""

Noise = Literal["fresh", "matched"]
"""The initial noise of sampled pictures: each its own, or one for all."""

Precision = Literal["auto", "fp32", "fp16", "bf16"]
"""What a UNet computes in."""

LearnPrecision = Literal["auto", "fp32", "bf16"]
"""What learning computes in: gradients through a UNet leave float16's range."""

Prediction = Literal["epsilon", "v_prediction"]
"""What a UNet was trained to predict."""

GuidanceKind = Literal["x0", "sds", "vsd"]
"""How renders are pulled: to the reconstructed x0 (MVDream), along the plain gradient (DreamFusion), or away from what
a LoRA has learned of them (ProlificDreamer)."""

LiftKind = Literal["distill", "views"]
"""The way from a draw to a field: score distillation, or sampled views first and a field that fits them."""

CutKind = Literal["auto", "plain", "rembg"]
"""How backgrounds are removed: by their one colour, by a network, or by it where there is no one colour."""

StepNoise = Literal["fresh", "fixed"]
"""What renders are noised with in each step of a distillation: its own noise, or the same for a side of the asset."""

Device = Literal["auto", "cpu", "cuda"]

EngineName = Literal["native", "threestudio", "trellis"]
"""What makes a 3D asset of a draw: this package, or another program."""

TrellisAppearance = Literal["mesh", "gaussians"]
"""Where TRELLIS's colours come from: its mesh decoder, or a texture that its own code bakes from its gaussians."""

PresetName = Literal["unity", "unreal", "godot", "web"]
"""Whose conventions a packaged asset follows."""

MeshFormat = Literal["glb", "obj", "ply", "usdz"]
"""Files that a package can be written as."""

Renderer = Literal["embree", "pytorch3d"]
"""What meshes are rendered with."""

BaselineMethod = Literal[
    "textual-inversion",
    "textual-inversion-noise",
    "textual-inversion-each",
    "dreambooth",
    "dreambooth-lora",
    "custom-diffusion",
    "ip-adapter",
    "words",
]
"""What distributions are compared with; `each` is one inversion for each reference, `words` plain captions,
`ip-adapter` a caption with the pictures themselves beside it."""

DatasetFormat = Literal["imagefolder", "webdataset"]
"""How labelled pictures are kept: a folder for each class, or tar files of all classes mixed."""
