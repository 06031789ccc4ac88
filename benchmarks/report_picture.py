"""The picture of a report in docs/evaluation.md: procedural mushrooms of six colours beside six of one colour.

    python benchmarks/report_picture.py --out docs/pictures/evaluation_report.png

Needs a Chromium or Chrome.
"""

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import tyro

from dreamdist3d.eval import evaluate
from dreamdist3d.mesh import write_glb
from dreamdist3d.mini.families import build
from dreamdist3d.mini.references import write_references

COLORS = ("blue", "green", "yellow", "purple", "red", "orange")
BROWSERS = ("chromium", "chromium-browser", "google-chrome")


def main(out: Path, width: int = 1100, height: int = 830) -> None:
    """Make the sets, score them, take the picture of the top of the page."""
    browser = next((found for name in BROWSERS if (found := shutil.which(name))), None)
    if browser is None:
        sys.exit(f"no browser: install one of {', '.join(BROWSERS)}.")
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        write_references(folder / "references", "mushroom")
        for number, color in enumerate(COLORS):
            for name, paint in (("six colours", color), ("one colour", COLORS[0])):
                mesh = build("mushroom", np.random.default_rng(number), paint).mesh()
                write_glb(mesh, folder / name / f"{number}.glb")
        sets = [folder / "six colours", folder / "one colour"]
        evaluate(sets, folder / "references", folder / "report", text="a mushroom")
        command = [browser, "--headless=new", "--no-sandbox", "--hide-scrollbars", f"--window-size={width},{height}"]
        command += [f"--user-data-dir={folder / 'profile'}", f"--screenshot={out.resolve()}", "--timeout=10000"]
        page = folder / "report" / "report.html"
        subprocess.run([*command, page.as_uri()], check=True, stderr=subprocess.DEVNULL)


if __name__ == "__main__":
    tyro.cli(main)
