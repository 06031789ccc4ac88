"""Score distillation on a backbone that can be done by hand, in float64."""

import pytest
import torch
from torch.nn.functional import pixel_shuffle, pixel_unshuffle

from dreamdist3d.guidance import MultiviewGuidance, plain_background, rescale_std
from dreamdist3d.guidance.config import GuidanceConfig
from dreamdist3d.lift.cameras import CameraRanges, camera_condition, sample_cameras
from tests.guidance.fakes import LENGTH, WIDTH, linear_backbone

OBJECTS, VIEWS = 2, 4
COUNT = OBJECTS * VIEWS
SCALE, RESCALE = 7.5, 0.6
BACKGROUND = torch.tensor([0.2, 0.5, 0.9])


@pytest.fixture
def given():
    generator = torch.Generator().manual_seed(1)
    return {
        "rgb": torch.rand(COUNT, 3, 8, 8, generator=generator),
        "cameras": sample_cameras(CameraRanges(), OBJECTS, generator),
        "text": torch.randn(LENGTH, WIDTH, generator=generator),
        "negative": torch.randn(LENGTH, WIDTH, generator=generator),
    }


def guide(backbone, given, progress=0.3, seed=2, **settings):
    """The loss, its gradient with respect to the renders, and what the UNet was asked."""
    config = GuidanceConfig(guidance_scale=SCALE, recon_std_rescale=RESCALE, **settings)
    guidance = MultiviewGuidance(backbone, given["text"], given["negative"], config)
    rgb = given["rgb"].clone().requires_grad_()
    loss = guidance(rgb, given["cameras"], progress, torch.Generator().manual_seed(seed), BACKGROUND)
    loss.backward()
    return loss.detach(), rgb.grad, backbone.unet.seen[-1]


def encode(rgb):
    """The invertible autoencoder on [0, 1] pixels, by hand."""
    return (pixel_unshuffle(rgb.double() * 2 - 1, 2) - 0.1) * 0.7


def decode(latents):
    return pixel_shuffle(latents / 0.7 + 0.1, 2)


def by_hand(backbone, given, seen):
    """Latents, noise levels, and what the two predictions say of x0 and of the noise, in float64."""
    latents, unet = encode(given["rgb"]), backbone.unet.requires_grad_(False)
    alphas = backbone.scheduler.alphas_cumprod.double()[seen["timesteps"][:COUNT]].view(-1, 1, 1, 1)
    signal, sigma = alphas.sqrt(), (1 - alphas).sqrt()
    noisy = seen["latents"][:COUNT].double()
    condition = camera_condition(given["cameras"].c2w).double()
    x0, noise = [], []
    for text in (given["text"], given["negative"]):
        answer = unet.answer(noisy, text.double().expand(COUNT, -1, -1), condition)
        if backbone.prediction_type == "epsilon":
            noise.append(answer)
            x0.append((noisy - sigma * answer) / signal)
        else:
            noise.append(signal * answer + sigma * noisy)
            x0.append(signal * noisy - sigma * answer)
    return {"latents": latents, "sigma2": 1 - alphas, "x0": x0, "noise": noise,
            "true_noise": (noisy - signal * latents) / sigma}  # fmt: skip


def guided(with_text, without):
    return without + SCALE * (with_text - without)


def rescaled(x0, reference):
    """One object after another, one number at a time."""
    out = []
    for start in range(0, len(x0), VIEWS):
        spread, wanted = (x[start : start + VIEWS].flatten().std() for x in (x0, reference))
        out.append(x0[start : start + VIEWS] * (RESCALE * wanted / spread + 1 - RESCALE))
    return torch.cat(out)


def test_rescale_is_per_object():
    generator = torch.Generator().manual_seed(0)
    x0 = torch.randn(COUNT, 3, 2, 2, generator=generator) * torch.arange(1, COUNT + 1).view(-1, 1, 1, 1)
    reference = torch.randn(COUNT, 3, 2, 2, generator=generator)
    result = rescale_std(x0, reference, RESCALE, VIEWS)
    torch.testing.assert_close(result, rescaled(x0, reference))
    full = rescale_std(x0, reference, 1.0, VIEWS)
    spreads = [x.view(OBJECTS, -1).std(dim=1) for x in (full, reference)]
    torch.testing.assert_close(*spreads)
    assert torch.equal(rescale_std(x0, reference, 0.0, VIEWS), x0)
    assert rescale_std(torch.zeros_like(x0), reference, 1.0, VIEWS).isfinite().all()


@pytest.mark.parametrize(
    "progress,expected",
    [(0.0, (980, 980)), (0.4, (500, 740)), (0.8, (20, 500)), (1.0, (20, 500)), (0.2, (740, 860))],
)
def test_timesteps_are_annealed(given, progress, expected):
    guidance = MultiviewGuidance(linear_backbone(), given["text"], given["negative"], GuidanceConfig())
    low, high = guidance.timestep_range(progress)
    assert (low, high) == pytest.approx(expected, abs=1)


