"""One run on a tiny backbone: everything in it is real, only small."""

import json
import os
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from dreamdist3d.backbones import load_backbone
from dreamdist3d.config import RunConfig, load_config
from dreamdist3d.errors import Stopped, UserError
from dreamdist3d.eval.assets import find_assets
from dreamdist3d.prompts import PromptComposition, PromptDistribution, SoftPromptEncoder
from dreamdist3d.roads import views
from dreamdist3d.roads.cut import Cutout
from dreamdist3d.runs import walk
from dreamdist3d.runs.manifest import Manifest
from dreamdist3d.runs.one import export_again, run_once
from dreamdist3d.runs.prepare import resolve_device
from dreamdist3d.runs.source import run_source
from dreamdist3d.runs.trial import Trial
from tests.backbones.tiny import write_sd_folder
from tests.prompts.tiny import WIDTH

ROOT = Path(__file__).parents[2]


pytestmark = pytest.mark.usefixtures("small_pictures")


@pytest.fixture(autouse=True)
def in_the_checkout(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)


@pytest.fixture
def config(tiny_run: list[str], tiny_distribution: Path, tmp_path: Path):
    """A function from more overrides to a configuration whose results go to a folder of the test."""

    def make(*overrides: str, base: str = "dreamdist3d/mini.yaml") -> RunConfig:
        prompt = f"system.prompt_processor.distribution={tiny_distribution}"
        return load_config(base, [*tiny_run, f"exp_root_dir={tmp_path}", prompt, *overrides])

    return make


class Seen:
    """Stands in for `lift_assets`: keeps what it was called with, and does what it is told to."""

    def __init__(self, error: BaseException | None = None) -> None:
        self.error, self.calls = error, []

    def __call__(self, road, backbone, assets):
        (asset,) = assets
        condition = asset.condition
        said = {"text": condition.text, "negative": condition.negative, "views": condition.text_views}
        self.calls.append(said | {"seed": asset.seed, "resume": asset.resume})
        checkpoint = asset.folder / "ckpts" / "last.ckpt"
        checkpoint.parent.mkdir(exist_ok=True)
        checkpoint.touch()
        if isinstance(self.error, Stopped):
            raise self.error
        return [self.error]


@pytest.fixture
def stub(monkeypatch: pytest.MonkeyPatch) -> Seen:
    """A lift of no time, and no views or mesh after it."""
    seen = Seen()
    monkeypatch.setattr(walk, "lift_assets", seen)
    monkeypatch.setattr(walk, "last_readable", lambda path: path if path.exists() else None)
    phases(monkeypatch)
    return seen


def phases(monkeypatch: pytest.MonkeyPatch, test=lambda *_: None) -> None:
    """Let what follows the lift be nothing, or `test`, and a mesh of four bytes."""

    def export(field, run) -> None:
        run.trial.mesh.parent.mkdir(exist_ok=True)
        run.trial.mesh.write_bytes(b"glTF")

    monkeypatch.setattr(walk, "_PHASES", (("test", test), ("export", export)))


@pytest.mark.parametrize("base", ["dreamdist3d/mini.yaml", "dreamdist3d/mvdream.yaml"])
def test_a_run_leaves_everything_behind(config, base: str, tiny_distribution: Path, tiny_backbone: Path) -> None:
    trial = run_once(config(base=base))
    record = json.loads(trial.manifest_path.read_text())
    assert record["state"] == "done" and record["error"] is None
    assert set(record["draw"]) == {"seed", "gamma", "covariance", "omega_sha256"}
    assert trial.folder.name == f"cats-{record['draw']['seed']}"
    distribution = PromptDistribution.load(tiny_distribution)
    origin = {"path": str(tiny_distribution), "sha256": distribution.content_hash}
    assert record["distribution"] == origin | {"learned_with": distribution.metadata.get("backbone")}
    assert record["backbone"]["sha256"] == distribution.encoder_fingerprint
    assert set(record["timings"]) == {"lift", "test", "export"} and record["versions"]["torch"]
    assert trial.mesh.read_bytes()[:4] == b"glTF" and trial.last_checkpoint.is_file()
    assert len(list(trial.save_folder.glob("*.png"))) == 4 and list((trial.folder / "tb_logs").iterdir())
    parsed = load_config(str(trial.parsed_config))
    assert parsed.system.prompt_processor.draw_seed == record["draw"]["seed"] and parsed.tag == trial.folder.name


