"""A real headless Chromium: what a page says in its console, what it holds in the end, and how it looks."""

import os
import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
# Looks at the page from inside once it has loaded, and leaves what it saw where --dump-dom prints it.
PROBE = """<script>window.addEventListener("load", async () => {
  const seen = {errors: window.probeErrors, images: 0, broken: 0, wide: 0, drawn: ""};
  for (const image of document.images) seen[image.complete && image.naturalWidth ? "images" : "broken"] += 1;
  seen.wide = document.documentElement.scrollWidth - innerWidth;
  const button = OPEN && document.querySelector("button.turn");
  if (button) { button.click(); await new Promise((done) => setTimeout(done, 700)); }
  seen.drawn = document.getElementById("viewer").dataset.drawn || "";
  document.body.dataset.seen = JSON.stringify(seen);
});</script>"""
_LISTEN = """<script>window.probeErrors = [];
window.addEventListener("error", (e) => probeErrors.push(String(e.message || e.target.src)), true);</script>"""


def chromium() -> str:
    """The program; skips the test where there is none."""
    found = next((path for name in NAMES if (path := shutil.which(name))), None)
    if found is None:
        pytest.skip(f"no browser on this machine: none of {', '.join(NAMES)}")
    return found


def probed(page: Path, open_3d: bool) -> Path:
    """A copy of the page that tells what it saw."""
    copy = page.with_name(f"probed-{page.name}")
    text = page.read_text().replace("<head>", "<head>" + _LISTEN, 1)
    copy.write_text(text.replace("</body>", PROBE.replace("OPEN", str(open_3d).lower()) + "</body>"))
    return copy


def visit(page: Path, *options: str) -> subprocess.CompletedProcess:
    """Load a file in a browser of its own profile, without any network."""
    profile = page.parent / "profile"
    command = [chromium(), "--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--hide-scrollbars"]
    command += ["--use-angle=swiftshader", "--enable-unsafe-swiftshader", "--host-resolver-rules=MAP * ~NOTFOUND"]
    command += [f"--user-data-dir={profile}", "--enable-logging=stderr", "--timeout=20000", *options]
    # A proxy in the environment would be asked even for a page on this disk.
    environment = {key: value for key, value in os.environ.items() if "proxy" not in key.lower()}
    return subprocess.run(
        [*command, page.as_uri()], capture_output=True, text=True, timeout=180, check=False, env=environment
    )


def console(done: subprocess.CompletedProcess) -> list[str]:
    """What the page printed, errors among it; the driver's own talk about software rendering is left out."""
    lines = re.findall(r'CONSOLE[^"]*"(.*)", source', done.stderr)
    return [line for line in lines if "GPU stall" not in line and "GL Driver Message" not in line]


def screenshot(page: Path, path: Path, width: int, height: int, *options: str) -> np.ndarray:
    """uint8 [H, W, 3] of the top of the page."""
    done = visit(page, f"--window-size={width},{height}", f"--screenshot={path}", *options)
    assert path.exists(), done.stderr[-2000:]
    return np.asarray(Image.open(path).convert("RGB"))