def test_the_drawn_timesteps_fill_their_range(given):
    backbone = linear_backbone()
    guidance = MultiviewGuidance(
        backbone, given["text"], given["negative"], GuidanceConfig(min_timestep=(0.1, 0.1), max_timestep=(0.103, 0.103))
    )
    generator = torch.Generator().manual_seed(0)
    for _ in range(30):
        guidance(given["rgb"], given["cameras"], 0.5, generator, BACKGROUND)
    drawn = torch.cat([seen["timesteps"][:COUNT] for seen in backbone.unet.seen])
    assert set(drawn.tolist()) == {100, 101, 102, 103}
    per_object = drawn.view(-1, VIEWS)
    assert (per_object == per_object[:, :1]).all()
    assert (drawn.view(-1, OBJECTS, VIEWS)[:, 0] != drawn.view(-1, OBJECTS, VIEWS)[:, 1]).any()


@pytest.mark.parametrize("kind", ["x0", "sds"])
def test_the_network_is_asked_about_noised_latents_text_and_cameras(given, kind):
    backbone = linear_backbone()
    _, _, seen = guide(backbone, given, kind=kind)
    assert len(backbone.unet.seen) == 1 and seen["n_views"] == VIEWS
    assert torch.equal(seen["latents"][:COUNT], seen["latents"][COUNT:])
    assert torch.equal(seen["timesteps"][:COUNT], seen["timesteps"][COUNT:])
    assert torch.equal(seen["text"], torch.stack([given["text"]] * COUNT + [given["negative"]] * COUNT))
    assert torch.equal(seen["cameras"], camera_condition(given["cameras"].c2w).repeat(2, 1))
    noise = by_hand(backbone, given, seen)["true_noise"]
    assert abs(float(noise.mean())) < 0.1 and float(noise.std()) == pytest.approx(1.0, abs=0.1)


@pytest.mark.parametrize("prediction_type", ["epsilon", "v_prediction"])
@pytest.mark.parametrize("progress", [0.3, 0.9])
def test_x0_loss_and_gradient(given, prediction_type, progress):
    backbone = linear_backbone(prediction_type)
    loss, gradient, seen = guide(backbone, given, progress)
    hand = by_hand(backbone, given, seen)
    target = rescaled(guided(*hand["x0"]), hand["x0"][0])
    difference = hand["latents"] - target
    assert float(loss) == pytest.approx(float(0.5 * difference.square().sum() / COUNT), rel=1e-4)
    # d latents / d rgb of the invertible autoencoder is a shuffle times 2 (to [-1, 1]) times the scaling factor.
    expected = pixel_shuffle(difference / COUNT, 2) * 2 * 0.7
    near = 1e-4 * float(expected.abs().max())
    torch.testing.assert_close(gradient.double(), expected, rtol=1e-3, atol=near)


@pytest.mark.parametrize("prediction_type", ["epsilon", "v_prediction"])
def test_sds_gradient(given, prediction_type):
    backbone = linear_backbone(prediction_type)
    _, gradient, seen = guide(backbone, given, kind="sds")
    hand = by_hand(backbone, given, seen)
    score = hand["sigma2"] * (guided(*hand["noise"]) - hand["true_noise"])
    expected = pixel_shuffle(score / COUNT, 2) * 2 * 0.7
    near = 1e-3 * float(expected.abs().max())
    torch.testing.assert_close(gradient.double(), expected, rtol=1e-3, atol=near)


def pulled_to(given, gradient):
    """The x0 behind a gradient of the x0 loss."""
    return encode(given["rgb"]) - pixel_unshuffle(gradient.double() / (2 * 0.7), 2) * COUNT


def test_clamping_keeps_x0_to_what_a_render_can_show(given):
    free = pulled_to(given, guide(linear_backbone(), given)[1])
    clamped = pulled_to(given, guide(linear_backbone(), given, clamp_x0=True)[1])
    assert decode(free).abs().max() > 1.1
    torch.testing.assert_close(decode(clamped), decode(free).clamp(-1, 1), atol=1e-4, rtol=0)