def test_test_and_export_repeat_the_last_steps_with_the_same_draw(config) -> None:
    trial = run_once(config("tag=one"))
    before = Manifest.load(trial.manifest_path)
    mesh = trial.mesh.read_bytes()
    for path in (trial.mesh, *trial.save_folder.iterdir()):
        path.unlink()
    run_once(config("tag=one"), "test")
    assert len(list(trial.save_folder.glob("*.png"))) == 4 and not trial.mesh.exists()
    assert export_again(trial.folder).mesh.read_bytes() == mesh
    after = Manifest.load(trial.manifest_path)
    assert after.draw == before.draw and after.state == "done"
    assert after.timings["export"] > before.timings["export"]


def test_the_guidance_gets_the_draw_that_run_json_tells(
    config, stub: Seen, tiny_backbone: Path, tiny_distribution: Path
) -> None:
    trial = run_once(config("system.prompt_processor.gamma=2", "system.prompt_processor.suffix= at night"))
    draw = Manifest.load(trial.manifest_path).draw
    backbone = load_backbone(str(tiny_backbone))
    encoder = SoftPromptEncoder(backbone.tokenizer, backbone.text_encoder)
    distribution = PromptDistribution.load(tiny_distribution)
    expected = distribution.draw(draw["seed"], 2.0).embed(distribution.moments(encoder, suffix=" at night"))
    torch.testing.assert_close(stub.calls[0]["text"], expected, rtol=0, atol=0)
    torch.testing.assert_close(stub.calls[0]["negative"], encoder.encode_text([""]).hidden[0])


def test_a_backbone_of_one_view_is_asked_by_direction(config, stub: Seen, tmp_path: Path) -> None:
    """One omega under four directions' words; a backbone that sees cameras needs none."""
    folder = write_sd_folder(tmp_path / "sd")
    backbone = load_backbone(str(folder))
    encoder = SoftPromptEncoder(backbone.tokenizer, backbone.text_encoder)
    tokens = torch.randn(3, 2, WIDTH, generator=torch.Generator().manual_seed(1))
    learned = PromptDistribution(tokens, "low_rank", backbone.fingerprint)
    learned.save(tmp_path / "d.safetensors")
    drawn = f"system.prompt_processor.distribution={tmp_path / 'd.safetensors'}"
    run_once(config(drawn, "system.prompt_processor.draw_seed=5", f"system.backbone={folder}"))
    plain = ["system.prompt_processor.distribution=null", "system.prompt_processor.prompt=a red cat"]
    run_once(config(*plain, f"system.backbone={folder}"))
    run_once(config(*plain, "tag=joint"))
    words = [f", {name} view" for name in ("side", "front", "back", "overhead")]
    expected = torch.stack([learned.embed(learned.draw(5, suffix=word), encoder) for word in words])
    torch.testing.assert_close(stub.calls[0]["views"], expected)
    torch.testing.assert_close(
        stub.calls[1]["views"], encoder.encode_text([f"a red cat{word}" for word in words]).hidden
    )
    assert stub.calls[2]["views"] is None


def test_several_distributions_are_composed_and_the_run_recalls_them(
    config, stub: Seen, tiny_backbone: Path, tiny_distribution: Path, tmp_path: Path
) -> None:
    other = PromptDistribution.load(tiny_distribution)
    replace(other, tokens=other.tokens.flip(0) * 2).save(tmp_path / "dogs.safetensors")
    files = [str(tiny_distribution), str(tmp_path / "dogs.safetensors")]
    processor = "system.prompt_processor."
    overrides = [f"{processor}distribution=[{','.join(files)}]", f"{processor}weights=[0.25,0.75]"]
    trial = run_once(config(*overrides, f"{processor}draw_seed=5", f"{processor}antithetic=true"))
    assert trial.folder.name == "cats-dogs-5-twin"
    manifest = Manifest.load(trial.manifest_path)
    assert manifest.distribution["path"] == files and manifest.draw["antithetic"]
    backbone = load_backbone(str(tiny_backbone))
    encoder = SoftPromptEncoder(backbone.tokenizer, backbone.text_encoder)
    both = PromptComposition(tuple(PromptDistribution.load(name) for name in files), (0.25, 0.75))
    expected = both.embed(both.draw(5, antithetic=True), encoder)
    torch.testing.assert_close(stub.calls[0]["text"], expected, rtol=0, atol=0)
    # Resumed with nothing said about the prompt, it is the same draw of the same files.
    manifest.state = "stopped"
    manifest.save(trial.manifest_path)
    trial.last_checkpoint.parent.mkdir(exist_ok=True)
    trial.last_checkpoint.touch()
    run_once(config(f"{processor}distribution=null", f"resume={trial.last_checkpoint}"))
    assert torch.equal(stub.calls[1]["text"], stub.calls[0]["text"])


