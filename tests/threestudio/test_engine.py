"""`--engine threestudio`: what threestudio is told, with a stand-in for its launch.py."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from dreamdist3d.cli import launch_main
from dreamdist3d.threestudio.draws import RECORD
from dreamdist3d.threestudio.install import install

MVDREAM = "dreamdist3d/mvdream.yaml"
_LAUNCH = """
import pathlib, sys, yaml
config, mode = yaml.safe_load(open(sys.argv[2])), sys.argv[3]
told = pathlib.Path("told.jsonl")
told.open("a").write(__import__("json").dumps([sys.argv[1], mode, config]) + "\\n")
trial = pathlib.Path(config["exp_root_dir"]) / config["name"] / (config["tag"] + config["timestamp"])
(trial / "ckpts").mkdir(parents=True, exist_ok=True)
(trial / "configs").mkdir(exist_ok=True)
(trial / "ckpts" / "last.ckpt").touch()
(trial / "configs" / "parsed.yaml").write_text(yaml.safe_dump(config))
sys.exit(3 if config["seed"] == 13 else 0)
"""


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A checkout whose launch.py writes down what it is told; the current folder is another."""
    home = tmp_path / "ts"
    for name in ("threestudio", "custom"):
        (home / name).mkdir(parents=True)
    (home / "threestudio" / "__init__.py").touch()
    (home / "launch.py").write_text(_LAUNCH)
    install(home)
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    monkeypatch.setenv("THREESTUDIO_HOME", str(home))
    return home


def told(home: Path) -> list[tuple[str, str, dict]]:
    return [json.loads(line) for line in (home / "told.jsonl").read_text().splitlines()]


def launched(capsys: pytest.CaptureFixture[str], *arguments: str) -> Path:
    """Launch, and read the printed folder."""
    assert launch_main(["--config", MVDREAM, "--engine", "threestudio", *arguments]) == 0
    return Path(capsys.readouterr().out.splitlines()[-1])


def refused(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    assert launch_main(["--config", MVDREAM, "--engine", "threestudio", *arguments]) == 2
    return capsys.readouterr().err


def test_it_trains_and_exports_into_the_folder_it_prints(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = launched(capsys, "system.prompt_processor.distribution=cats.safetensors")
    (flag, first, trained), (_, second, exported) = told(home)
    assert (flag, first, second) == ("--config", "--train", "--export")
    seed = trained["system"]["prompt_processor"]["draw_seed"]
    assert isinstance(seed, int) and exported["system"]["prompt_processor"]["draw_seed"] == seed
    assert folder.parent == Path.cwd() / "outputs" / "mvdream" and folder.name.startswith(f"cats-{seed}@")
    assert trained["resume"] is None and exported["resume"] == str(folder / "ckpts" / "last.ckpt")
    assert trained["system"]["prompt_processor"]["distribution"] == str(Path.cwd() / "cats.safetensors")


def test_two_runs_are_two_draws(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folders = {launched(capsys, "system.prompt_processor.distribution=cats.safetensors") for _ in range(2)}
    seeds = {tree["system"]["prompt_processor"]["draw_seed"] for _, _, tree in told(home)}
    assert len(folders) == len(seeds) == 2


@pytest.mark.parametrize("mode", ["test", "export"])
def test_a_run_is_taken_up_in_its_own_folder(home: Path, capsys: pytest.CaptureFixture[str], mode: str) -> None:
    prompt = "system.prompt_processor.distribution=cats.safetensors"
    folder = launched(capsys, prompt, "tag=a tag", "system.prompt_processor.gamma=2")
    (folder / RECORD).write_text(
        json.dumps({"draw": {"seed": told(home)[0][2]["system"]["prompt_processor"]["draw_seed"]}})
    )
    # Nothing about the prompt is said again.
    assert launched(capsys, f"--{mode}", f"resume={folder}/ckpts/last.ckpt", "export.resolution=32") == folder
    _, told_mode, tree = told(home)[-1]
    before = told(home)[0][2]
    assert told_mode == f"--{mode}" and tree["system"]["exporter"]["resolution"] == 32
    assert tree["system"]["prompt_processor"] == before["system"]["prompt_processor"]
    assert (tree["tag"], tree["timestamp"]) == (before["tag"], before["timestamp"])


def test_another_draw_of_a_run_is_refused(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = launched(capsys, "system.prompt_processor.distribution=cats.safetensors")
    (folder / RECORD).write_text(json.dumps({"draw": {"seed": 5}}))
    checkpoint = f"resume={folder}/ckpts/last.ckpt"
    line = refused(capsys, checkpoint, "system.prompt_processor.distribution=c", "system.prompt_processor.draw_seed=6")
    assert "trained with draw_seed=5, not 6" in line


def test_keys_without_a_counterpart_are_named(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["system.prompt_processor.prompt=a cat", "system.loss.fog=1", "--low-vram"]
    assert launch_main(["--config", MVDREAM, "--engine", "threestudio", *arguments]) == 0
    assert capsys.readouterr().err.splitlines() == ["note: --engine threestudio does not honour system.loss.fog."]
    assert told(home)[0][2]["system"]["guidance"]["low_vram"] is True


def test_what_cannot_be_done_is_one_line(
    home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    prompt = "system.prompt_processor.prompt=a cat"
    assert "--export with --engine threestudio needs the checkpoint" in refused(capsys, "--export", prompt)
    assert "resume=no.ckpt is no checkpoint" in refused(capsys, prompt, "resume=no.ckpt")
    assert "exit code 3" in refused(capsys, prompt, "seed=13")
    (home / "custom" / "threestudio-dreamdist3d").unlink()
    assert f"dreamdist3d threestudio install {home}" in refused(capsys, prompt)
    monkeypatch.setenv("THREESTUDIO_HOME", str(tmp_path))
    assert "is no checkout of threestudio" in refused(capsys, prompt)
    monkeypatch.delenv("THREESTUDIO_HOME")
    assert "set THREESTUDIO_HOME" in refused(capsys, prompt)


def test_the_configuration_is_plain_yaml(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = launched(capsys, "system.prompt_processor.prompt=a cat")
    tree = yaml.safe_load((folder / "configs" / "parsed.yaml").read_text())
    assert tree["system"]["prompt_processor_type"] == "dreamdist3d-prompt-processor"


def test_the_process_that_waits_loads_no_torch() -> None:
    code = "import sys; import dreamdist3d.threestudio.engine; sys.exit('torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
