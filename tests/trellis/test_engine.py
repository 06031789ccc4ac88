"""TRELLIS as an engine, over a minimal one: what it is given, and what becomes of what it makes."""

import json

import numpy as np
import pytest
import torch

from dreamdist3d.backbones import load_backbone
from dreamdist3d.config import load_config
from dreamdist3d.errors import UserError
from dreamdist3d.mesh.read import read_mesh
from dreamdist3d.prompts import PromptDistribution, SoftPromptEncoder
from dreamdist3d.prompts.source import MODEL
from dreamdist3d.runs import trellis as runs
from dreamdist3d.runs.manifest import Manifest
from dreamdist3d.runs.one import export_again, run_once
from dreamdist3d.runs.plan import plan_batch
from dreamdist3d.runs.worker import Worker
from dreamdist3d.trellis.checkout import install
from dreamdist3d.trellis.pipeline import open_pipeline
from tests.trellis.conftest import pipeline_folder

PACKAGE = ("export.preset=web", "export.lods=1", "export.hulls=0", "export.texture_size=64")


@pytest.fixture(autouse=True)
def small_views(monkeypatch):
    from dreamdist3d.mesh.package import pictures, views

    for name, value in {"STILL_SIZE": 32, "TURNTABLE_SIZE": 16, "FRAMES": 2}.items():
        monkeypatch.setattr(views, f"_{name}", value)
    for name, value in {"PREVIEW_SIZE": 32, "TURNTABLE_SIZE": 16, "FRAMES": 2}.items():
        monkeypatch.setattr(pictures, f"_{name}", value)


@pytest.fixture
def settings(home, model, tiny_distribution, tmp_path):
    """A function from overrides to a configuration of a run with the minimal TRELLIS."""
    install(home)
    own = [
        f"system.prompt_processor.distribution={tiny_distribution}",
        f"system.trellis.model={model}",
        "system.device=cpu",
        f"exp_root_dir={tmp_path / 'out'}",
    ]
    return lambda *more: load_config("dreamdist3d/trellis.yaml", [*own, *more])


@pytest.fixture
def opened(monkeypatch):
    """The pipelines that runs load."""
    found = []

    def open_one(config, device):
        found.append(open_pipeline(config, device))
        return found[-1]

    monkeypatch.setattr(runs, "open_pipeline", open_one)
    return found


def test_the_draw_is_its_condition_and_the_empty_prompt_its_negative(
    settings, opened, tiny_backbone, tiny_distribution
):
    """What the library draws with the backbone it was learned with, to the last digits."""
    run_once(settings("system.prompt_processor.draw_seed=7", "system.prompt_processor.gamma=1.5", "tag=one"))
    (seen,) = opened[0].pipeline.seen
    backbone = load_backbone(str(tiny_backbone))
    encoder = SoftPromptEncoder(backbone.tokenizer, backbone.text_encoder)
    learned = PromptDistribution.load(tiny_distribution)
    torch.testing.assert_close(seen["cond"][0], learned.embed(learned.draw(7, 1.5), encoder), atol=1e-6, rtol=0)
    torch.testing.assert_close(seen["neg_cond"][0], encoder.encode_text([""]).hidden[0], atol=1e-6, rtol=0)
    assert opened[0].pipeline.settings == [{}, {}]  # its own


def test_a_run_leaves_what_every_run_leaves(settings, tiny_distribution):
    trial = run_once(settings("system.prompt_processor.draw_seed=7", "tag=one", *PACKAGE))
    record = Manifest.load(trial.manifest_path)
    assert record.state == "done" and record.draw["seed"] == 7 and record.draw["omega_sha256"]
    assert record.backbone["name"] == "trellis" and record.timings.keys() == {"lift", "test", "export"}
    learned = PromptDistribution.load(tiny_distribution)
    assert (
        record.distribution["sha256"] == learned.content_hash
        and record.backbone["sha256"] == learned.encoder_fingerprint
    )
    assert {"save/front.png", "save/turntable.webp", "export/model.glb"} <= set(record.files)
    asset = json.loads((trial.mesh.parent / "web" / "asset.json").read_text())
    assert asset["source"]["engine"] == "trellis" and asset["source"]["draw"] == record.draw
    parts = {terms["part"]: terms for terms in asset["licences"]}
    assert {"TRELLIS", "spconv", f"weights {record.backbone['source']}"} <= parts.keys()
    assert not any(terms["limit"] == "non-commercial" for terms in parts.values())


