"""A text pipeline of three steps: voxels, latents, a ball whose size is the noise's and whose colour the prompt's."""

import json
from pathlib import Path
from types import SimpleNamespace

import torch
import trimesh
from transformers import CLIPTextModel, CLIPTokenizer


class TrellisTextTo3DPipeline:
    @staticmethod
    def from_pretrained(path):
        told = json.loads(Path(path, "pipeline.json").read_text())["args"]
        pipeline = TrellisTextTo3DPipeline()
        pipeline.models = {"flow": torch.nn.Linear(2, 2), "decoder": torch.nn.Linear(2, 2)}
        for model in pipeline.models.values():
            torch.nn.init.constant_(model.weight, 0.5)
            torch.nn.init.constant_(model.bias, told["bias"])
        name = told["text_cond_model"]
        model = CLIPTextModel.from_pretrained(name, subfolder="text_encoder")
        tokenizer = CLIPTokenizer.from_pretrained(name, subfolder="tokenizer")
        pipeline.text_cond_model = {"model": model.eval(), "tokenizer": tokenizer}
        pipeline.seen, pipeline.settings = [], []
        return pipeline

    def to(self, device):
        for model in self.models.values():
            model.to(device)

    def sample_sparse_structure(self, cond, num_samples, sampler_params):
        assert set(cond) == {"cond", "neg_cond"} and cond["cond"].shape == cond["neg_cond"].shape
        assert cond["cond"].ndim == 3 and len(cond["cond"]) == num_samples == 1
        self.seen.append(cond)
        self.settings.append(sampler_params)
        if sampler_params.get("steps") == 999:
            return torch.zeros(0, 4, dtype=torch.int32)
        return torch.cat([torch.zeros(5, 1), torch.rand(5, 3) * 8], 1).int()

    def sample_slat(self, cond, coords, sampler_params):
        assert cond is self.seen[-1] and coords.shape[1] == 4
        self.settings.append(sampler_params)
        return SimpleNamespace(size=0.2 + 0.2 * torch.rand(1), cond=cond["cond"], steps=sampler_params.get("steps"))

    def decode_slat(self, slat, formats):
        ball = trimesh.creation.icosphere(2, radius=float(slat.size))
        vertices = torch.tensor(ball.vertices, dtype=torch.float32)
        # Above, at z, and in front, at -y, so that axes can be told.
        vertices[:, 2] *= 1.2
        vertices[:, 1] -= 0.05 * (vertices[:, 1] < 0)
        color = torch.cat([slat.cond.mean(1)[0, :3].sigmoid(), torch.zeros(3)])
        attributes = color.expand(len(vertices), 6)
        empty = slat.steps == 999
        mesh = SimpleNamespace(
            vertices=vertices, faces=torch.tensor(ball.faces).long(), vertex_attrs=attributes, success=not empty
        )
        found = {"mesh": [mesh]}
        if "gaussian" in formats:
            found["gaussian"] = ["gaussians"]
        return found
