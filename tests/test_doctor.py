"""The doctor, on this machine and on those with a lack: one verdict, one next step."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from dreamdist3d import doctor
from dreamdist3d.cli.weights import doctor as command
from dreamdist3d.doctor import Finding, examine, verdict

ROOT = Path(__file__).parents[1]
FINE = [
    Finding("system", "torch", True, "2"),
    Finding("system", "GPU", True, "a GPU"),
    Finding("packages", "required", True, "all"),
    Finding("optional", "ray", None, "not installed"),
    Finding("weights", "mvdream", True, "verified"),
    Finding("mini road", "weights", True, "load"),
]


def lacking(*names: str) -> list[Finding]:
    changed = {name: f"mend {name}" for name in names}
    return [Finding(f.section, f.name, False, "lacks", changed[f.name]) if f.name in changed else f for f in FINE]


def in_process(tmp_path: Path, *blocked: str, **more: str) -> subprocess.CompletedProcess:
    """`doctor` in a process of its own in which importing any of `blocked` fails as a broken package does."""
    (tmp_path / "sitecustomize.py").write_text(
        "import sys\n"
        "class Broken:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        f"        if name in {blocked!r}:\n"
        "            raise OSError(f'lib{name}.so: cannot open shared object file')\n"
        "sys.meta_path.insert(0, Broken())\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(tmp_path), "HF_HOME": str(tmp_path / "hf"), **more}
    script = "from dreamdist3d.cli.weights import doctor; doctor()"
    return subprocess.run([sys.executable, "-c", script], env=environment, cwd=ROOT, capture_output=True, text=True)


@pytest.mark.parametrize(
    "lacks,mini,full",
    [
        ((), None, None),
        (("GPU",), None, "GPU"),
        (("mvdream",), None, "mvdream"),
        (("GPU", "mvdream"), None, "GPU"),
        (("torch", "GPU", "mvdream"), "torch", "torch"),
        (("GPU", "required"), "required", "required"),
    ],
)
def test_the_first_lack_that_matters_is_the_one_next_step(lacks: tuple, mini: str | None, full: str | None) -> None:
    result = verdict(lacking(*lacks))
    assert (result.mini and result.mini.remedy) == (mini and f"mend {mini}")
    assert (result.full and result.full.remedy) == (full and f"mend {full}")


def test_here_the_miniature_road_can_be_walked(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    command()
    lines = capsys.readouterr().out.splitlines()
    assert "mini road: ready" in lines
    assert re.fullmatch(r"full road: GPU: .*; next step: .*GPU.*", lines[-1])
    assert sum("next step" in line for line in lines) == 1


def test_every_lack_comes_with_a_remedy_and_every_finding_is_one_line() -> None:
    findings = examine()
    assert {finding.section for finding in findings} == {"system", "packages", "optional", "weights", "mini road"}
    assert all(finding.remedy for finding in findings if finding.ok is False)
    assert not any("\n" in finding.detail + finding.remedy for finding in findings)


def test_a_broken_torch_is_a_finding_and_not_a_traceback(tmp_path: Path) -> None:
    result = in_process(tmp_path, "torch")
    assert result.returncode == 1 and result.stderr == ""
    assert "torch            OSError: libtorch.so: cannot open shared object file" in result.stdout
    last = result.stdout.splitlines()[-2:]
    assert all(re.fullmatch(r"(mini|full) road: torch: .*; next step: pip install torch.*", line) for line in last)


@pytest.mark.slow
def test_a_broken_package_on_the_road_is_named(tmp_path: Path) -> None:
    result = in_process(tmp_path, "trimesh")
    assert result.returncode == 1 and result.stderr == ""
    assert "OSError: libtrimesh.so" in result.stdout.splitlines()[-1]


def test_a_required_package_that_is_not_installed_is_the_next_step(monkeypatch: pytest.MonkeyPatch) -> None:
    version = doctor._version
    monkeypatch.setattr(doctor, "_version", lambda name: None if name == "trimesh" else version(name))
    result = verdict(list(doctor._required()))
    assert result.mini.remedy == "pip install trimesh"


@pytest.mark.parametrize(
    "driver,step", [("/usr/bin/nvidia-smi", "CUDA build of torch"), (None, "machine with an NVIDIA")]
)
def test_a_gpu_beside_a_torch_for_cpus_asks_for_another_torch(
    monkeypatch: pytest.MonkeyPatch, driver: str | None, step: str
) -> None:
    import torch

    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    monkeypatch.setattr("torch.version.cuda", None)
    monkeypatch.setattr("shutil.which", lambda name: driver)
    assert step in doctor._gpu(torch).remedy


@pytest.mark.parametrize(
    "offline,free,step",
    [(True, 100e9, "HF_HUB_OFFLINE"), (False, 1e9, "2.6 GB of room"), (False, 100e9, "downloads 2.6 GB")],
)
def test_how_to_get_weights_depends_on_the_machine(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, offline: bool, free: float, step: str
) -> None:
    usage = type("Usage", (), {"free": free})
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", offline)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "not" / "made" / "yet"))
    monkeypatch.setattr("shutil.disk_usage", lambda _: usage)
    assert step in doctor._get_weights(2.6)


@pytest.mark.gpu
def test_a_gpu_is_named_with_its_memory() -> None:
    import torch

    if not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    found = doctor._gpu(torch)
    assert found.ok and torch.cuda.get_device_name(0) in found.detail and "GiB" in found.detail