def test_a_stopped_run_goes_on_with_its_draw(config, stub: Seen) -> None:
    stub.error = Stopped("stopped at step 2")
    with pytest.raises(Stopped):
        run_once(config("tag=one"))
    trial = Trial(Path(config().exp_root_dir) / "mini" / "one")
    stopped = Manifest.load(trial.manifest_path)
    assert (stopped.state, stopped.error) == ("stopped", "stopped at step 2")
    stub.error = None
    run_once(config("tag=one"))
    assert stub.calls[0]["resume"] is None and stub.calls[1]["resume"] == trial.last_checkpoint
    assert torch.equal(stub.calls[0]["text"], stub.calls[1]["text"])
    done = Manifest.load(trial.manifest_path)
    assert done.state == "done" and done.draw == stopped.draw


def test_resume_goes_on_in_the_checkpoints_own_folder(config, stub: Seen) -> None:
    stub.error = UserError("the loss is not finite at step 2")
    with pytest.raises(UserError):
        run_once(config())
    (trial,) = (Trial(path.parent) for path in Path(config().exp_root_dir).glob("mini/*/run.json"))
    failed = Manifest.load(trial.manifest_path)
    assert (failed.state, failed.error) == ("failed", "the loss is not finite at step 2")
    stub.error = None
    assert run_once(config(f"resume={trial.last_checkpoint}")) == trial
    assert torch.equal(stub.calls[0]["text"], stub.calls[1]["text"])
    assert Manifest.load(trial.manifest_path).draw == failed.draw


def test_a_run_keeps_its_lift(config, stub: Seen) -> None:
    stub.error = Stopped("stopped")
    with pytest.raises(Stopped):
        run_once(config("tag=one"))
    others = ["system.lift.kind=views", "system.lift.views.level_start=[0,0]"]
    with pytest.raises(UserError, match=r"begun with system\.lift\.kind=distill, not views; put it back"):
        run_once(config("tag=one", *others))
    path = Path(config().exp_root_dir) / "mini/one/run.json"
    record = json.loads(path.read_text())
    del record["config"]["system"]["lift"], record["lift"]  # as earlier versions wrote it
    path.write_text(json.dumps(record))
    with pytest.raises(Stopped):
        run_once(config("tag=one"))


def test_a_run_by_views_keeps_what_was_drawn_and_says_how_it_was_cut(config, monkeypatch: pytest.MonkeyPatch) -> None:
    """A random model draws nothing that could be cut: a disc is."""
    place = (torch.arange(16) + 0.5) / 8 - 1
    disc = (place[:, None].square() + place[None].square() < 0.4).float()

    def cut(pictures, kind):
        return Cutout(pictures, disc.expand(len(pictures), -1, -1), {"plain": len(pictures)})

    monkeypatch.setattr(views, "cut_out", cut)
    key = "system.lift.views"
    small = [f"{key}.{word}" for word in ("steps=40", "rays=64", "count=4", "sampling_steps=2", "rounds=1", "pool=8")]
    asked = config("tag=one", "system.lift.kind=views", f"{key}.level_start=[0,0]", *small)
    trial = run_once(asked)
    record = Manifest.load(trial.manifest_path)
    assert record.state == "done" and record.max_steps == record.step == 40
    assert record.lift == {"cut": {"plain": 4}, "cut_in_rounds": {"plain": 4}}
    sample = trial.save_folder / "sample_front.png"
    assert "save/sample_front.png" in record.files and find_assets(trial.folder).assets[0].own_views[0] == sample
    drawn = sample.read_bytes()
    sample.unlink()
    run_once(asked)  # from the checkpoint's own views
    assert sample.read_bytes() == drawn and trial.lacks(Manifest.load(trial.manifest_path)) is None


