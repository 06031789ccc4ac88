"""What the stages of the recipe minimise, and on what they are shown."""

import math
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from dreamdist3d.mini import diffusion
from dreamdist3d.mini.autoencoder import autoencoder_stage, build_autoencoder, measure_scaling, psnr, random_pictures
from dreamdist3d.mini.captions import BACKGROUND_NAMES, background_suffix, view_suffix
from dreamdist3d.mini.diffusion import build_scheduler, diffusion_stage
from dreamdist3d.mini.judges import clip_stage, contrast, dino_stage
from dreamdist3d.mini.latents import EncodedDataset
from dreamdist3d.mini.text import build_tokenizer, tokenize
from tests.mini.tiny import tiny_world

OBJECTS, SETS, BACKGROUNDS = 12, 2, 3


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def loss_of(stage, kind="loss"):
    return stage.losses[kind][1]


@pytest.fixture(scope="module")
def tokenizer():
    return build_tokenizer()


@pytest.fixture(scope="module")
def world():
    return tiny_world(OBJECTS, SETS)


class Half(nn.Module):
    """An autoencoder stand-in that halves: encode multiplies by 0.5, decode gives back what it gets."""

    device = torch.device("cpu")

    def encode(self, pictures):
        return SimpleNamespace(latents=pictures * 0.5)

    def decode(self, latents):
        return SimpleNamespace(sample=latents)


def test_autoencoder_numbers(world):
    pictures = random_pictures(world, 6, seeded())
    assert pictures.shape == (6, 3, 64, 64) and pictures.min() >= -1 and pictures.max() <= 1
    assert torch.equal(pictures, random_pictures(world, 6, seeded()))
    error = ((pictures * 0.5 - pictures) / 2).double().square().mean()
    assert psnr(Half(), pictures) == pytest.approx(10 * math.log10(1 / float(error)), abs=1e-3)
    shown = random_pictures(world, 512, seeded())
    assert measure_scaling(Half(), world) == pytest.approx(2 / float(shown.double().std()), rel=1e-4)


def test_the_autoencoder_maps_64_pixels_to_16_and_repeats_itself(world):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = build_autoencoder()
    stage = autoencoder_stage(world, model, 1, lambda step: None)
    assert model.encode(torch.zeros(1, 3, 64, 64)).latents.shape == (1, 8, 16, 16)
    first, again = (loss_of(stage)(seeded())["mse"] for _ in range(2))
    assert torch.equal(first, again) and 0.05 < float(first.detach()) < 2


class Asked(nn.Module):
    """A UNet stand-in that answers zero and keeps the question."""

    def forward(self, sample, timesteps, encoder_hidden_states, class_labels, cross_attention_kwargs):
        self.asked = SimpleNamespace(
            noisy=sample, t=timesteps, text=encoder_hidden_states, cameras=class_labels, **cross_attention_kwargs
        )
        return SimpleNamespace(sample=torch.zeros_like(sample))


class Ids(nn.Module):
    """A text encoder stand-in whose hidden states are the token ids."""

    def forward(self, ids):
        return SimpleNamespace(last_hidden_state=ids[..., None].float())


KINDS = 3  # of backgrounds


@pytest.fixture
def encoded():
    """Every picture is filled with a number of its own; the backgrounds of a set are of all kinds in turn."""
    numbers = torch.arange(OBJECTS * SETS * BACKGROUNDS * 4).view(OBJECTS, SETS, BACKGROUNDS, 4)
    latents = (numbers / 500)[..., None, None, None].expand(-1, -1, -1, -1, 2, 3, 3).half()
    return EncodedDataset(latents, torch.arange(KINDS, dtype=torch.uint8).expand(OBJECTS, SETS, BACKGROUNDS))


@pytest.fixture
def questions(world, encoded, tokenizer):
    """A function from a kind of step and a seed to what the UNet is asked in that step."""
    unet = Asked()
    stage = diffusion_stage(world, encoded, tokenizer, Ids(), unet, 1, lambda step: None)

    def ask(kind, seed):
        loss_of(stage, kind)(seeded(seed))
        return unet.asked

    return ask


