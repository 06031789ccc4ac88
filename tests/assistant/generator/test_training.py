"""A generator at full size: SD 2.1's, CLIP's and DINOv2's layouts, a few numbers each, trained, kept and used."""

import json

import pytest
import torch
from safetensors.torch import load_file

from dreamdist3d.assistant.generator import patches as patches_module
from dreamdist3d.assistant.generator.bank import Bank, Encoders
from dreamdist3d.assistant.generator.conditions import TOKENS, Conditions
from dreamdist3d.assistant.generator.patches import SIDE, DinoPatches, MiniPatches, load_patches
from dreamdist3d.assistant.generator.storage import is_for, load_generator
from dreamdist3d.assistant.generator.training import GeneratorRecipe, PairLesson, begun, train_generator
from dreamdist3d.assistant.inputs import ClipInputs, mini_inputs
from dreamdist3d.assistant.quadruplets import read_quadruplets
from dreamdist3d.assistant.reading import read_file
from dreamdist3d.assistant.subjects import PicturedSubject
from dreamdist3d.backbones import load_backbone
from dreamdist3d.backbones.reference_attention import ReferenceAttention
from dreamdist3d.backbones.references import FILE
from dreamdist3d.errors import UserError
from tests.assistant.tiny import WANTED, tiny_dino, write_quadruplets, write_tiny_clip
from tests.backbones.tiny import write_sd_folder

RECIPE = GeneratorRecipe(steps=4, batch=3)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("full")
    write_sd_folder(folder / "sd")
    write_tiny_clip(folder / "clip")
    write_quadruplets(folder)
    return folder


@pytest.fixture(scope="module")
def dino(folder):
    return tiny_dino(folder)


@pytest.fixture
def encoders(folder, dino):
    return Encoders(load_backbone(str(folder / "sd")), ClipInputs(folder / "clip"), DinoPatches(dino))


@pytest.fixture(scope="module")
def quadruplets(folder):
    return read_quadruplets(folder / "quadruplets.jsonl")[0]


@pytest.fixture(scope="module")
def weights(folder, dino, quadruplets):
    encoders = Encoders(load_backbone(str(folder / "sd")), ClipInputs(folder / "clip"), DinoPatches(dino))
    train_generator(folder / "out", encoders, RECIPE, quadruplets)
    assert not any(isinstance(one, ReferenceAttention) for one in encoders.backbone.unet.attn_processors.values())
    assert not any(weight.requires_grad for weight in encoders.backbone.unet.parameters())
    return folder / "out" / "weights"


@pytest.fixture
def load(monkeypatch, dino):
    monkeypatch.setattr(patches_module, "load_patches", lambda name, backbone: DinoPatches(dino))
    monkeypatch.setattr(
        "dreamdist3d.assistant.generator.storage.load_patches", lambda name, backbone: DinoPatches(dino)
    )
    return load_generator


def test_a_dropped_branch_is_nothing_and_the_other_is_itself():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        conditions = Conditions(WANTED, 16, 8)
    wanted, patches = torch.randn(2, WANTED), torch.randn(2, 5, 16)
    whole = conditions(wanted, patches)
    assert whole.shape == (2, TOKENS + 5, 8) and conditions.sizes == (WANTED, 16, 8)
    cut = conditions(wanted, patches, torch.tensor([[True, False], [False, True]]))
    assert torch.equal(cut[0, :TOKENS], whole[0, :TOKENS]) and not cut[0, TOKENS:].any()
    assert torch.equal(cut[1, TOKENS:], whole[1, TOKENS:]) and not cut[1, :TOKENS].any()


