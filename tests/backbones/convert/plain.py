"""The original networks' mathematics in `torch.nn.functional`: no library's model is asked."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor


class PlainUNet:
    """What the tensors of `unet_tensors` mean."""

    def __init__(self, tensors: dict[str, Tensor], n_views: int) -> None:
        self.t, self.n_views = tensors, n_views

    def __call__(self, x: Tensor, times: Tensor, text: Tensor, cameras: Tensor | None) -> Tensor:
        half = self.t["input_blocks.0.0.weight"].shape[0] // 2
        angles = times[:, None].float() * torch.exp(-math.log(10000) * torch.arange(half) / half)
        embedding = self.perceptron("time_embed", torch.cat([angles.cos(), angles.sin()], dim=1))
        if cameras is not None:
            embedding = embedding + self.perceptron("camera_embed", cameras)
        skips = []
        for number in range(self.count("input_blocks")):
            x = self.sequence(f"input_blocks.{number}", x, embedding, text)
            skips.append(x)
        x = self.sequence("middle_block", x, embedding, text)
        for number in range(self.count("output_blocks")):
            x = self.sequence(f"output_blocks.{number}", torch.cat([x, skips.pop()], dim=1), embedding, text)
        return self.conv("out.2", F.silu(self.group_norm("out.0", x, 1e-5)), padding=1)

    def count(self, name: str) -> int:
        return len({key.split(".")[1] for key in self.t if key.startswith(name + ".")})

    def sequence(self, name: str, x: Tensor, embedding: Tensor, text: Tensor) -> Tensor:
        for part in range(3):
            here = f"{name}.{part}"
            if f"{here}.in_layers.0.weight" in self.t:
                x = self.residual(here, x, embedding)
            elif f"{here}.proj_in.weight" in self.t:
                x = self.transformer(here, x, text)
            elif f"{here}.op.weight" in self.t:
                x = self.conv(f"{here}.op", x, padding=1, stride=2)
            elif f"{here}.conv.weight" in self.t:
                x = self.conv(f"{here}.conv", F.interpolate(x, scale_factor=2, mode="nearest"), padding=1)
            elif f"{here}.weight" in self.t:
                x = self.conv(here, x, padding=1)
        return x

    def residual(self, name: str, x: Tensor, embedding: Tensor) -> Tensor:
        hidden = self.conv(f"{name}.in_layers.2", F.silu(self.group_norm(f"{name}.in_layers.0", x, 1e-5)), padding=1)
        hidden = hidden + self.linear(f"{name}.emb_layers.1", F.silu(embedding))[:, :, None, None]
        hidden = F.silu(self.group_norm(f"{name}.out_layers.0", hidden, 1e-5))
        hidden = self.conv(f"{name}.out_layers.3", hidden, padding=1)
        skip = f"{name}.skip_connection"
        return hidden + (self.conv(skip, x) if f"{skip}.weight" in self.t else x)

    def transformer(self, name: str, x: Tensor, text: Tensor) -> Tensor:
        height, block = x.shape[2], f"{name}.transformer_blocks.0"
        hidden = self.group_norm(f"{name}.norm", x, 1e-6).flatten(2).transpose(1, 2)
        hidden = self.linear(f"{name}.proj_in", hidden)
        normed = self.layer_norm(f"{block}.norm1", hidden)
        # The views of an object become one sequence: this is what makes the network multi-view.
        joint = torch.stack([torch.cat(list(views)) for views in normed.split(self.n_views)])
        mixed = self.attention(f"{block}.attn1", joint, joint, name)
        hidden = hidden + torch.cat([torch.stack(row.chunk(self.n_views)) for row in mixed])
        hidden = hidden + self.attention(f"{block}.attn2", self.layer_norm(f"{block}.norm2", hidden), text, name)
        values, gates = self.linear(f"{block}.ff.net.0.proj", self.layer_norm(f"{block}.norm3", hidden)).chunk(2, -1)
        hidden = hidden + self.linear(f"{block}.ff.net.2", values * F.gelu(gates))
        return x + self.linear(f"{name}.proj_out", hidden).transpose(1, 2).unflatten(2, (height, -1))

    def attention(self, name: str, asked: Tensor, seen: Tensor, transformer: str) -> Tensor:
        q, k, v = (
            F.linear(x, self.t[f"{name}.{part}.weight"])
            for part, x in (("to_q", asked), ("to_k", seen), ("to_v", seen))
        )
        # Stable Diffusion 2.x has linear projections and heads of 64, 1.x convolutions and always 8 heads.
        heads = q.shape[-1] // 64 if self.t[f"{transformer}.proj_in.weight"].ndim == 2 else 8
        mixed = []
        for query, key, value in zip(q.chunk(heads, -1), k.chunk(heads, -1), v.chunk(heads, -1), strict=True):
            scores = query @ key.transpose(1, 2) / query.shape[-1] ** 0.5
            mixed.append(scores.softmax(dim=-1) @ value)
        return self.linear(f"{name}.to_out.0", torch.cat(mixed, dim=-1))

    def perceptron(self, name: str, x: Tensor) -> Tensor:
        return self.linear(f"{name}.2", F.silu(self.linear(f"{name}.0", x)))

    def linear(self, name: str, x: Tensor) -> Tensor:
        return F.linear(x, self.t[f"{name}.weight"].flatten(1), self.t[f"{name}.bias"])

    def conv(self, name: str, x: Tensor, **options: int) -> Tensor:
        return F.conv2d(x, self.t[f"{name}.weight"], self.t[f"{name}.bias"], **options)

    def group_norm(self, name: str, x: Tensor, eps: float) -> Tensor:
        return F.group_norm(x, 32, self.t[f"{name}.weight"], self.t[f"{name}.bias"], eps)

    def layer_norm(self, name: str, x: Tensor) -> Tensor:
        return F.layer_norm(x, x.shape[-1:], self.t[f"{name}.weight"], self.t[f"{name}.bias"])


class PlainVae(PlainUNet):
    """What the tensors of `vae_tensors` mean."""

    def __init__(self, tensors: dict[str, Tensor]) -> None:
        super().__init__(tensors, n_views=1)
        self.levels = len({key.split(".")[2] for key in tensors if key.startswith("encoder.down.")})

    def moments(self, pixels: Tensor) -> Tensor:
        x = self.conv("encoder.conv_in", pixels, padding=1)
        for level in range(self.levels):
            x = self.blocks(f"encoder.down.{level}", x)
            if level < self.levels - 1:
                x = self.conv(f"encoder.down.{level}.downsample.conv", F.pad(x, (0, 1, 0, 1)), stride=2)
        return self.conv("quant_conv", self.ending("encoder", self.middle("encoder", x)))

    def decode(self, latents: Tensor) -> Tensor:
        x = self.conv("decoder.conv_in", self.conv("post_quant_conv", latents), padding=1)
        x = self.middle("decoder", x)
        for level in reversed(range(self.levels)):
            x = self.blocks(f"decoder.up.{level}", x)
            if level:
                x = F.interpolate(x, scale_factor=2, mode="nearest")
                x = self.conv(f"decoder.up.{level}.upsample.conv", x, padding=1)
        return self.ending("decoder", x)

    def blocks(self, name: str, x: Tensor) -> Tensor:
        number = 0
        while f"{name}.block.{number}.conv1.weight" in self.t:
            x = self.vae_residual(f"{name}.block.{number}", x)
            number += 1
        return x

    def middle(self, side: str, x: Tensor) -> Tensor:
        x = self.vae_residual(f"{side}.mid.block_1", x)
        name, height = f"{side}.mid.attn_1", x.shape[2]
        normed = self.group_norm(f"{name}.norm", x, 1e-6).flatten(2).transpose(1, 2)
        q, k, v = (self.linear(f"{name}.{part}", normed) for part in "qkv")
        mixed = (q @ k.transpose(1, 2) / q.shape[-1] ** 0.5).softmax(dim=-1) @ v
        x = x + self.linear(f"{name}.proj_out", mixed).transpose(1, 2).unflatten(2, (height, -1))
        return self.vae_residual(f"{side}.mid.block_2", x)

    def ending(self, side: str, x: Tensor) -> Tensor:
        return self.conv(f"{side}.conv_out", F.silu(self.group_norm(f"{side}.norm_out", x, 1e-6)), padding=1)

    def vae_residual(self, name: str, x: Tensor) -> Tensor:
        hidden = x
        for number in (1, 2):
            hidden = F.silu(self.group_norm(f"{name}.norm{number}", hidden, 1e-6))
            hidden = self.conv(f"{name}.conv{number}", hidden, padding=1)
        skip = f"{name}.nin_shortcut"
        return hidden + (self.conv(skip, x) if f"{skip}.weight" in self.t else x)
