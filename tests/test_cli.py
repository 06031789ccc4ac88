"""The commands, as a user meets them: results, one-line errors, exit codes."""

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import fields
from pathlib import Path
from types import SimpleNamespace
from typing import get_args, get_type_hints

import pytest

from dreamdist3d.cli import launch_main, main
from dreamdist3d.runs.manifest import Manifest
from tests.forked import Forked
from tests.prompts.tiny import write_pictures

ROOT = Path(__file__).parents[1]
MINI, MVDREAM = "dreamdist3d/mini.yaml", "dreamdist3d/mvdream.yaml"


_ROAD = ["learn", "sample", "mix", "inspect", "convert", "launch", "batch", "status", "export", "evaluate", "demo"]
_GROUPS = ["baseline", "dataset", "doctor", "backbones", "backbones list", "backbones convert", "mini", "mini train",
           "mini references", "threestudio", "threestudio install", "threestudio uninstall"]  # fmt: skip
COMMANDS = _ROAD + _GROUPS


@pytest.fixture(autouse=True)
def in_the_checkout(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)


@pytest.fixture
def no_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)


@pytest.fixture
def failure(capsys: pytest.CaptureFixture[str]):
    """A function that runs a command which must fail, and returns its one line."""

    def run(command, *args: str) -> str:
        capsys.readouterr()
        assert command(list(args)) == 2
        errors = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]
        assert len(errors) == 1
        return errors[0]

    return run


@pytest.mark.parametrize("arguments", [["-m", "dreamdist3d", "--help"], ["launch.py", "--help"]])
def test_help_imports_no_torch(arguments: list[str]) -> None:
    result = subprocess.run(
        [sys.executable, "-X", "importtime", *arguments], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert "usage: dreamdist3d" in result.stdout
    imported = {line.rpartition("|")[2].strip() for line in result.stderr.splitlines() if line.startswith("import")}
    assert "dreamdist3d.cli" in imported and "tyro" in imported
    assert not imported & {"torch", "numpy", "diffusers", "transformers", "trimesh"}


def test_every_command_has_help(capsys: pytest.CaptureFixture[str]) -> None:
    for command in COMMANDS:
        with pytest.raises(SystemExit) as ended:
            main([*command.split(), "--help"])
        out = capsys.readouterr().out
        assert ended.value.code == 0 and f"usage: dreamdist3d {command}" in out
        assert "None" not in out and "(default: )" not in out, command


def test_the_commands_offer_the_settings_of_the_library() -> None:
    from dreamdist3d.cli.distributions import LearnSettings
    from dreamdist3d.cli.miniature import RecipeSettings
    from dreamdist3d.mini.recipe import Recipe
    from dreamdist3d.prompts import LearnConfig

    assert {f.name for f in fields(LearnSettings)} == {f.name for f in fields(LearnConfig)}
    assert {f.name for f in fields(RecipeSettings)} <= {f.name for f in fields(Recipe)}


def shown_defaults(options: type) -> dict[str, str]:
    """The values that the help shows for what may be left out."""
    annotations = get_type_hints(options, include_extras=True)
    found = {name: vars(a.__metadata__[0])["help_behavior_hint"] for name, a in annotations.items() if get_args(a)}
    return {name: hint.removeprefix("(default: ").removesuffix(")") for name, hint in found.items() if hint}


def test_the_help_shows_the_values_that_will_be_used() -> None:
    from dreamdist3d.cli.distributions import LearnSettings
    from dreamdist3d.cli.miniature import RecipeSettings
    from dreamdist3d.cli.road import PackageOptions
    from dreamdist3d.mesh.package import PackageSettings
    from dreamdist3d.mini.recipe import Recipe
    from dreamdist3d.prompts import preset_for

    full, small = (vars(preset_for(SimpleNamespace(image_size=size))) for size in (512, 64))
    for name, hint in shown_defaults(LearnSettings).items():
        both = f"{full[name]}" if full[name] == small[name] else f"{full[name]}; mini: {small[name]}"
        assert hint == {"": "none", "None": "every timestep weighs the same"}.get(both, both), name
    package, packed = PackageSettings("web"), shown_defaults(PackageOptions)
    assert {name: packed[name] for name in ("triangles", "lods", "hulls", "renderer")} == {
        name: str(getattr(package, name)) for name in ("triangles", "lods", "hulls", "renderer")
    }
    assert (packed["texture_size"], float(packed["hull_seconds"])) == (str(package.texture.size), package.hull_seconds)
    recipe = shown_defaults(RecipeSettings)
    assert recipe.pop("workers") == "one a core"
    assert recipe == {name: str(getattr(Recipe(), name)) for name in recipe}


def test_batch_and_launch_name_what_they_share_alike(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    shared = []
    for command in ("launch", "batch"):
        with pytest.raises(SystemExit):
            main([command, "--help"])
        out = capsys.readouterr().out
        lines = [" ".join(line.split()) for line in out.splitlines()]
        told = ("a YAML file", "less GPU memory", "for any key")
        shared.append([line[line.index(words) :] for line in lines for words in told if words in line])
    assert len(shared[0]) == 3 and shared[0] == shared[1]


def test_package_exports_are_found_when_touched() -> None:
    import dreamdist3d
    from dreamdist3d.backbones import load_backbone
    from dreamdist3d.prompts import PromptDistribution

    assert dreamdist3d.PromptDistribution is PromptDistribution and dreamdist3d.load_backbone is load_backbone
    with pytest.raises(AttributeError, match="nonsense"):
        _ = dreamdist3d.nonsense


@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        (["--config", "dreamdist3d/mimi.yaml"], ["no configuration dreamdist3d/mimi.yaml"]),
        (["--config", MINI, "trainer.max_step=3"], ["trainer.max_step is not", "Did you mean trainer.max_steps?"]),
        (["--config", MINI, "trainer.max_steps=x"], ["trainer.max_steps wants a whole number", "'x' (str)"]),
        (["--config", MINI, "--export"], ["--export needs a trained run"]),
        (["--config", MINI], ["system.prompt_processor.distribution=", "system.prompt_processor.prompt="]),
        (["--config", MINI, "system.prompt_processor.distribution=no.safetensors"], ["no.safetensors", "not exist"]),
        (["--config", MINI, "resume=no.ckpt"], ["resume=no.ckpt is no checkpoint"]),
    ],
)
def test_a_bad_launch_is_one_line(arguments: list[str], parts: list[str], failure) -> None:
    line = failure(launch_main, *arguments)
    assert all(part in line for part in parts)


