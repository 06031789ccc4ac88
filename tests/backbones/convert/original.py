"""Random tensors in the original layout: UNet, autoencoder and text tower."""

import math
from collections.abc import Sequence

import open_clip
import torch
from torch import Tensor, nn

CONTEXT, CAMERA, LATENT = 64, 16, 4
VOCABULARY, LENGTH = 49408, 77
UNET, VAE, TEXT = "model.diffusion_model.", "first_stage_model.", "cond_stage_model.model."


class Tensors(dict[str, Tensor]):
    """Tensors by name, drawn so that activations stay near one."""

    def __init__(self, seed: int = 0) -> None:
        super().__init__()
        self.generator = torch.Generator().manual_seed(seed)

    def layer(self, name: str, *shape: int, bias: bool = True) -> None:
        noise = torch.randn(shape, generator=self.generator)
        self[f"{name}.weight"] = noise / math.prod(shape[1:]) ** 0.5
        if bias:
            self[f"{name}.bias"] = torch.randn(shape[0], generator=self.generator) * 0.1

    def norm(self, name: str, width: int) -> None:
        self[f"{name}.weight"] = 1 + torch.randn(width, generator=self.generator) * 0.1
        self[f"{name}.bias"] = torch.randn(width, generator=self.generator) * 0.1


def unet_tensors(
    widths: Sequence[int] = (64, 128),
    attends: Sequence[bool] = (True, True),
    blocks: int = 1,
    camera: bool = True,
    linear: bool = True,
    context: int = CONTEXT,
) -> dict[str, Tensor]:
    """The UNet of MVDream (or of Stable Diffusion: no camera), without a prefix; 1.x: not linear."""
    made, base = Tensors(), widths[0]
    for name in ("time_embed", "camera_embed")[: 1 + camera]:
        made.layer(f"{name}.0", 4 * base, base if name == "time_embed" else CAMERA)
        made.layer(f"{name}.2", 4 * base, 4 * base)
    made.layer("input_blocks.0.0", base, LATENT, 3, 3)
    here, skips, number = base, [base], 1
    for level, (width, attention) in enumerate(zip(widths, attends, strict=True)):
        for _ in range(blocks):
            _unet_residual(made, f"input_blocks.{number}.0", here, width, 4 * base)
            if attention:
                _transformer(made, f"input_blocks.{number}.1", width, context, linear)
            here, number = width, number + 1
            skips.append(here)
        if level < len(widths) - 1:
            made.layer(f"input_blocks.{number}.0.op", here, here, 3, 3)
            skips.append(here)
            number += 1
    for part in (0, 2):
        _unet_residual(made, f"middle_block.{part}", here, here, 4 * base)
    _transformer(made, "middle_block.1", here, context, linear)
    number = 0
    for level in reversed(range(len(widths))):
        for block in range(blocks + 1):
            _unet_residual(made, f"output_blocks.{number}.0", here + skips.pop(), widths[level], 4 * base)
            here = widths[level]
            if attends[level]:
                _transformer(made, f"output_blocks.{number}.1", here, context, linear)
            if level and block == blocks:
                made.layer(f"output_blocks.{number}.{1 + attends[level]}.conv", here, here, 3, 3)
            number += 1
    made.norm("out.0", here)
    made.layer("out.2", LATENT, here, 3, 3)
    return dict(made)


def _unet_residual(made: Tensors, name: str, into: int, out: int, time: int) -> None:
    made.norm(f"{name}.in_layers.0", into)
    made.layer(f"{name}.in_layers.2", out, into, 3, 3)
    made.layer(f"{name}.emb_layers.1", out, time)
    made.norm(f"{name}.out_layers.0", out)
    made.layer(f"{name}.out_layers.3", out, out, 3, 3)
    if into != out:
        made.layer(f"{name}.skip_connection", out, into, 1, 1)