def test_what_is_learned_is_kept_and_seen(weights, load, encoders, quadruplets):
    backbone = encoders.backbone
    generator = load(weights, backbone)
    picture = read_file(quadruplets[0].picture, backbone.image_size)
    wanted = encoders.inputs(picture[None])[1]  # an embedding of a picture takes the language model's place
    tokens = generator.tokens(wanted, picture, 1)
    assert tokens.shape == (1, TOKENS + SIDE**2, 16)
    alone = generator.tokens(None, picture, 1)
    assert not alone[:, :TOKENS].any() and torch.equal(alone[:, TOKENS:], tokens[:, TOKENS:])
    latents, text = torch.randn(1, 4, 8, 8), torch.randn(1, 16, 16)
    time, seen = torch.tensor([500]), torch.cat([text, 50 * tokens], dim=1)
    plain = backbone.predict(latents, time, text)
    generator.install(backbone)
    assert (backbone.predict(latents, time, seen) - plain).abs().max() > 1e-6
    generator.install(backbone, (0.0, 0.0))
    torch.testing.assert_close(backbone.predict(latents, time, seen), plain, atol=1e-6, rtol=0)


def test_every_part_learns_and_a_dropped_branch_teaches_nothing(encoders, weights):
    bank = Bank(weights.parent / "pairs")
    conditions, layers = begun(encoders)
    layers.requires_grad_(True)
    for layer in layers:  # values that are zero pass no gradient on to what they are values of
        for value in layer.to_v_ip:
            torch.nn.init.constant_(value.weight, 0.1)
    drawn = PairLesson(conditions, bank, encoders.backbone, GeneratorRecipe(batch=8, dropped=0.0))
    drawn(torch.Generator().manual_seed(0))["loss"].backward()
    assert all(weight.grad.abs().sum() > 0 for module in (conditions, layers) for weight in module.parameters())
    conditions.zero_grad()
    never = PairLesson(conditions, bank, encoders.backbone, GeneratorRecipe(batch=8, dropped=1 - 1e-9))
    never(torch.Generator().manual_seed(0))["loss"].backward()
    assert not any(weight.grad.any() for weight in conditions.parameters())


def test_a_training_that_was_stopped_goes_on_as_if_it_was_not(weights, encoders, quadruplets, tmp_path):
    from dreamdist3d.mini import loop

    seen = []

    class Stops:
        def __enter__(self):
            return self

        def __exit__(self, *_):
            pass

        @property
        def requested(self):
            seen.append(1)
            return len(seen) == 2

    with pytest.MonkeyPatch.context() as patch, pytest.raises(UserError, match="goes on from there"):
        patch.setattr(loop, "StopSignal", Stops)
        train_generator(tmp_path, encoders, RECIPE, quadruplets)
    train_generator(tmp_path, encoders, RECIPE, quadruplets)
    for name in ("generator.safetensors", FILE):
        again = load_file(weights / name)
        assert all(torch.equal(value, again[key]) for key, value in load_file(tmp_path / "weights" / name).items())
    with pytest.raises(UserError, match="another recipe"):
        train_generator(tmp_path, encoders, GeneratorRecipe(steps=5, batch=3), quadruplets)


def test_what_does_not_fit_is_told(weights, load, tiny_backbone, encoders, tmp_path):
    with pytest.raises(UserError, match="no generator in"):
        load(tmp_path, encoders.backbone)
    assert is_for(weights, encoders.backbone) and not is_for(tmp_path, encoders.backbone)
    mini = load_backbone("mini")
    assert not is_for(weights, mini)
    with pytest.raises(UserError, match="another backbone"):
        load(weights, mini)
    (tmp_path / "generator.safetensors").write_bytes((weights / "generator.safetensors").read_bytes()[:-9])
    with pytest.raises(UserError, match="no whole generator"):
        load(tmp_path, encoders.backbone)
    with pytest.raises(UserError, match="patches of"):
        load_patches("mini", encoders.backbone)
    for values in ({"steps": 0}, {"dropped": 1.0}):
        with pytest.raises(UserError, match="out of range"):
            GeneratorRecipe(**values)