def recolored(picture, color, tolerance):
    """Pixel by pixel: what is like the median of the picture's border becomes `color`."""
    height, width = picture.shape[1:]
    rim = [(y, x) for y in range(height) for x in range(width) if y in (0, height - 1)]
    rim += [(y, x) for x in (0, width - 1) for y in range(height)]
    border = torch.stack([picture[:, y, x] for y, x in rim]).sort(dim=0).values[(len(rim) - 1) // 2]
    out = picture.clone()
    for y in range(height):
        for x in range(width):
            distance = max(abs(float(a - b)) for a, b in zip(picture[:, y, x], border, strict=True))
            kept = min(1.0, max(0.0, distance / tolerance - 0.5))
            out[:, y, x] = kept * picture[:, y, x] + (1 - kept) * color
    return out


def test_plain_background_by_hand():
    generator = torch.Generator().manual_seed(0)
    pixels = torch.full((3, 3, 6, 7), 0.8) + 0.1 * torch.rand(3, 3, 6, 7, generator=generator)
    pixels[1] -= 0.5  # every picture has a border of its own
    pixels[:, :, 2:4, 2:5] = torch.rand(3, 3, 2, 3, generator=generator) * 2 - 1
    color = torch.tensor([1.0, -0.6, 0.3])
    result = plain_background(pixels, color, 0.2)
    for picture, expected in zip(result, pixels, strict=True):
        torch.testing.assert_close(picture, recolored(expected, color, 0.2))
    assert (result[:, :, 0] == color[:, None]).all()


def test_x0_gets_the_background_of_the_render(given):
    """Twice the tolerance in [0, 1] is the tolerance in [-1, 1]."""
    clamped = pulled_to(given, guide(linear_backbone(), given, clamp_x0=True)[1])
    plain = pulled_to(given, guide(linear_backbone(), given, clamp_x0=True, background_tolerance=0.3)[1])
    color = BACKGROUND.double() * 2 - 1
    expected = torch.stack([recolored(picture, color, 0.6) for picture in decode(clamped)])
    torch.testing.assert_close(decode(plain), expected, atol=1e-3, rtol=0)
    assert (decode(plain) - decode(clamped)).abs().max() > 0.1


@pytest.mark.parametrize("settings", [{"kind": "x0"}, {"kind": "x0", "clamp_x0": True}, {"kind": "sds"}])
def test_the_gradient_reaches_the_renders_alone(given, settings):
    backbone = linear_backbone()
    learned = [given["text"].requires_grad_(), given["negative"].requires_grad_()]
    learned += [given["cameras"].c2w.requires_grad_(), *backbone.unet.parameters()]
    _, gradient, _ = guide(backbone, given, **settings)
    assert (gradient.abs().flatten(1).amax(dim=1) > 0).all()
    assert all(tensor.grad is None for tensor in learned)


@pytest.mark.parametrize("kind", ["x0", "sds"])
def test_all_randomness_is_the_generators(given, kind):
    torch.manual_seed(1)
    first = guide(linear_backbone(), given, kind=kind)[1]
    torch.manual_seed(2)
    assert torch.equal(guide(linear_backbone(), given, kind=kind)[1], first)
    assert not torch.equal(guide(linear_backbone(), given, kind=kind, seed=3)[1], first)


def test_renders_of_another_size_are_resized(given):
    """A render four times as large whose blocks are flat is the small one."""
    large = given | {"rgb": given["rgb"].repeat_interleave(4, dim=2).repeat_interleave(4, dim=3)}
    small_loss = guide(linear_backbone(), given | {"rgb": torch.full_like(given["rgb"], 0.3)})[0]
    flat = given | {"rgb": torch.full((COUNT, 3, 32, 32), 0.3)}
    torch.testing.assert_close(guide(linear_backbone(), flat)[0], small_loss)
    _, gradient, _ = guide(linear_backbone(), large)
    assert gradient.shape == (COUNT, 3, 32, 32) and (gradient != 0).float().mean() > 0.9


def test_a_tinted_background_becomes_the_renders_and_the_object_stays():
    tint, goal = torch.tensor([0.3, 0.1, 0.35]), torch.tensor([-1.0, 0.0, 1.0])
    picture = tint.view(1, 3, 1, 1).repeat(2, 1, 8, 8)
    picture[1] = picture[1] - 0.4  # every picture is judged by its own border
    picture[:, :, 2:6, 3:5] = torch.tensor([0.9, -0.8, -0.7]).view(3, 1, 1)
    clean = plain_background(picture, goal, tolerance=0.2)
    mask = torch.zeros(8, 8, dtype=torch.bool)
    mask[2:6, 3:5] = True
    assert torch.equal(clean[:, :, mask], picture[:, :, mask])
    assert torch.equal(clean[:, :, ~mask], goal.view(1, 3, 1).expand(2, 3, int((~mask).sum())))


def test_between_background_and_object_pixels_are_mixed_in_proportion():
    picture = torch.zeros(1, 3, 5, 5)
    for column, distance in enumerate((0.05, 0.1, 0.2, 0.3, 0.4)):
        picture[0, 1, 2, column] = distance
    clean = plain_background(picture, torch.ones(3), tolerance=0.2)
    expected = [1.0, 1.0, 0.5 * 0.2 + 0.5, 0.3, 0.4]  # at half, one and one and a half tolerances
    torch.testing.assert_close(clean[0, 1, 2], torch.tensor(expected))
