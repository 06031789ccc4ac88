"""Every GLB before the Khronos validator: no error, no warning."""

import json
import shutil
import subprocess
from pathlib import Path

import pytest

from dreamdist3d.mesh.package.presets import PRESETS
from tests.mesh.package.test_formats import write

VERSION = "2.0.0-dev.3.10"
CACHE = Path.home() / ".cache" / "dreamdist3d-tests" / f"gltf-validator-{VERSION}"
SCRIPT = """
const fs = require("fs"), path = require("path"), validator = require("gltf-validator");
(async () => {
  const reports = {};
  for (const file of process.argv.slice(2)) {
    const beside = async (uri) => new Uint8Array(fs.readFileSync(path.join(path.dirname(file), uri)));
    const report = await validator.validateBytes(new Uint8Array(fs.readFileSync(file)),
      { uri: path.basename(file), externalResourceFunction: beside });
    reports[path.basename(file)] = report.issues;
  }
  console.log(JSON.stringify(reports));
})();
"""


@pytest.fixture(scope="session")
def validator() -> Path:
    """A folder of node's with the validator in it, installed once."""
    if not (shutil.which("npm") and shutil.which("node")):
        pytest.skip("the Khronos validator needs node and npm")
    if not (CACHE / "node_modules" / "gltf-validator").is_dir():
        CACHE.mkdir(parents=True, exist_ok=True)
        command = ["npm", "install", "--no-audit", "--no-fund", "--prefix", str(CACHE), f"gltf-validator@{VERSION}"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=180)
        if done.returncode:
            pytest.skip(f"npm cannot install the Khronos validator: {done.stderr.strip()[-200:]}")
    (CACHE / "validate.js").write_text(SCRIPT)
    return CACHE


def issues(validator: Path, files: list[Path]) -> dict[str, dict]:
    """What the validator says of each file."""
    done = subprocess.run(["node", validator / "validate.js", *files], capture_output=True, text=True, check=True)
    return json.loads(done.stdout)


def assert_clean(validator: Path, files: list[Path]) -> None:
    found = issues(validator, files)
    assert len(found) == len(files) > 0
    for name, report in found.items():
        assert (report["numErrors"], report["numWarnings"]) == (0, 0), (name, report["messages"])


@pytest.mark.parametrize("preset", PRESETS)
def test_no_file_of_any_preset_has_an_error_or_a_warning(validator: Path, tmp_path: Path, preset):
    write(tmp_path, preset, "glb", levels=3)
    assert_clean(validator, sorted(tmp_path.glob("*.glb")))


def test_the_validator_would_say_so(validator: Path, tmp_path: Path):
    write(tmp_path, "web", "glb", levels=2, hulls=0)
    (tmp_path / "letter_albedo.png").unlink()
    data = bytearray((tmp_path / "letter.glb").read_bytes())
    data[8:12] = (len(data) + 4).to_bytes(4, "little")
    (tmp_path / "letter.glb").write_bytes(data)
    found = issues(validator, [tmp_path / "letter.glb", tmp_path / "letter_LOD1.glb"])
    assert all(report["numErrors"] > 0 for report in found.values())