def test_in_the_miniature_the_second_branch_begins_as_the_apprentices():
    backbone = load_backbone("mini")
    encoders = Encoders(backbone, mini_inputs(), MiniPatches(backbone))
    conditions, layers = begun(encoders)
    assert layers[0].to_v_ip[1].weight.abs().sum() > 0 and not layers[0].to_v_ip[0].weight.any()
    picture = torch.rand(3, 64, 64, generator=torch.Generator().manual_seed(0))
    patches = encoders.patches(picture[None])
    assert patches.shape == (1, 16, encoders.patches.width)
    assert conditions(torch.zeros(1, 128), patches).shape == (1, TOKENS + 16, 128)


def test_lines_that_are_no_quadruplets_are_named(folder, tmp_path):
    good = (folder / "quadruplets.jsonl").read_text().splitlines()[0]
    value = json.loads(good)
    wrong = ["{", "[1]", json.dumps({**value, "answer": 3}), json.dumps({**value, "target": "../x.png"})]
    wrong.append(json.dumps({**value, "picture": "none.png"}))
    for name in (value["picture"], value["target"]):
        (tmp_path / name).write_bytes((folder / name).read_bytes())
    (tmp_path / "q.jsonl").write_text("\n".join([good, "", *wrong]))
    found, said = read_quadruplets(tmp_path / "q.jsonl")
    assert [one.text for one in found] == ["a red cat"] and len(said) == len(wrong)
    assert all(f"line {number}:" in line for number, line in enumerate(said, start=3))
    assert "answer is missing" in said[2] and "outside" in said[3] and "does not exist" in said[4]
    (tmp_path / "q.jsonl").write_text("{")
    with pytest.raises(UserError, match="no quadruplet"):
        read_quadruplets(tmp_path / "q.jsonl")


def test_the_command_trains_on_a_file(folder, dino, tmp_path, monkeypatch, capsys):
    from dreamdist3d.cli import main

    monkeypatch.setattr(patches_module, "load_patches", lambda name, backbone: DinoPatches(dino))
    words = ["assistant", "generator", "--out", str(tmp_path), "--quadruplets", str(folder / "quadruplets.jsonl")]
    words += ["--backbone", str(folder / "sd"), "--clip", str(folder / "clip"), "--patches", "dinov2"]
    assert main([*words, "--steps", "2", "--batch", "2", "--device", "cpu"]) == 0
    assert capsys.readouterr().out.strip() == str(tmp_path / "weights")
    assert (tmp_path / "weights" / "generator.safetensors").is_file()
    assert main(["assistant", "generator", "--out", str(tmp_path), "--backbone", str(folder / "sd")]) == 2
    assert "give --quadruplets" in capsys.readouterr().err


def test_words_say_only_what_is_asked_of_a_picture_that_is_seen():
    from dreamdist3d.assistant.edit import Edit
    from dreamdist3d.assistant.intentions import Seen

    class Words:
        def encode_text(self, texts):
            self.texts = texts
            return type("Found", (), {"hidden": torch.zeros(len(texts), 4, 8)})

    class Tokens:
        def tokens(self, wanted, picture, count):
            return torch.ones(count, 3, 8)

    subject, words = PicturedSubject("mug", torch.zeros(3, 8, 8), Tokens()), Words()
    seen = Seen("mug", "red", part_color="blue")
    edits = [
        subject.worded(Edit(asked), seen)
        for asked in ({"material": "glossy"}, {"pattern": "dotted"}, {"background": "gradient"}, {"color": "teal"})
    ]
    subject.embed(edits, words)
    assert words.texts == [
        "a glossy mug",
        "a dotted red mug with a blue handle",
        "a red mug with a blue handle, gradient background",
        "a teal mug with a blue handle",
    ]
    assert subject.references(edits, None).flatten(1).sum(dim=1).tolist() == [24.0, 24.0, 0.0, 0.0]
    assert "red" in edits[0].prefix  # what lifts it, without the picture, is the whole caption