def test_full_size_without_a_gpu_names_the_miniature(failure, no_gpu: None) -> None:
    line = failure(launch_main, "--config", MVDREAM)
    assert "no CUDA GPU" in line and "dreamdist3d/mini.yaml" in line


def test_full_size_without_weights_names_the_miniature(
    failure, no_gpu: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    line = failure(launch_main, "--config", MVDREAM, "system.device=cpu", "system.prompt_processor.prompt=a cat")
    assert "'mvdream'" in line and "local folder" in line and "dreamdist3d/mini.yaml" in line


@pytest.mark.slow
def test_full_size_without_a_gpu_in_a_process_of_its_own() -> None:
    result = subprocess.run(
        [sys.executable, "launch.py", "--config", MVDREAM],
        cwd=ROOT,
        env={**os.environ, "CUDA_VISIBLE_DEVICES": ""},
        capture_output=True,
        text=True,
    )
    assert result.returncode == 2 and result.stdout == ""
    assert result.stderr.startswith("error: system.device is cuda") and result.stderr.count("\n") == 1


def test_an_output_folder_that_cannot_be_written_is_one_line(
    failure, tiny_run: list[str], tiny_distribution: Path, tmp_path: Path
) -> None:
    # A file in the way: it stops root as well, whom permissions do not.
    (tmp_path / "taken").touch()
    prompt = f"system.prompt_processor.distribution={tiny_distribution}"
    line = failure(launch_main, "--config", MINI, *tiny_run, prompt, f"exp_root_dir={tmp_path / 'taken'}")
    assert f"cannot write in {tmp_path / 'taken'}" in line


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="permissions do not bind root")
def test_an_output_folder_without_permission_is_one_line(
    failure, tiny_run: list[str], tiny_distribution: Path, tmp_path: Path
) -> None:
    (tmp_path / "closed").mkdir(mode=0o500)
    prompt = f"system.prompt_processor.distribution={tiny_distribution}"
    line = failure(launch_main, "--config", MINI, *tiny_run, prompt, f"exp_root_dir={tmp_path / 'closed'}")
    assert "Permission denied" in line


