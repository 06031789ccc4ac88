"""Other people's meshes, each exported with every preset: what became of them, one line a file, and a summary.

    python benchmarks/foreign.py FOLDER [--out assets] [--validator FOLDER_WITH_NODE_MODULES]

Takes every glTF, OBJ and PLY file at any depth. Prints tab-separated: file, verdict (ok, refused, or FAULT for anything
that no user should see), triangles of LOD0, hulls, share of the texture used, seconds, the validator's errors and
warnings over all GLB files of all presets, lines of what could not be followed, warnings. Each file is a fork of
its own, so that nothing one of them does ends the others. Exit code 1 after a FAULT or an invalid GLB.
"""

import json
import multiprocessing
import subprocess
import sys
import tempfile
import time
from collections import Counter
from dataclasses import replace
from pathlib import Path

import tyro

from dreamdist3d.errors import UserError
from dreamdist3d.mesh.package import PRESETS, PackageSettings, bake_asset, file_source, write_asset
from dreamdist3d.mesh.read import READABLE
from dreamdist3d.mesh.texture import TextureSettings

SCRIPT = """
const fs = require("fs"), path = require("path"), validator = require("gltf-validator");
(async () => {
  let errors = 0, warnings = 0, codes = {};
  for (const file of process.argv.slice(1)) {
    const beside = async (uri) => new Uint8Array(fs.readFileSync(path.join(path.dirname(file), uri)));
    const report = await validator.validateBytes(new Uint8Array(fs.readFileSync(file)),
      { uri: path.basename(file), externalResourceFunction: beside });
    errors += report.issues.numErrors; warnings += report.issues.numWarnings;
    for (const m of report.issues.messages) if (m.severity < 2) codes[m.code] = (codes[m.code] || 0) + 1;
  }
  console.log(JSON.stringify({ errors, warnings, codes }));
})();
"""

BLANK = {
    "verdict": "FAULT",
    "triangles": 0,
    "hulls": 0,
    "used": 0.0,
    "seconds": 0.0,
    "errors": 0,
    "validator": "",
    "not_followed": [],
    "told": "",
}


def main(
    folder: tyro.conf.Positional[Path],
    out: Path | None = None,
    validator: Path | None = None,
    triangles: int = 20_000,
    texture_size: int = 1024,
    hulls: int = 16,
    hull_seconds: float = 60.0,
    limit_s: float = 600.0,
) -> None:
    """Export every mesh below `folder`.

    Args:
        out: where assets are kept; left out: nowhere.
        validator: a folder in which `npm install gltf-validator` was run; left out: GLB files are not validated.
        limit_s: a file that takes longer is a FAULT.
    """
    texture = TextureSettings(size=texture_size)
    settings = PackageSettings("web", triangles=triangles, hulls=hulls, hull_seconds=hull_seconds, texture=texture)
    files = sorted(path for path in folder.rglob("*") if path.suffix.lower() in READABLE and path.is_file())
    rows = []
    for number, file in enumerate(files):
        with tempfile.TemporaryDirectory() as scratch:
            target = Path(scratch) if out is None else out / f"{number:03d}-{file.stem}"
            rows.append(measured(file, target, settings, validator, limit_s))
        print("\t".join([str(file.relative_to(folder)), *map(str, rows[-1].values())]), flush=True)
    summary = Counter(row["verdict"] for row in rows)
    invalid = sum(bool(row["errors"]) for row in rows)
    print(json.dumps({"files": len(rows), **summary, "invalid": invalid}))
    sys.exit(bool(summary["FAULT"] or invalid))


def measured(file: Path, out: Path, settings: PackageSettings, validator: Path | None, limit_s: float) -> dict:
    """A file's row, from a fork of this process."""
    context = multiprocessing.get_context("fork")
    here, there = context.Pipe(duplex=False)
    worker = context.Process(target=lambda: there.send(row_of(file, out, settings, validator)))
    began = time.monotonic()
    worker.start()
    there.close()
    try:
        return here.recv() if here.poll(limit_s) else {**BLANK, "seconds": limit_s, "told": "took too long"}
    except EOFError:
        return {**BLANK, "seconds": round(time.monotonic() - began, 1), "told": "died"}
    finally:
        worker.kill()
        worker.join()


def row_of(file: Path, out: Path, settings: PackageSettings, validator: Path | None) -> dict:
    began = time.monotonic()
    try:
        baked = bake_asset(file_source(file), settings)
        assets = [write_asset(baked, out / preset, replace(settings, preset=preset)) for preset in PRESETS]
    except Exception as error:
        verdict = "refused" if isinstance(error, UserError) else "FAULT"
        return {**BLANK, "verdict": verdict, "seconds": round(time.monotonic() - began, 1), "told": repr(error)}
    record = assets[0].record
    row = {
        **BLANK,
        "verdict": "ok",
        "triangles": record["levels"][0]["triangles"],
        "hulls": len(record["collision"]),
        "used": round(record["texture"]["used"], 2),
        "seconds": round(time.monotonic() - began, 1),
    }
    if validator:
        found = validated(validator, sorted(out.rglob("*.glb")))
        row |= {"errors": found["errors"] + found["warnings"], "validator": json.dumps(found["codes"])}
    return row | {"not_followed": record["not_followed"], "told": record["warnings"]}


def validated(validator: Path, files: list[Path]) -> dict:
    command = ["node", "-e", SCRIPT, *map(str, files)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=validator)
    return json.loads(done.stdout)


if __name__ == "__main__":
    tyro.cli(main)