def test_a_done_run_is_left_alone(config, stub: Seen) -> None:
    trial = run_once(config("tag=one"))
    before = trial.manifest_path.read_bytes()
    assert run_once(config("tag=one")) == trial
    assert len(stub.calls) == 1 and trial.manifest_path.read_bytes() == before


@pytest.mark.parametrize("spoil", [Path.unlink, lambda path: path.write_bytes(b"gl")])
def test_a_done_run_that_lacks_a_file_is_made_whole_from_its_checkpoint(config, stub: Seen, spoil) -> None:
    trial = run_once(config("tag=one"))
    assert Manifest.load(trial.manifest_path).files == {"export/model.glb": 4}
    spoil(trial.mesh)
    run_once(config("tag=one"))
    assert stub.calls[1]["resume"] == trial.last_checkpoint and trial.mesh.read_bytes() == b"glTF"
    assert trial.lacks(Manifest.load(trial.manifest_path)) is None
    old = replace(Manifest.load(trial.manifest_path), files={})  # as earlier versions wrote it
    assert trial.lacks(old) is None
    trial.mesh.unlink()
    assert trial.lacks(old) == "export/model.glb"


def test_a_stop_between_two_phases_is_recorded(config, stub: Seen, monkeypatch: pytest.MonkeyPatch) -> None:
    phases(monkeypatch, lambda *_: os.kill(os.getpid(), 15))
    with pytest.raises(Stopped, match="before export"):
        run_once(config("tag=one"))
    assert Manifest.load(Path(config().exp_root_dir) / "mini/one/run.json").state == "stopped"


def test_another_distribution_in_the_same_folder_is_an_error(config, stub: Seen, tmp_path: Path) -> None:
    first = config("tag=one")
    run_once(first)
    other = PromptDistribution.load(Path(first.system.prompt_processor.distribution))
    path = tmp_path / "dogs.safetensors"
    PromptDistribution(other.tokens + 1, other.covariance, other.encoder_fingerprint).save(path)
    with pytest.raises(UserError, match="begun with another distribution"):
        run_once(config("tag=one", f"system.prompt_processor.distribution={path}"))


def test_a_draw_that_comes_out_otherwise_is_an_error(config, stub: Seen) -> None:
    stub.error = Stopped("stopped")
    with pytest.raises(Stopped):
        run_once(config("tag=one"))
    path = Path(config().exp_root_dir) / "mini/one/run.json"
    record = json.loads(path.read_text())
    record["draw"]["omega_sha256"] = "0" * 64
    path.write_text(json.dumps(record))
    with pytest.raises(UserError, match="omega_sha256"):
        run_once(config("tag=one"))


def test_a_distribution_of_another_encoder_is_refused_before_any_folder_is_made(
    config, stub: Seen, tmp_path: Path
) -> None:
    mine = PromptDistribution.load(Path(config().system.prompt_processor.distribution))
    path = tmp_path / "foreign.safetensors"
    PromptDistribution(mine.tokens, mine.covariance, "0" * 64).save(path)
    with pytest.raises(UserError, match="another text encoder"):
        run_once(config(f"system.prompt_processor.distribution={path}"))
    assert not (tmp_path / "mini").exists() and not stub.calls


def test_another_unet_under_the_same_text_encoder_is_another_backbone(
    config, stub: Seen, tiny_backbone: Path, tmp_path: Path
) -> None:
    folder = shutil.copytree(tiny_backbone, tmp_path / "backbone")
    stub.error = Stopped("stopped")
    with pytest.raises(Stopped):
        run_once(config("tag=one", f"system.backbone={folder}"))
    weights = folder / "unet" / "diffusion_pytorch_model.safetensors"
    zeroed = {name: torch.zeros_like(value) for name, value in load_file(weights).items()}
    save_file(zeroed, weights, metadata={"format": "pt"})
    with pytest.raises(UserError, match="begun with another backbone"):
        run_once(config("tag=one", f"system.backbone={folder}"))
    record = json.loads((tmp_path / "mini" / "one" / "run.json").read_text())
    del record["backbone"]["weights_sha256"]  # as earlier versions wrote it
    (tmp_path / "mini" / "one" / "run.json").write_text(json.dumps(record))
    with pytest.raises(Stopped):
        run_once(config("tag=one", f"system.backbone={folder}"))