@pytest.mark.parametrize("content", [0.0, 0.7])
@pytest.mark.parametrize("kind", ["multi", "single"])
def test_diffusion_minimises_the_velocity_error(world, encoded, tokenizer, content, kind):
    """With latents that are known, what the UNet is asked gives the noise, and an answer of zero costs mean v^2."""
    unet, scheduler, noises = Asked(), build_scheduler(), []
    known = EncodedDataset(torch.full_like(encoded.latents, content), encoded.kinds)
    stage = diffusion_stage(world, known, tokenizer, Ids(), unet, 1, lambda step: None)
    clean = float(known.latents.flatten()[0])
    for seed in range(20):
        loss = float(loss_of(stage, kind)(seeded(seed))["loss"])
        alphas = scheduler.alphas_cumprod[unet.asked.t].view(-1, 1, 1, 1).double()
        signal, sigma = alphas.sqrt(), (1 - alphas).sqrt()
        noise = (unet.asked.noisy.double() - signal * clean) / sigma
        assert loss == pytest.approx(float((signal * noise - sigma * clean).square().mean()), rel=1e-4)
        noises.append(noise.flatten())
    drawn = torch.cat(noises)
    assert abs(float(drawn.mean())) < 0.03 and float(drawn.std()) == pytest.approx(1.0, abs=0.03)