def test_learn_names_the_pictures_it_skips(
    tiny_backbone: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pictures, out = write_pictures(tmp_path / "pictures", 3), tmp_path / "cats.safetensors"
    (pictures / "broken.png").write_bytes(b"no picture")
    options = [
        "--backbone",
        str(tiny_backbone),
        "--out",
        str(out),
        "--device",
        "cpu",
        "--prompts",
        "2",
        "--steps",
        "2",
        "--low-vram",
    ]
    assert main(["learn", str(pictures), *options, "--covariance", "diagonal", "--prefix", "a photo of"]) == 0
    captured = capsys.readouterr()
    assert captured.out == f"{out}\n" and f"skipped {pictures / 'broken.png'}: " in captured.err
    from dreamdist3d.prompts import PromptDistribution

    learned = PromptDistribution.load(out)
    assert (learned.tokens.shape[0], learned.covariance, learned.prefix) == (2, "diagonal", "a photo of")
    assert learned.metadata["objective"] == "paper" and learned.metadata["health_gamma"] == "1.0"
    assert "gamma 1, one noise: spread 0." in captured.err


def test_learn_without_pictures_is_one_line(failure, tiny_backbone: Path, tmp_path: Path) -> None:
    line = failure(main, "learn", str(tmp_path / "none"), "--backbone", str(tiny_backbone), "--out", "x.safetensors")
    assert str(tmp_path / "none") in line


@pytest.fixture
def of_tiny(tiny_backbone: Path) -> list[str]:
    """Options of the commands about distributions."""
    return ["--backbone", str(tiny_backbone), "--device", "cpu"]


def test_sample_writes_a_picture_and_names_its_draws(
    tiny_distribution: Path, of_tiny: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "new" / "grid.png"
    words = ["--prefix", "a photo of", "--suffix", "at night", "--scale", "1.5", "--steps", "2", "--batch", "spread"]
    assert main(["sample", str(tiny_distribution), "-n", "3", "--out", str(out), *words, *of_tiny]) == 0
    assert capsys.readouterr().out == f"{out}\n" and out.stat().st_size > 0
    draws = json.loads(out.with_suffix(".json").read_text())["draws"]
    assert len(draws) == 3 and all((d["gamma"], d["suffix"]) == (1.5, "at night") for d in draws)


def test_pictures_go_out_and_meshes_come_back_with_their_draws(
    tiny_distribution: Path, of_tiny: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str], failure
) -> None:
    """A tool that makes a box of every picture but one, and calls it after the picture."""
    import trimesh

    out, made, report = tmp_path / "pictures", tmp_path / "made", tmp_path / "report"
    words = ["--steps", "1", "--scale", "1.5", "--seed", "40"]
    assert main(["sample", str(tiny_distribution), "-n", "3", "--cutout", "--out", str(out), *words, *of_tiny]) == 0
    assert capsys.readouterr().out == f"{out}\n"
    names = [f"00{i}-{tiny_distribution.stem}-4{i}" for i in range(3)]
    assert sorted(path.stem for path in out.glob("*.png")) == names
    for number, name in enumerate(names[:2]):
        (made / name).mkdir(parents=True)
        trimesh.creation.box(extents=(1, 1 + number, 1)).export(made / name / "textured.glb")
    (made / "notes.glb").write_bytes(b"")
    evaluate = ["evaluate", str(made), "--pictures", str(out), "--out", str(report)]
    assert main(evaluate) == 0
    assert "skipped" in (told := capsys.readouterr().err) and "notes.glb" in told
    assets = json.loads((report / "report.json").read_text())["sets"][0]["assets"]
    assert [(a["name"], a["draw"]["seed"], a["draw"]["gamma"]) for a in assets] == [
        (names[0], 40, 1.5),
        (names[1], 41, 1.5),
    ]
    small = ["--lods", "1", "--hulls", "0", "--texture-size", "64", "--preset", "web"]
    assert main(["export", str(made), "--pictures", str(out), "--out", str(tmp_path / "assets"), *small]) == 0
    record = json.loads((tmp_path / "assets" / names[1] / "asset.json").read_text())
    source = record["source"]
    assert record["name"] == source["picture"] == names[1] and source["draw"]["seed"] == 41
    roles = [terms["role"] for terms in record["licences"]]
    assert roles == ["is the asset", "made the picture", "learned the prompts"][: len(roles)] and len(roles) >= 2
    assert source["backbone"]["licence"] and (tmp_path / "assets" / names[1] / f"{names[1]}.glb").is_file()
    assert "--pictures needs --preset" in failure(main, "export", str(made), "--pictures", str(out))
    assert "no mesh in" in failure(main, "evaluate", str(out), "--pictures", str(out), "--out", str(report))
    assert "must name a folder" in failure(
        main, "sample", str(tiny_distribution), "--cutout", "--out", str(tmp_path / "a.png"), *of_tiny
    )


def test_mix_makes_a_file_that_can_be_sampled(
    tiny_distribution: Path, of_tiny: list[str], tmp_path: Path, failure
) -> None:
    both, files = tmp_path / "both.safetensors", [str(tiny_distribution)] * 2
    assert main(["mix", *files, "--weights", "0.3", "0.7", "--gammas", "1", "2", "--out", str(both)]) == 0
    from dreamdist3d.prompts import load_distribution

    assert load_distribution(both).weights == (0.3, 0.7) and load_distribution(both).gammas == (1.0, 2.0)
    assert main(["sample", str(both), "-n", "1", "--steps", "1", "--out", str(tmp_path / "g.png"), *of_tiny]) == 0
    assert "sum to 1.2" in failure(main, "mix", *files, "--weights", "0.5", "0.7", "--out", str(both))
    assert "both.safetensors is a dreamdist3d-composition-1" in failure(main, "inspect", str(both), *of_tiny)


def test_inspect_shows_words_and_writes_plots(
    tiny_distribution: Path, of_tiny: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "plots.png"
    assert main(["inspect", str(tiny_distribution), "--out", str(out), *of_tiny]) == 0
    printed = capsys.readouterr()
    assert "Nearest words" in printed.out and printed.out.endswith(f"{out}\n") and out.stat().st_size > 0


def test_inspect_compares_draws_with_references(
    tiny_distribution: Path, of_tiny: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from tests.prompts.tiny import write_pictures

    pictures = write_pictures(tmp_path / "pictures", 4)
    words = ["--references", str(pictures), "--scale", "0", "--out", str(tmp_path / "plots.png")]
    assert main(["inspect", str(tiny_distribution), *words, *of_tiny]) == 0
    assert "warning: draws at gamma 0 differ 0.00 times" in capsys.readouterr().err


def test_convert_goes_to_the_official_layout_and_back(
    tiny_distribution: Path, tiny_backbone: Path, tmp_path: Path, failure
) -> None:
    official, back = tmp_path / "official.pt", tmp_path / "back.safetensors"
    assert main(["convert", str(tiny_distribution), str(official)]) == 0
    assert "--backbone" in failure(main, "convert", str(official), str(back))
    assert main(["convert", str(official), str(back), "--backbone", str(tiny_backbone)]) == 0
    import torch

    from dreamdist3d.prompts import PromptDistribution

    assert torch.equal(*(PromptDistribution.load(path).tokens for path in (tiny_distribution, back)))


def test_a_distribution_of_another_encoder_is_one_line(failure, tiny_distribution: Path, tmp_path: Path) -> None:
    out = str(tmp_path / "grid.png")
    line = failure(main, "sample", str(tiny_distribution), "--out", out, "--backbone", "mini", "--device", "cpu")
    assert "another text encoder" in line and not (tmp_path / "grid.png").exists()


def test_export_of_no_run_is_one_line(failure, tmp_path: Path) -> None:
    assert "there is no run.json in it" in failure(main, "export", str(tmp_path))


@pytest.mark.parametrize(
    ("args", "words"),
    [
        ([], "nothing to export"),
        (["mesh.glb", "--height", "2"], "--height needs --preset"),
        (["mesh.glb", "--preset", "unity", "--texture-size", "100"], "a power of two"),
        (["gone.glb", "--preset", "web"], "gone.glb does not exist"),
    ],
)
def test_export_of_nothing_usable_is_one_line(failure, tmp_path: Path, args: list[str], words: str) -> None:
    assert words in failure(main, "export", *args, "--out", str(tmp_path))


def test_evaluate_of_nothing_is_one_line(failure, tmp_path: Path) -> None:
    pytest.importorskip("dreamdist3d.eval")
    assert str(tmp_path) in failure(main, "evaluate", str(tmp_path), "--out", str(tmp_path / "report"))


def test_options_that_exclude_each_other(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        launch_main(["--config", MINI, "--test", "--export"])
    assert ended.value.code == 2


def test_bugs_are_not_dressed_up_as_errors(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dreamdist3d.config.load_config", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        launch_main(["--config", MINI])


def test_interrupted_before_the_work_is_130(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("dreamdist3d.config.load_config", interrupt)
    assert launch_main(["--config", MINI]) == 130


@pytest.mark.usefixtures("small_pictures")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_launch_that_is_stopped_goes_on_with_its_draw(
    number: int, tiny_run: list[str], tiny_distribution: Path, tmp_path: Path
) -> None:
    arguments = ["--config", MINI, *tiny_run, "tag=one", f"exp_root_dir={tmp_path}", "trainer.checkpoint_every=1"]
    arguments.append(f"system.prompt_processor.distribution={tiny_distribution}")
    trial = tmp_path / "mini" / "one"
    process = Forked(lambda: launch_main([*arguments, "trainer.max_steps=1000000"]), tmp_path / "out", tmp_path / "err")
    _wait_for(trial / "ckpts" / "last.ckpt", process)
    process.send_signal(number)
    _, errors = process.communicate(timeout=300)
    assert process.returncode == 130 and errors.splitlines()[-1].startswith("error: stopped at step")
    stopped = Manifest.load(trial / "run.json")
    assert stopped.state == "stopped"
    assert launch_main([*arguments, "trainer.max_steps=1"]) == 0
    done = Manifest.load(trial / "run.json")
    assert done.state == "done" and done.draw == stopped.draw and (trial / "export" / "model.glb").is_file()


def _wait_for(path: Path, process: Forked) -> None:
    deadline = time.monotonic() + 300
    while not path.exists():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.05)


@pytest.mark.parametrize("key", ["exp_root_dir", "resume"])
def test_what_the_machine_refuses_is_one_short_line(key: str, failure) -> None:
    line = failure(launch_main, "--config", MINI, "system.prompt_processor.prompt=a", f"{key}={'x' * 5000}")
    assert "File name too long" in line and len(line) < 600


@pytest.mark.parametrize("error", [MemoryError(), RuntimeError("CUDA error: can't allocate memory")])
def test_lack_of_memory_is_one_line(error: Exception, failure, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise error

    monkeypatch.setattr("dreamdist3d.runs.one.run_once", fail)
    assert "out of memory" in failure(launch_main, "--config", MINI, "system.prompt_processor.prompt=a")


def test_a_bug_still_shows_where_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise IndexError

    monkeypatch.setattr("dreamdist3d.runs.one.run_once", fail)
    with pytest.raises(IndexError):
        launch_main(["--config", MINI, "system.prompt_processor.prompt=a"])