def _transformer(made: Tensors, name: str, width: int, context: int, linear: bool) -> None:
    kernel = () if linear else (1, 1)
    made.norm(f"{name}.norm", width)
    made.layer(f"{name}.proj_in", width, width, *kernel)
    block = f"{name}.transformer_blocks.0"
    for attention, seen in (("attn1", width), ("attn2", context)):
        made.layer(f"{block}.{attention}.to_q", width, width, bias=False)
        for part in ("to_k", "to_v"):
            made.layer(f"{block}.{attention}.{part}", width, seen, bias=False)
        made.layer(f"{block}.{attention}.to_out.0", width, width)
    made.layer(f"{block}.ff.net.0.proj", 8 * width, width)
    made.layer(f"{block}.ff.net.2", width, 4 * width)
    for norm in ("norm1", "norm2", "norm3"):
        made.norm(f"{block}.{norm}", width)
    made.layer(f"{name}.proj_out", width, width, *kernel)


def vae_tensors(widths: Sequence[int] = (32, 64), blocks: int = 1) -> dict[str, Tensor]:
    """The autoencoder of Stable Diffusion, without a prefix."""
    made = Tensors(seed=1)
    deepest, levels = widths[-1], len(widths)
    made.layer("encoder.conv_in", widths[0], 3, 3, 3)
    made.layer("decoder.conv_in", deepest, LATENT, 3, 3)
    here = widths[0]
    for level, width in enumerate(widths):
        for block in range(blocks):
            _vae_residual(made, f"encoder.down.{level}.block.{block}", here, width)
            here = width
        if level < levels - 1:
            made.layer(f"encoder.down.{level}.downsample.conv", here, here, 3, 3)
    for level in reversed(range(levels)):
        for block in range(blocks + 1):
            _vae_residual(made, f"decoder.up.{level}.block.{block}", here, widths[level])
            here = widths[level]
        if level:
            made.layer(f"decoder.up.{level}.upsample.conv", here, here, 3, 3)
    for side in ("encoder", "decoder"):
        _vae_residual(made, f"{side}.mid.block_1", deepest, deepest)
        made.norm(f"{side}.mid.attn_1.norm", deepest)
        for part in ("q", "k", "v", "proj_out"):
            made.layer(f"{side}.mid.attn_1.{part}", deepest, deepest, 1, 1)
        _vae_residual(made, f"{side}.mid.block_2", deepest, deepest)
    for side, width, out in (("encoder", deepest, 2 * LATENT), ("decoder", widths[0], 3)):
        made.norm(f"{side}.norm_out", width)
        made.layer(f"{side}.conv_out", out, width, 3, 3)
    made.layer("quant_conv", 2 * LATENT, 2 * LATENT, 1, 1)
    made.layer("post_quant_conv", LATENT, LATENT, 1, 1)
    return dict(made)


def _vae_residual(made: Tensors, name: str, into: int, out: int) -> None:
    made.norm(f"{name}.norm1", into)
    made.layer(f"{name}.conv1", out, into, 3, 3)
    made.norm(f"{name}.norm2", out)
    made.layer(f"{name}.conv2", out, out, 3, 3)
    if into != out:
        made.layer(f"{name}.nin_shortcut", out, into, 1, 1)


def randomised(model: nn.Module) -> nn.Module:
    """Gaussian weights that keep activations near one."""
    generator = torch.Generator().manual_seed(4)
    with torch.no_grad():
        for weight in model.parameters():
            noise = torch.randn(weight.shape, generator=generator)
            weight.copy_(noise / weight[0].numel() ** 0.5 if weight.ndim > 1 else weight + 0.1 * noise)
    return model.eval()


def open_clip_model(width: int = 128, heads: int = 2, layers: int = 4) -> nn.Module:
    """A whole OpenCLIP model with a small text tower."""
    text = {"context_length": LENGTH, "vocab_size": VOCABULARY, "width": width, "heads": heads, "layers": layers}
    vision = {"image_size": 32, "patch_size": 16, "width": 32, "layers": 1, "head_width": 32}
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return randomised(open_clip.CLIP(embed_dim=48, text_cfg=text, vision_cfg=vision))


def open_clip_checkpoint(model: nn.Module) -> dict[str, Tensor]:
    """Its tensors as Stable Diffusion 2.x names them."""
    return {TEXT + name: tensor for name, tensor in model.state_dict().items()}


def with_prefix(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """The tensors as part of a whole checkpoint."""
    return {prefix + name: tensor for name, tensor in tensors.items()}