def test_views_of_an_object_share_timestep_text_and_come_with_their_cameras(questions, world):
    known = world.cameras.view(OBJECTS * SETS, 4, 16)
    for seed in range(10):
        asked = questions("multi", seed)
        assert asked.n_views == 4
        for values in (asked.t, asked.text[..., 0]):
            grouped = values.view(len(asked.noisy) // 4, 4, -1)
            assert (grouped == grouped[:, :1]).all()
        for four in asked.cameras.view(-1, 4, 16):
            assert (known == four).flatten(1).all(dim=1).any()


def test_single_views_come_without_a_camera(questions):
    asked = questions("single", 0)
    assert asked.n_views == 1 and not asked.cameras.any() and len(set(asked.t.tolist())) > 10


def test_kinds_of_step_come_in_their_shares(world, encoded, tokenizer):
    stage = diffusion_stage(world, encoded, tokenizer, Ids(), Asked(), 1, lambda step: None)
    assert {name: share for name, (share, _) in stage.losses.items()} == {"multi": 0.7, "single": 0.3}


def batches(world, encoded, tokenizer):
    return diffusion._Batches(world, encoded, tokenizer, diffusion.OBJECTS_PER_STEP)


def said_of(world, objects, kind):
    return [caption + background_suffix(BACKGROUND_NAMES[kind]) for caption in world.truth[objects]["captions"]]


def test_latents_cameras_and_captions_belong_to_one_object(world, encoded, tokenizer):
    made = batches(world, encoded, tokenizer)
    empty = tokenize(tokenizer, [""])[0]
    dropped = total = 0
    for seed in range(40):
        clean, ids, cameras = made.multi_view(seeded(seed))
        for index, four in enumerate(clean[:, 0, 0, 0].view(-1, 4)):
            place = (encoded.latents[..., 0, 0, 0].float() - four).abs().sum(dim=-1) < 1e-6
            objects, sets, kind = (int(v) for v in place.nonzero()[0])
            assert torch.equal(cameras.view(-1, 4, 16)[index], world.cameras[objects].view(SETS, 4, 16)[sets])
            own = tokenize(tokenizer, said_of(world, objects, kind))
            assert (own == ids[index]).all(dim=1).any() or torch.equal(ids[index], empty)
            dropped, total = dropped + torch.equal(ids[index], empty), total + 1
    assert 0.04 < dropped / total < 0.17


def test_single_views_may_say_their_direction(world, encoded, tokenizer):
    made = batches(world, encoded, tokenizer)
    said = total = 0
    for seed in range(15):
        clean, ids, cameras = made.single_view(seeded(seed))
        assert len(clean) == diffusion.OBJECTS_PER_STEP * 4 and not cameras.any()
        for value, row in zip(clean[:, 0, 0, 0], ids, strict=True):
            place = (encoded.latents[..., 0, 0, 0].float() - value).abs() < 1e-6
            objects, sets, kind, view = place.nonzero()[0].tolist()
            suffix = view_suffix(float(world.azimuths[objects].view(SETS, 4)[sets, view]))
            plain = said_of(world, objects, kind)
            with_view = tokenize(tokenizer, [caption + suffix for caption in plain])
            is_said = bool((with_view == row).all(dim=1).any())
            assert is_said or (tokenize(tokenizer, [*plain, ""]) == row).all(dim=1).any()
            said, total = said + is_said, total + 1
    assert 0.2 < said / total < 0.4


class Scores(nn.Module):
    """A CLIP stand-in with fixed logits."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(()))  # whose device the stage asks for

    def forward(self, input_ids, pixel_values):
        self.ids = input_ids
        self.logits = torch.randn(len(pixel_values), len(input_ids), generator=seeded(3))
        return SimpleNamespace(logits_per_image=self.logits)


def test_clip_reads_a_detailed_and_the_barest_caption_of_every_picture(world, tokenizer):
    model = Scores()
    loss = float(loss_of(clip_stage(world, tokenizer, model, 1))(seeded(1))["loss"])
    width = model.ids.shape[1]
    detailed, bare = model.ids.chunk(2)
    captions = [tokenize(tokenizer, known["captions"])[:, :width] for known in world.truth]
    for rows, known in ((detailed, [c[:-1] for c in captions]), (bare, [c[-1:] for c in captions])):
        assert all(any((own == row).all(dim=1).any() for own in known) for row in rows)
    numbers = [torch.tensor([hash(tuple(row.tolist())) for row in rows]) for rows in (detailed, bare)]
    split = model.logits.split(OBJECTS, dim=1)
    expected = sum(contrast(logits, same) for logits, same in zip(split, numbers, strict=True)) / 2
    assert loss == pytest.approx(float(expected), rel=1e-5)


def test_contrast_counts_equal_texts_once_and_spreads_them_over_their_pictures():
    """InfoNCE in both directions over the different texts, by hand."""
    unique = torch.randn(5, 3, generator=seeded(3))
    chosen = [0, 2, 0, 1, 0]
    rows = unique.double().tolist()

    def log_softmax(row, index):
        return row[index] - math.log(sum(math.exp(value) for value in row))

    pictures = -sum(log_softmax(rows[i], chosen[i]) for i in range(5)) / 5
    texts = 0.0
    for text in range(3):
        column, own = [row[text] for row in rows], [i for i in range(5) if chosen[i] == text]
        texts -= sum(log_softmax(column, i) for i in own) / len(own) / 3
    found = contrast(unique[:, chosen], torch.tensor(chosen) * 7)
    assert float(found) == pytest.approx((pictures + texts) / 2, rel=1e-5)


class Features(nn.Module):
    """A picture encoder stand-in with fixed features."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(()))

    def forward(self, pixel_values):
        self.pictures = pixel_values
        return SimpleNamespace(last_hidden_state=torch.randn(len(pixel_values), 3, 128, generator=seeded(4)))


def test_dino_pulls_two_crops_of_a_picture_together(world):
    """NT-Xent: each crop against all others, its partner being the same picture's other crop."""
    model = Features()
    stage = dino_stage(world, model, 1)
    loss = loss_of(stage)(seeded(1))["loss"].detach()
    with torch.no_grad():
        features = stage.models["head"](torch.randn(len(model.pictures), 3, 128, generator=seeded(4))[:, 0]).double()
    unit = features / features.norm(dim=1, keepdim=True)
    count, total = len(unit), 0.0
    for i in range(count):
        partner = (i + count // 2) % count
        others = [float(unit[i] @ unit[j]) / 0.1 for j in range(count) if j != i]
        total += math.log(sum(map(math.exp, others))) - float(unit[i] @ unit[partner]) / 0.1
    assert count == 2 * OBJECTS and float(loss) == pytest.approx(total / count, rel=1e-5)
    first, second = model.pictures.chunk(2)
    assert not torch.equal(first, second) and model.pictures.abs().max() <= 1
