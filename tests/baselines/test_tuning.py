"""The loss of methods that change the model, and what each of them changes."""

from dataclasses import replace

import pytest
import torch

from dreamdist3d.backbones import add_noise, diffusion_target, load_backbone
from dreamdist3d.baselines import BaselineConfig
from dreamdist3d.baselines.custom_diffusion import CustomDiffusion
from dreamdist3d.baselines.dreambooth import DreamBooth, DreamBoothLora
from dreamdist3d.baselines.tuning import Class, Tuner
from dreamdist3d.prompts import SoftPromptEncoder
from dreamdist3d.prompts.learning.coupling import shuffled_rounds
from dreamdist3d.prompts.learning.images import ReferenceLatents
from dreamdist3d.randomness import generator_for

CONFIG = BaselineConfig("dreambooth", words=("cat",), steps=4, batch=2, lr=1e-2, prior_weight=0.5, rank=2, seed=3)
METHODS = {"dreambooth": DreamBooth, "dreambooth-lora": DreamBoothLora, "custom-diffusion": CustomDiffusion}


@pytest.fixture
def latents():
    return ReferenceLatents(torch.randn(5, 4, 8, 8, generator=torch.Generator().manual_seed(0)), None)


def known(backbone):
    text = SoftPromptEncoder(backbone.tokenizer, backbone.text_encoder).encode_text(["a cat"]).hidden[0]
    return Class(text, ReferenceLatents(torch.randn(7, 4, 8, 8, generator=torch.Generator().manual_seed(1)), None))


def tuner(backbone, method, latents, with_class=True, **values):
    config = replace(CONFIG, **values)
    chosen = METHODS[method](backbone, config)
    others = known(backbone) if with_class else None
    return chosen, Tuner(backbone, chosen.parameters, chosen.prompt, latents, others, config)


@pytest.mark.parametrize("with_class", [True, False])
def test_the_loss_is_that_of_the_paper(tiny_backbone, latents, with_class):
    backbone = load_backbone(str(tiny_backbone))
    chosen, learner = tuner(backbone, "dreambooth", latents, with_class)
    generator, others = generator_for(3, "step", 0), known(backbone)
    pictures = latents.mean[shuffled_rounds(5, 0, 2, 3)]
    text = [chosen.prompt()] * 2
    if with_class:
        rows = torch.randint(7, (2,), generator=generator)
        pictures, text = torch.cat([pictures, others.latents.mean[rows]]), text + [others.text] * 2
    noise = torch.randn(pictures.shape, generator=generator)
    t = torch.randint(1000, (len(pictures),), generator=generator)
    with torch.no_grad():
        answer = backbone.predict(add_noise(backbone, pictures, noise, t), t, torch.stack(text))
    error = (answer - diffusion_target(backbone, pictures, noise, t)).square().mean(dim=(1, 2, 3))
    expected = error[:2].mean() + (0.5 * error[2:].mean() if with_class else 0)
    assert learner.advance() == pytest.approx(float(expected), rel=1e-5)


def changed_by(method, tiny_backbone, latents):
    backbone = load_backbone(str(tiny_backbone))
    before = {name: value.clone() for name, value in backbone.unet.state_dict().items()}
    chosen, learner = tuner(backbone, method, latents)
    for _ in range(2):
        learner.advance()
    after = {name.replace(".base_layer", ""): value for name, value in backbone.unet.state_dict().items()}
    return chosen, {name for name in before if not torch.equal(before[name], after[name])}, set(before)


def test_each_method_changes_what_it_says(tiny_backbone, latents):
    _, changed, everything = changed_by("dreambooth", tiny_backbone, latents)
    assert changed == {name for name in everything if not name.startswith("class_embedding")}
    chosen, changed, _ = changed_by("custom-diffusion", tiny_backbone, latents)
    assert changed == {n for n in everything if n.endswith(("attn2.to_k.weight", "attn2.to_v.weight"))}
    assert chosen.tensors().keys() == changed and chosen.source({}).tokens.shape == (1, 1, 16)
    chosen, changed, _ = changed_by("dreambooth-lora", tiny_backbone, latents)
    assert not changed  # the factors stand beside the weights
    places = {name.partition(".lora")[0] for name in chosen.tensors()}
    assert len(places) == 4 * len({place.rpartition(".attn")[0] + place.rpartition(".attn")[2][0] for place in places})


def test_custom_diffusion_learns_its_word(tiny_backbone, latents):
    backbone = load_backbone(str(tiny_backbone))
    chosen, learner = tuner(backbone, "custom-diffusion", latents)
    start = chosen.source({}).tokens.clone()
    learner.advance()
    assert not torch.equal(chosen.source({}).tokens, start)
    assert not any(p.requires_grad for p in backbone.text_encoder.parameters())


@pytest.mark.parametrize("method", METHODS)
def test_a_state_goes_on_bit_by_bit(tiny_backbone, latents, method):
    torch.manual_seed(1)
    state = torch.get_rng_state()
    whole_chosen, whole = tuner(load_backbone(str(tiny_backbone)), method, latents)
    losses = [whole.advance() for _ in range(4)]
    half = tuner(load_backbone(str(tiny_backbone)), method, latents)[1]
    half.advance(), half.advance()
    chosen, resumed = tuner(load_backbone(str(tiny_backbone)), method, latents)
    resumed.load_state(half.state())
    assert [resumed.advance(), resumed.advance()] == losses[2:]
    for name, tensor in whole_chosen.tensors().items():
        assert torch.equal(chosen.tensors()[name], tensor)
    assert torch.equal(torch.get_rng_state(), state)  # nothing came from the global generator


def test_seeds_make_other_factors(tiny_backbone, latents):
    one, other = (
        tuner(load_backbone(str(tiny_backbone)), "dreambooth-lora", latents, seed=seed)[0].tensors() for seed in (3, 4)
    )
    assert any(not torch.equal(one[name], other[name]) for name in one)


def test_a_loss_that_is_not_finite_leaves_the_state(tiny_backbone, latents):
    backbone = load_backbone(str(tiny_backbone))
    _, learner = tuner(backbone, "custom-diffusion", ReferenceLatents(latents.mean * float("inf"), None))
    before = {name: value.clone() for name, value in backbone.unet.state_dict().items()}
    with pytest.raises(FloatingPointError):
        learner.advance()
    assert learner.step == 0
    assert all(torch.equal(before[name], value) for name, value in backbone.unet.state_dict().items())
