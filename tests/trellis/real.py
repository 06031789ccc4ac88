"""Drives the real TRELLIS of $TRELLIS_HOME on a CPU, over the stand-ins.

python real.py make FOLDER TEXT      a pipeline of tiny random networks, with the text encoder in TEXT
python real.py same FOLDER           our way through the pipeline beside its own, for a plain text
python real.py dreamdist3d ...       a command of ours
"""

import json
import os
import sys
from pathlib import Path

import torch

torch.Tensor.cuda = lambda tensor, *_, **__: tensor
torch.nn.Module.cuda = lambda module, *_, **__: module
sys.path.insert(0, os.environ["TRELLIS_HOME"])

from trellis.representations.mesh import cube2mesh  # noqa: E402

assert cube2mesh.SparseFeatures2Mesh.__init__.__defaults__ == ("cuda", 64, True)
cube2mesh.SparseFeatures2Mesh.__init__.__defaults__ = ("cpu", 64, True)

NETWORKS = {
    "sparse_structure_flow_model": (
        "SparseStructureFlowModel",
        {"resolution": 4, "in_channels": 8, "model_channels": 32, "cond_channels": 16, "out_channels": 8}
        | {"num_blocks": 1, "num_heads": 2, "patch_size": 1, "qk_rms_norm": True},
    ),
    "sparse_structure_decoder": (
        "SparseStructureDecoder",
        {
            "out_channels": 1,
            "latent_channels": 8,
            "num_res_blocks": 1,
            "channels": [32, 16],
            "num_res_blocks_middle": 1,
        },
    ),
    "slat_flow_model": (
        "SLatFlowModel",
        {"resolution": 8, "in_channels": 8, "model_channels": 64, "cond_channels": 16, "out_channels": 8}
        | {"num_blocks": 1, "num_heads": 2, "io_block_channels": [32], "num_io_res_blocks": 1, "qk_rms_norm": True},
    ),
    "slat_decoder_mesh": (
        "SLatMeshDecoder",
        {"resolution": 8, "model_channels": 256, "latent_channels": 8, "num_blocks": 1, "num_heads": 4}
        | {"window_size": 4, "representation_config": {"use_color": True}},
    ),
}
SAMPLER = {
    "name": "FlowEulerGuidanceIntervalSampler",
    "args": {"sigma_min": 1e-5},
    "params": {"steps": 2, "cfg_strength": 3.0, "cfg_interval": [0.0, 1.0], "rescale_t": 3.0},
}


def make(folder: Path, text: str) -> None:
    """As TRELLIS's own files are: a json and a safetensors for each network, and pipeline.json."""
    from safetensors.torch import save_file
    from trellis import models

    torch.manual_seed(0)
    (folder / "ckpts").mkdir(parents=True)
    for name, (kind, arguments) in NETWORKS.items():
        network = getattr(models, kind)(**arguments)
        with torch.no_grad():
            for key, weight in network.named_parameters():
                if weight.ndim > 1 and not weight.any():  # what training begins with says nothing
                    weight.normal_(std=weight[0].numel() ** -0.5)
                if key == "out_layer.weight" and name == "slat_decoder_mesh":
                    weight.mul_(0.1)
        save_file(network.state_dict(), folder / "ckpts" / f"{name}.safetensors")
        (folder / "ckpts" / f"{name}.json").write_text(json.dumps({"name": kind, "args": arguments}))
    arguments = {
        "models": {name: f"ckpts/{name}" for name in NETWORKS},
        "sparse_structure_sampler": SAMPLER,
        "slat_sampler": SAMPLER,
        "slat_normalization": {"mean": [0.1] * 8, "std": [1.5] * 8},
        "text_cond_model": text,
    }
    (folder / "pipeline.json").write_text(json.dumps({"name": "TrellisTextTo3DPipeline", "args": arguments}))


def same(folder: Path) -> None:
    """Its own `run`, and ours, from the same words and seed."""
    from dreamdist3d.trellis.config import TrellisConfig
    from dreamdist3d.trellis.pipeline import open_pipeline

    opened = open_pipeline(TrellisConfig(str(folder)), "cpu")
    own = opened.pipeline.run("a red cat", seed=5, formats=["mesh"])["mesh"][0]
    prompt, negative = opened.encoder.encode_text(["a red cat", ""]).hidden
    ours = opened.make(prompt, negative, 5)
    found = {
        "condition": float((opened.pipeline.get_cond(["a red cat"])["cond"][0] - prompt).abs().max()),
        "vertices": float((own.vertices - torch.tensor(ours.vertices)).abs().max()),
        "faces": bool((own.faces == torch.tensor(ours.faces)).all()),
        "colors": float((own.vertex_attrs[:, :3] * 255 - torch.tensor(ours.colors)).abs().max()),
        "count": len(ours.faces),
    }
    print("FOUND " + json.dumps(found))


if __name__ == "__main__":
    if sys.argv[1] == "make":
        make(Path(sys.argv[2]), sys.argv[3])
    elif sys.argv[1] == "same":
        same(Path(sys.argv[2]))
    else:
        from dreamdist3d.cli import main

        raise SystemExit(main(sys.argv[2:]))