def test_a_run_begun_by_an_earlier_version_goes_on(config, stub: Seen, tiny_backbone: Path, tmp_path: Path) -> None:
    stub.error = Stopped("stopped")
    with pytest.raises(Stopped):
        run_once(config("tag=one"))
    path, backbone = tmp_path / "mini" / "one" / "run.json", load_backbone(str(tiny_backbone))
    record = json.loads(path.read_text())
    record["backbone"] = {"name": "tiny", "source": "there", "sha256": backbone.earlier_fingerprint}
    path.write_text(json.dumps(record))
    with pytest.raises(Stopped):
        run_once(config("tag=one"))


def test_another_runs_checkpoint_is_refused(config) -> None:
    one, other = (run_once(config(f"tag={seed}", f"system.prompt_processor.draw_seed={seed}")) for seed in (1, 2))
    other.last_checkpoint.write_bytes(one.last_checkpoint.read_bytes())
    for again in (
        lambda: run_once(config(f"resume={other.last_checkpoint}"), "test"),
        lambda: run_source(other.folder),
    ):
        with pytest.raises(UserError, match=r"last\.ckpt is of another asset: another draw\."):
            again()
    manifest = other.manifest()
    manifest.state = "stopped"
    manifest.save(other.manifest_path)
    with pytest.raises(UserError, match=r"another draw\. Put this one's own back, or delete it"):
        run_once(config("tag=2", "system.prompt_processor.draw_seed=2"))


def test_plain_texts_that_differ_by_their_seed_do_not_share_checkpoints(
    config, monkeypatch: pytest.MonkeyPatch
) -> None:
    phases(monkeypatch)
    text = ["system.prompt_processor.distribution=null", "system.prompt_processor.prompt=a", "trainer.max_steps=1"]
    one, two = (run_once(config(*text, f"seed={seed}")) for seed in (1, 2))
    shutil.copy(two.last_checkpoint, one.last_checkpoint)
    one.mesh.unlink()  # so that there is something to do
    with pytest.raises(UserError, match=r"last\.ckpt is of another asset: another seed\."):
        run_once(config(*text, "seed=1"))


def test_a_resumed_run_keeps_its_seed_in_the_record(config, stub: Seen) -> None:
    stub.error = Stopped("stopped")
    with pytest.raises(Stopped):
        run_once(config("tag=one", "seed=4"))
    stub.error = None
    trial = run_once(config("tag=one"))
    assert [call["seed"] for call in stub.calls] == [4, 4] and Manifest.load(trial.manifest_path).config["seed"] == 4


def test_a_plain_text_runs_without_a_draw(config, stub: Seen, tiny_backbone: Path) -> None:
    trial = run_once(
        config("system.prompt_processor.distribution=null", "system.prompt_processor.prompt=a red cat", "seed=4")
    )
    record = Manifest.load(trial.manifest_path)
    assert record.draw is None and record.distribution is None and trial.folder.name == "a-red-cat-4"
    backbone = load_backbone(str(tiny_backbone))
    expected = SoftPromptEncoder(backbone.tokenizer, backbone.text_encoder).encode_text(["a red cat"]).hidden[0]
    torch.testing.assert_close(stub.calls[0]["text"], expected)
    assert stub.calls[0]["seed"] == 4


@pytest.mark.parametrize("mode", ["test", "export"])
def test_the_last_steps_need_a_trained_run(config, mode: str) -> None:
    with pytest.raises(UserError, match=rf"--{mode} needs a trained run"):
        run_once(config("tag=nothing"), mode)


def test_bad_mesh_settings_show_before_the_lift(config, stub: Seen) -> None:
    with pytest.raises(UserError, match="resolution"):
        run_once(config("export.resolution=2"))
    assert not stub.calls


def test_devices(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert (resolve_device("auto"), resolve_device("cpu")) == ("cpu", "cpu")
    with pytest.raises(UserError, match=r"no CUDA.*dreamdist3d/mini\.yaml"):
        resolve_device("cuda")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert (resolve_device("auto"), resolve_device("cuda")) == ("cuda", "cuda")