def test_axes_and_colours_come_out_right(settings, opened):
    """Its z becomes glTF's +Y, its front -y glTF's +Z; the colour is its mesh decoder's."""
    trial = run_once(settings("tag=one"))
    mesh = read_mesh(trial.mesh)
    low, high = mesh.bounds
    size = high - low
    assert size[1] == pytest.approx(size[0] * 1.2, rel=0.02)
    front, back = mesh.vertices[:, 2].max(), -mesh.vertices[:, 2].min()
    apart = np.abs(mesh.vertices[mesh.vertices[:, 2].argmax()][2]) - np.abs(
        mesh.vertices[mesh.vertices[:, 2].argmin()][2]
    )
    assert (
        size[2] == pytest.approx(size[0] + 0.05, abs=0.01)
        and front + back == pytest.approx(size[2])
        and abs(apart) < 0.01
    )
    # The half in front is farther from the axis through the poles: the widest ring lies behind the middle.
    widest = mesh.vertices[np.abs(mesh.vertices[:, 0]).argmax()]
    assert widest[2] < 0
    expected = opened_color(opened, trial)
    assert np.abs(np.asarray(mesh.visual.vertex_colors)[:, :3].astype(int) - expected).max() <= 2


def opened_color(opened, trial):
    from dreamdist3d.trellis.made import Made

    return Made.load(trial.last_checkpoint).colors[0].astype(int)


def test_the_seed_decides_and_torch_s_own_generator_is_put_back(settings):
    before = torch.random.get_rng_state()
    sizes = {}
    for tag, seed in (("a", 1), ("b", 1), ("c", 2)):
        trial = run_once(settings("system.prompt_processor.draw_seed=7", f"tag={tag}", f"seed={seed}"))
        sizes[tag] = float(read_mesh(trial.mesh).extents[0])
    assert sizes["a"] == sizes["b"] != sizes["c"]
    assert torch.equal(torch.random.get_rng_state(), before)


def test_what_was_made_is_not_made_again(settings, opened, monkeypatch):
    trial = run_once(settings("tag=one", "system.prompt_processor.draw_seed=7"))
    trial.mesh.unlink()
    run_once(settings("tag=one"))
    assert trial.mesh.is_file() and opened[1].pipeline.seen == []
    trial.mesh.unlink()
    assert export_again(trial.folder).mesh.is_file() and len(opened) == 2


def test_a_damaged_file_is_made_again_and_another_seed_s_is_refused(settings, opened, capsys):
    trial = run_once(settings("tag=one", "system.prompt_processor.draw_seed=7"))
    trial.last_checkpoint.write_bytes(b"cut off")
    trial.mesh.unlink()
    run_once(settings("tag=one"))
    assert len(opened[1].pipeline.seen) == 1 and "made again" in capsys.readouterr().err
    with pytest.raises(UserError, match="draw_seed=7, not 8"):
        run_once(settings("tag=one", "system.prompt_processor.draw_seed=8"))


def test_other_weights_do_not_go_on(settings, tiny_backbone, tmp_path):
    trial = run_once(settings("tag=one"))
    trial.mesh.unlink()
    other = pipeline_folder(tmp_path / "other", tiny_backbone, bias=1.0)
    with pytest.raises(UserError, match="another engine or weights"):
        run_once(settings("tag=one", f"system.trellis.model={other}"))


def test_a_distribution_of_another_text_encoder_is_refused(settings, tmp_path, tiny_distribution):
    learned = PromptDistribution.load(tiny_distribution)
    PromptDistribution(learned.tokens, "low_rank", "fp16-" + "0" * 64).save(tmp_path / "other.safetensors")
    with pytest.raises(UserError, match="another text encoder"):
        run_once(settings(f"system.prompt_processor.distribution={tmp_path / 'other.safetensors'}"))


def test_prompts_of_a_changed_diffusion_model_are_refused(settings, tmp_path, tiny_distribution):
    """Such as DreamBooth's: they mean nothing to a text encoder alone."""
    learned = PromptDistribution.load(tiny_distribution)
    changed = PromptDistribution(learned.tokens, "low_rank", learned.encoder_fingerprint, metadata={MODEL: "0" * 64})
    changed.save(tmp_path / "changed.safetensors")
    with pytest.raises(UserError, match="changed diffusion model"):
        run_once(settings(f"system.prompt_processor.distribution={tmp_path / 'changed.safetensors'}"))


def test_norms_of_the_vocabulary_are_an_option(settings, opened, tiny_backbone, tmp_path):
    """Tokens ten times too long, brought back, are what tokens of the right length are."""
    backbone = load_backbone(str(tiny_backbone))
    words = SoftPromptEncoder(backbone.tokenizer, backbone.text_encoder).vocabulary()[0]
    length = words.norm(dim=-1).mean()
    tokens = torch.randn(3, 2, words.shape[1], generator=torch.Generator().manual_seed(0))
    right = tokens * (length / tokens.norm(dim=-1, keepdim=True))
    for name, of in (("long", 10 * tokens), ("right", right)):
        PromptDistribution(of, "low_rank", backbone.fingerprint).save(tmp_path / f"{name}.safetensors")
        file = f"system.prompt_processor.distribution={tmp_path / name}.safetensors"
        run_once(
            settings(file, "system.prompt_processor.draw_seed=7", "system.trellis.project_norms=true", f"tag={name}")
        )
    found = [one.pipeline.seen[0]["cond"] for one in opened]
    torch.testing.assert_close(found[0], found[1], atol=1e-5, rtol=0)
    plain = run_once(settings(file.replace("right", "long"), "system.prompt_processor.draw_seed=7", "tag=plain"))
    assert plain.mesh.is_file() and (opened[2].pipeline.seen[0]["cond"] - found[0]).abs().max() > 0.1


