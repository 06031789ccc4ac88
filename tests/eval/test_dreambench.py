"""DreamBench's protocol on a small folder in its layout, against means worked out by hand."""

import json

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image

from dreamdist3d.cli import main
from dreamdist3d.errors import UserError
from dreamdist3d.eval.dreambench import PUBLISHED, as_markdown, read_prompts, score_dreambench, without_placeholder

LIST = """Classes

subject_name,class
backpack,backpack
bear_plushie,stuffed animal
cat2,cat
vase,vase

Prompts

Object Prompts

prompt_list = [
'a {0} {1} in the jungle'.format(unique_token, class_token),
'a red {0} {1}'.format(unique_token, class_token)
]

Live Subject Prompts

prompt_list = [
'a {0} {1} wearing a red hat'.format(unique_token, class_token),
'a purple {0} {1}'.format(unique_token, class_token)
]
"""


class Corners:
    """A DINO whose features are two pixels."""

    name, model_id, resize = "corners", "corners", "none"

    def encode(self, images):
        return F.normalize(torch.stack([torch.cat([x[:, 0, 0], x[:, -1, -1]]) + 0.1 for x in images]), dim=-1)


class Means:
    """A CLIP whose pictures are their mean colours, and whose sentences are their letters."""

    name, model_id, resize = "means", "means", "none"

    def encode(self, images):
        return F.normalize(torch.stack([x.mean(dim=(1, 2)) + 0.1 for x in images]), dim=-1)

    def encode_text(self, texts):
        return F.normalize(torch.tensor([[float(t.count(c)) for c in "aet"] for t in texts]), dim=-1)


def picture(path, seed):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.random.default_rng(seed).integers(0, 256, (9, 8, 3), dtype=np.uint8)).save(path)


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "dataset").mkdir()
    (tmp_path / "dataset" / "prompts_and_classes.txt").write_text(LIST)
    seed = 0
    for subject in ("backpack", "bear_plushie", "cat2"):
        for i in range(3):
            picture(tmp_path / "dataset" / subject / f"{i:02d}.png", seed := seed + 1)
        for prompt in range(2):
            for i in range(4):
                picture(tmp_path / "generated" / subject / f"{prompt:02d}" / f"{i}.png", seed := seed + 1)
    return tmp_path


def read(path):
    return torch.from_numpy(np.asarray(Image.open(path)).copy()).movedim(-1, 0) / 255


def test_scores_are_the_published_protocols_means(folder):
    found = score_dreambench(folder, [Means(), Corners()])
    assert found.pictures == found.expected == 24 and not found.skipped and set(found.subjects) == {
        "backpack", "bear_plushie", "cat2",
    }  # fmt: skip
    texts = {
        "backpack": ["a backpack in the jungle", "a red backpack"],
        "bear_plushie": ["a stuffed animal in the jungle", "a red stuffed animal"],
        "cat2": ["a cat wearing a red hat", "a purple cat"],
    }
    for subject, prompts in texts.items():
        real = [read(path) for path in sorted((folder / "dataset" / subject).iterdir())]
        made = [[read(p) for p in sorted((folder / "generated" / subject / f"{k:02d}").iterdir())] for k in range(2)]
        for name, judge in (("DINO", Corners()), ("CLIP-I", Means())):
            cosines = [float(judge.encode([x]) @ judge.encode([y]).t()) for row in made for x in row for y in real]
            assert found.subjects[subject][name] == pytest.approx(np.mean(cosines), abs=1e-5)
            among = [float(judge.encode([x]) @ judge.encode([y]).t()) for x in real for y in real if x is not y]
            assert found.subjects[subject][f"real {name}"] == pytest.approx(np.mean(among), abs=1e-5)
        told = [
            float(Means().encode([x]) @ Means().encode_text([prompt]).t())
            for row, prompt in zip(made, prompts, strict=True)
            for x in row
        ]
        assert found.subjects[subject]["CLIP-T"] == pytest.approx(np.mean(told), abs=1e-5)
    mean = np.mean([row["DINO"] for row in found.subjects.values()])
    assert found.score("DINO").value == pytest.approx(mean) and found.score("DINO").low is not None


def test_the_published_table_stands_beside_it_as_published(folder):
    page = as_markdown(score_dreambench(folder, [Means(), Corners()]))
    assert "| CAFE (published) | yes | 0.715 | 0.827 | 0.294 |" in page
    assert "| Real images (published) |  | 0.774 | 0.885 |  |" in page
    assert "not measured here" in page and page.count("(published)") == len(PUBLISHED) == 12


def test_by_one_command_what_lacks_is_told_and_the_rest_scored(folder, capsys):
    (folder / "generated" / "backpack" / "00" / "2.png").write_bytes(b"broken")
    (folder / "generated" / "cat2" / "01" / "3.png").unlink()
    (folder / "generated" / "vase").mkdir()
    code = main(["evaluate", str(folder), "--protocol", "dreambench", "--out", str(folder / "report")])
    error = capsys.readouterr().err
    assert code == 2 and "22 of 32 pictures were scored" in error
    assert "backpack" in error and "cat2/01: 3 of 4 pictures" in error and "vase: 0 pictures, 0 photographs" in error
    record = json.loads((folder / "report" / "dreambench.json").read_text())
    assert record["pictures"] == 22 and set(record["scores"]) >= {"DINO", "CLIP-I", "CLIP-T"}
    assert (folder / "report" / "dreambench.md").is_file()


def test_a_folder_that_is_laid_out_otherwise_is_told(folder, tmp_path):
    with pytest.raises(UserError, match="google/dreambooth"):
        score_dreambench(tmp_path / "nowhere", [Means(), Corners()])
    with pytest.raises(UserError, match="one DINO and one CLIP"):
        score_dreambench(folder, [Means()])
    (folder / "dataset" / "prompts_and_classes.txt").write_text("nothing")
    with pytest.raises(UserError, match="not the list"):
        score_dreambench(folder, [Means(), Corners()])


def test_the_placeholder_is_left_out(tmp_path):
    (tmp_path / "list.txt").write_text(LIST)
    classes, things, live = read_prompts(tmp_path / "list.txt")
    assert classes["bear_plushie"] == "stuffed animal" and len(things) == len(live) == 2
    assert without_placeholder(things[1], "stuffed animal") == "a red stuffed animal"
