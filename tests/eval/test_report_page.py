import html
import json
import re

import numpy as np
import pytest
import trimesh
from PIL import Image

from dreamdist3d.eval import evaluate
from dreamdist3d.mesh import write_glb
from tests.eval.browser import console, probed, screenshot, visit
from tests.eval.test_evaluate import COLORS, ColorJudge
from tests.eval.tiny import colored


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    """Two sets of three meshes, one set named like a tag, beside references."""
    folder = tmp_path_factory.mktemp("page")
    (folder / "refs").mkdir()
    for index, color in enumerate(COLORS):
        Image.new("RGB", (40, 40), color).save(folder / "refs" / f"{index}.png")
        for name, paint in (("ours", color), ("other", COLORS[0])):
            write_glb(colored(trimesh.creation.box((1, 1 + index, 1)), paint), folder / name / f"{index}.glb")
    evaluate(
        [folder / "ours", folder / "other"], folder / "refs", folder / "out",
        encoders=[ColorJudge()], names=["ours", "<script>alert(1)</script>"], image_size=32,
    )  # fmt: skip
    return folder / "out" / "report.html"


@pytest.mark.slow
def test_a_real_browser_loads_every_picture_and_prints_no_error(page):
    done = visit(probed(page, open_3d=False), "--dump-dom", "--virtual-time-budget=4000")
    seen = json.loads(html.unescape(re.search(r'data-seen="([^"]*)"', done.stdout)[1]))
    pictures = page.read_text().count("<img")
    assert pictures >= 6 + 3 + 2
    assert seen == {"errors": [], "images": pictures, "broken": 0, "wide": 0, "drawn": ""}
    assert console(done) == []


@pytest.mark.slow
def test_a_mesh_opens_in_3d(page, tmp_path):
    probe = probed(page, open_3d=True)
    done = visit(probe, "--dump-dom", "--virtual-time-budget=4000")
    seen = json.loads(html.unescape(re.search(r'data-seen="([^"]*)"', done.stdout)[1]))
    assert seen["drawn"] == str(12 * 3) and console(done) == []
    picture = screenshot(probe, tmp_path / "open.png", 800, 800).astype(int)
    middle = picture[300:500, 300:500]
    # The first mesh is red.
    assert ((middle[..., 0] > 100) & (middle[..., 1:].max(axis=-1) < 60)).mean() > 0.3


@pytest.mark.slow
def test_light_and_dark_differ_and_a_phone_shows_the_page_without_scrolling_sideways(page, tmp_path):
    light = screenshot(page, tmp_path / "light.png", 900, 700)
    dark = screenshot(page, tmp_path / "dark.png", 900, 700, "--force-dark-mode")
    assert np.median(light) > 230 and np.median(dark) < 40
    # Windows cannot be narrower than 500 pixels; a frame inside the page can.
    frame = page.with_name("phone.html")
    frame.write_text(f'<iframe id="p" src="{probed(page, open_3d=False).name}" width="360" height="700"></iframe>')
    done = visit(frame, "--dump-dom", "--virtual-time-budget=4000", "--allow-file-access-from-files")
    assert console(done) == []
    narrow = screenshot(frame, tmp_path / "phone.png", 500, 800, "--allow-file-access-from-files")
    assert np.median(narrow[20:680, 20:360]) > 230


def test_names_from_users_are_words_on_the_page(page):
    text = page.read_text()
    assert "<script>alert" not in text and "&lt;script&gt;alert" in text


def test_the_page_asks_for_nothing_from_outside(page):
    text = page.read_text()
    assert not re.search(r'(src|href)="(?!data:)', text)
    assert not re.search(r"https?://|@import|url\(|fetch\(|XMLHttpRequest", text)