def test_settings_replace_its_own_only_where_they_are_given(settings, opened):
    run_once(settings("tag=one", "system.trellis.structure_steps=12", "system.trellis.latent_guidance=3"))
    assert opened[0].pipeline.settings == [{"steps": 12}, {"cfg_strength": 3}]
    with pytest.raises(UserError, match="latent_steps"):
        settings("system.trellis.latent_steps=0")


@pytest.mark.parametrize(("part", "said"), [("structure", "no structure"), ("latent", "no surface")])
def test_a_draw_of_which_nothing_comes_is_one_line(settings, part, said, tmp_path):
    with pytest.raises(UserError, match=said):
        run_once(settings("tag=one", f"system.trellis.{part}_steps=999"))
    record = Manifest.load(tmp_path / "out" / "trellis" / "one" / "run.json")
    assert record.state == "failed" and said in record.error


def test_a_texture_of_its_own_making_names_what_it_took(settings):
    trial = run_once(settings("tag=one", "system.trellis.appearance=gaussians", *PACKAGE))
    colors = np.asarray(read_mesh(trial.mesh).visual.vertex_colors)[:, :3]
    assert np.abs(colors.astype(int) - [20, 200, 20]).max() <= 6
    asset = json.loads((trial.mesh.parent / "web" / "asset.json").read_text())
    limits = {terms["part"]: terms["limit"] for terms in asset["licences"]}
    assert limits["nvdiffrast"] == "non-commercial" and limits["pymeshfix"] == "copyleft"
    assert "diffoctreerast" not in limits


def test_a_plain_text_is_what_its_own_encoding_gives(settings, opened):
    run_once(settings("system.prompt_processor.distribution=null", "system.prompt_processor.prompt=a red cat"))
    pipeline = opened[0].pipeline
    tokenizer, model = pipeline.text_cond_model["tokenizer"], pipeline.text_cond_model["model"]
    length = model.config.max_position_embeddings
    tokens = tokenizer(["a red cat"], max_length=length, padding="max_length", truncation=True, return_tensors="pt")
    with torch.no_grad():
        expected = model(input_ids=tokens["input_ids"]).last_hidden_state
    torch.testing.assert_close(pipeline.seen[0]["cond"], expected, atol=1e-6, rtol=0)


def test_a_batch_loads_it_once(settings, opened, tmp_path):
    plan = plan_batch(settings("system.prompt_processor.draw_seed=3"), 2, "spread")
    folder = tmp_path / "batch"
    folder.mkdir()
    plan.save(folder)
    opened.clear()
    Worker(folder).work_off()
    assert len(opened) == 1 and len(opened[0].pipeline.seen) == 2
    first, second = (one["cond"] for one in opened[0].pipeline.seen)
    assert not torch.equal(first, second)
    records = [Manifest.load(folder / run.name / "run.json") for run in plan.runs]
    assert [record.state for record in records] == ["done"] * 2
    from dreamdist3d.runs.engines import licences_of

    assert any(terms.part == "TRELLIS" for terms in licences_of(records[0]))


def test_threestudio_is_no_engine_of_batches(settings):
    with pytest.raises(UserError, match="choose native or trellis"):
        plan_batch(settings("system.engine=threestudio"), 2)


def test_weights_that_cannot_be_loaded_are_one_line(settings, tmp_path):
    with pytest.raises(UserError, match=r"nowhere cannot be loaded: .*pipeline\.json"):
        run_once(settings(f"system.trellis.model={tmp_path / 'nowhere'}"))


def test_its_runs_are_shown_and_packed_again(settings, opened):
    """`--test`, and `export RUN --preset`, from what was made: TRELLIS is not asked."""
    from dreamdist3d.runs.source import run_source

    trial = run_once(settings("tag=one"))
    (trial.save_folder / "front.png").unlink()
    run_once(settings("tag=one"), "test")
    assert (trial.save_folder / "front.png").is_file() and len(opened) == 1
    source = run_source(trial.folder)
    assert source.surface.is_watertight and source.origin["engine"] == "trellis" and source.licences
    trial.last_checkpoint.unlink()
    with pytest.raises(UserError, match="no trained field yet"):
        run_source(trial.folder)
    with pytest.raises(UserError, match="--export needs a run"):
        run_once(settings("tag=one"), "export")
