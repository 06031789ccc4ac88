"""Reference latents, with and without a posterior, on real autoencoders."""

from types import SimpleNamespace

import pytest
import torch
from diffusers import AutoencoderKL, AutoencoderTiny

from dreamdist3d.backbones import Backbone
from dreamdist3d.prompts.learning import images
from dreamdist3d.prompts.learning.images import encode_references


def backbone_with(vae):
    """A real Backbone of which only the autoencoder is there."""
    vae.eval().requires_grad_(False)
    return Backbone("t", "t", None, None, vae, None, None, 1, 16, "", torch.device("cpu"), torch.float32)


def pixels():
    return torch.rand(11, 3, 16, 16, generator=torch.Generator().manual_seed(0)) * 2 - 1


def test_a_posterior_is_kept_and_sampled_by_the_generator():
    torch.manual_seed(0)
    vae = AutoencoderKL(block_out_channels=(8,), norm_num_groups=4, latent_channels=2, scaling_factor=0.5)
    backbone = backbone_with(vae)
    encoded = encode_references(backbone, pixels())
    torch.testing.assert_close(encoded.mean, backbone.encode_images(pixels()))
    torch.testing.assert_close(encoded.std, vae.encode(pixels()).latent_dist.std * 0.5)
    chosen = [3, 3, 10]
    one, same, other = (encoded.sample(chosen, torch.Generator().manual_seed(s)) for s in (1, 1, 2))
    assert torch.equal(one, same) and not torch.equal(one, other) and not torch.equal(one[0], one[1])
    noise = torch.randn(one.shape, generator=torch.Generator().manual_seed(1))
    torch.testing.assert_close(one, encoded.mean[chosen] + encoded.std[chosen] * noise)


def test_a_deterministic_autoencoder_gives_its_latents():
    torch.manual_seed(0)
    vae = AutoencoderTiny(
        encoder_block_out_channels=(8, 8),
        decoder_block_out_channels=(8, 8),
        num_encoder_blocks=(1, 1),
        num_decoder_blocks=(1, 1),
        latent_channels=2,
    )
    backbone = backbone_with(vae)
    encoded = encode_references(backbone, pixels())
    assert encoded.std is None and len(encoded) == 11
    expected = backbone.encode_images(pixels())
    torch.testing.assert_close(encoded.sample([10, 0], torch.Generator()), expected[[10, 0]])


@pytest.mark.parametrize("budget,calls", [(3 * 16 * 16, [3, 3, 3, 2]), (1, [1] * 11)])
def test_every_image_is_encoded_once_and_few_at_a_time(monkeypatch, budget, calls):
    monkeypatch.setattr(images, "CHUNK_PIXELS", budget)
    counted = []

    class Counting(torch.nn.Module):
        config = SimpleNamespace(scaling_factor=1.0, shift_factor=None)

        def encode(self, given):
            counted.append(len(given))
            return SimpleNamespace(latents=given[:, :2])

    encode_references(backbone_with(Counting()), pixels())
    assert counted == calls
