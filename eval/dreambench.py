"""DreamBench (Ruiz et al., CVPR 2023): 30 subjects x 25 prompts x 4 pictures, scored by DINO, CLIP-I and CLIP-T.

A folder holds `dataset/`, as google/dreambooth publishes it (`<subject>/*.jpg` and `prompts_and_classes.txt`), and
`generated/<subject>/<prompt>/*.png`, the prompts numbered 00 to 24 in the published order.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor

from dreamdist3d.discovery import pictures_in
from dreamdist3d.errors import UserError, one_line
from dreamdist3d.eval.features import ImageEncoder
from dreamdist3d.eval.features.encoder import TextEncoder
from dreamdist3d.eval.statistics import AssetMean, Estimate, jackknife_mean
from dreamdist3d.files import write_json, write_text
from dreamdist3d.progress import bar

PICTURES_EACH = 4
_LIVE = ("cat", "dog")  # classes with the prompts for live subjects
_METRICS = ("DINO", "CLIP-I", "CLIP-T")

# Table 1 of Zhou et al., Customization Assistant for Text-to-image Generation (2023), and nothing measured here:
# method, whether it needs no tuning for a subject, DINO, CLIP-I, CLIP-T.
PUBLISHED: tuple[tuple[str, bool | None, float, float, float | None], ...] = (
    ("Real images", None, 0.774, 0.885, None),
    ("Textual Inversion", False, 0.569, 0.780, 0.255),
    ("DreamBooth", False, 0.668, 0.803, 0.305),
    ("Custom Diffusion", False, 0.643, 0.790, 0.305),
    ("BLIP-Diffusion", False, 0.670, 0.805, 0.302),
    ("BLIP-Diffusion", True, 0.594, 0.779, 0.300),
    ("Re-Imagen", True, 0.600, 0.740, 0.270),
    ("ELITE", True, 0.621, 0.771, 0.293),
    ("Subject-Diffusion", True, 0.711, 0.787, 0.293),
    ("SuTI", True, 0.741, 0.819, 0.304),
    ("Kosmos-G", True, 0.694, 0.847, 0.287),
    ("CAFE", True, 0.715, 0.827, 0.294),
)


@dataclass(frozen=True)
class Subject:
    """One subject: its class, its photographs, and the pictures made for each prompt, by the prompt's number."""

    name: str
    kind: str
    prompts: tuple[str, ...]
    real: list[Path]
    made: dict[int, list[Path]]


@dataclass
class DreamBench:
    """The scores of one folder.

    Attributes:
        judges: names of the two encoders.
        subjects: each subject's DINO, CLIP-I and CLIP-T, and those of its photographs among themselves.
        pictures, expected: how many were scored, and how many the protocol has for these subjects.
        skipped: files that could not be read, and prompts without pictures.
    """

    judges: dict[str, str]
    subjects: dict[str, dict[str, float | None]] = field(default_factory=dict)
    pictures: int = 0
    expected: int = 0
    skipped: list[str] = field(default_factory=list)

    def score(self, metric: str) -> Estimate | None:
        """The mean over subjects, with its interval over them; None where nobody has it."""
        values = [found for row in self.subjects.values() if (found := row[metric]) is not None]
        return jackknife_mean(AssetMean(torch.tensor(values)), -1.0, 1.0) if values else None

    def as_dict(self) -> dict[str, Any]:
        """Ready for JSON."""
        names = (*_METRICS, "real DINO", "real CLIP-I")
        scores = {name: found.as_dict() for name in names if (found := self.score(name)) is not None}
        rows = [dict(zip(("method", "tuning_free", *_METRICS), row, strict=True)) for row in PUBLISHED]
        return {
            "protocol": "dreambench",
            "judges": self.judges,
            "pictures": self.pictures,
            "expected_pictures": self.expected,
            "scores": scores,
            "subjects": self.subjects,
            "skipped": self.skipped,
            "published": {"source": "Table 1 of Zhou et al. 2023 (CAFE); not measured here", "rows": rows},
        }


def score_dreambench(folder: Path, encoders: Sequence[ImageEncoder]) -> DreamBench:
    """Score a folder in the layout above.

    DINO and CLIP-I are mean cosines of every picture with every photograph of its subject, CLIP-T of every picture with
    its prompt without the placeholder; all are means over a subject's pictures, and then over subjects.

    Raises:
        UserError: the folder is not laid out so, or the encoders are not one that sees pictures alone and one that
            reads text as well.
    """
    dino, clip = _judges(encoders)
    subjects = find_subjects(folder)
    found = DreamBench({"DINO": dino.name, "CLIP": clip.name})
    with bar("dreambench", len(subjects)) as progress:
        for subject in subjects:
            row = _scored(subject, dino, clip, found)
            if row is not None:
                found.subjects[subject.name] = row
            progress.advance(subject.name)
    if not found.subjects:
        raise UserError(f"no picture in {folder / 'generated'} could be scored; the first: {found.skipped[0]}")
    return found


def find_subjects(folder: Path) -> list[Subject]:
    """The subjects that have pictures.

    Raises:
        UserError: `dataset/`, its list of prompts or `generated/` is missing or empty.
    """
    listed = folder / "dataset" / "prompts_and_classes.txt"
    if not listed.is_file():
        raise UserError(f"{listed} is missing: dataset/ is the folder of that name in github.com/google/dreambooth.")
    classes, of_things, of_live = read_prompts(listed)
    subjects = []
    for name, kind in classes.items():
        made = folder / "generated" / name
        if made.is_dir():
            prompts = tuple(of_live if kind in _LIVE else of_things)
            pictures = {i: _pictures(made / f"{i:02d}") for i in range(len(prompts))}
            subjects.append(Subject(name, kind, prompts, _pictures(folder / "dataset" / name), pictures))
    if not subjects:
        raise UserError(
            f"{folder / 'generated'} has no folder of a subject: pictures go to generated/backpack/00/0.png and so on."
        )
    return subjects


def read_prompts(path: Path) -> tuple[dict[str, str], list[str], list[str]]:
    """The published list: each subject's class, the prompts of things and of live subjects, with `{1}` for a class.

    Raises:
        UserError: it is not that list.
    """
    text = path.read_text(encoding="utf-8", errors="replace")
    head, _, prompts = text.partition("Object Prompts")
    things, _, live = prompts.partition("Live Subject Prompts")
    classes = dict(re.findall(r"^([\w-]+),([\w ]+)$", head, flags=re.MULTILINE))
    classes.pop("subject_name", None)
    lists = [re.findall(r"^\s*'([^']*)'\.format", part, flags=re.MULTILINE) for part in (things, live)]
    if not classes or not all(lists):
        raise UserError(f"{path} is not the list of google/dreambooth: take the published file.")
    return classes, lists[0], lists[1]


def without_placeholder(prompt: str, kind: str) -> str:
    """`a {0} {1} in the jungle` as CLIP-T reads it: `a dog in the jungle`."""
    return " ".join(prompt.replace("{0}", "").replace("{1}", kind).split())


def write_dreambench(found: DreamBench, folder: Path) -> Path:
    """Write `dreambench.json` and `dreambench.md`; returns the latter."""
    write_json(folder / "dreambench.json", found.as_dict())
    page = folder / "dreambench.md"
    write_text(page, as_markdown(found))
    return page


def as_markdown(found: DreamBench) -> str:
    """The scores, and the published ones below, marked as such."""
    rows = ["| | tuning-free | DINO | CLIP-I | CLIP-T |", "|---|---|---|---|---|"]
    rows.append(f"| **these pictures** | | {' | '.join(_cell(found.score(name)) for name in _METRICS)} |")
    real = [_cell(found.score(f"real {name}")) for name in _METRICS[:2]]
    rows.append(f"| these photographs among themselves | | {' | '.join(real)} | |")
    for name, free, *values in PUBLISHED:
        cells = ["" if value is None else f"{value:.3f}" for value in values]
        rows.append(f"| {name} (published) | {'' if free is None else 'yes' if free else 'no'} | {' | '.join(cells)} |")
    judges = f"Judges: {found.judges['DINO']} and {found.judges['CLIP']}."
    return "\n".join(
        [
            "# DreamBench",
            "",
            f"{found.pictures} of {found.expected} pictures of {len(found.subjects)} subjects. {judges} Intervals are "
            "over subjects.",
            "",
            *rows,
            "",
            "Rows marked *published* are Table 1 of Zhou et al. 2023 (CAFE), with DINO ViT-S/16 and CLIP ViT-B/32; "
            "they were not measured here.",
            "",
        ]
    )


def _cell(estimate: Estimate | None) -> str:
    if estimate is None:
        return ""
    interval = "" if estimate.low is None else f" [{estimate.low:.3f}, {estimate.high:.3f}]"
    return f"{estimate.value:.3f}{interval}"


def _judges(encoders: Sequence[ImageEncoder]) -> tuple[ImageEncoder, Any]:
    reads = [encoder for encoder in encoders if isinstance(encoder, TextEncoder)]
    sees = [encoder for encoder in encoders if not isinstance(encoder, TextEncoder)]
    if len(reads) != 1 or len(sees) != 1:
        raise UserError(
            "--protocol dreambench takes one DINO and one CLIP: --features dino_vits16 clip_vitb32, or mini."
        )
    return sees[0], reads[0]


def _pictures(folder: Path) -> list[Path]:
    return pictures_in(folder)[0] if folder.is_dir() else []


def _scored(subject: Subject, dino: ImageEncoder, clip: Any, found: DreamBench) -> dict[str, float | None] | None:
    """A subject's scores, or None where it has no picture or no photograph that can be read."""
    found.expected += len(subject.prompts) * PICTURES_EACH
    real = _read_all(subject.real, found)
    pictures, texts = [], []
    for number, paths in subject.made.items():
        if len(paths) < PICTURES_EACH:
            found.skipped.append(f"{subject.name}/{number:02d}: {len(paths)} of {PICTURES_EACH} pictures")
        read = _read_all(paths, found)
        pictures += read
        texts += [without_placeholder(subject.prompts[number], subject.kind)] * len(read)
    if not pictures or not real:
        found.skipped.append(f"{subject.name}: {len(pictures)} pictures, {len(real)} photographs")
        return None
    found.pictures += len(pictures)
    seen = {"DINO": (dino.encode(pictures), dino.encode(real)), "CLIP-I": (clip.encode(pictures), clip.encode(real))}
    row: dict[str, float | None] = {name: float((made @ truth.t()).mean()) for name, (made, truth) in seen.items()}
    prompts = dict(zip(dict.fromkeys(texts), clip.encode_text(list(dict.fromkeys(texts))), strict=True))
    row["CLIP-T"] = float((seen["CLIP-I"][0] * torch.stack([prompts[text] for text in texts])).sum(dim=1).mean())
    return row | {f"real {name}": _among(truth) for name, (_, truth) in seen.items()}


def _among(features: Tensor) -> float | None:
    """Mean cosine of all pairs [N, D]; None for fewer than two."""
    count = len(features)
    if count < 2:
        return None
    return float((features.sum(dim=0).square().sum() - count) / (count * (count - 1)))


def _read_all(paths: Sequence[Path], found: DreamBench) -> list[Tensor]:
    """[3, H, W] in [0, 1] of those that can be read; the others are told."""
    pictures = []
    for path in paths:
        try:
            with Image.open(path) as file:
                image = ImageOps.exif_transpose(file).convert("RGB")
            pictures.append(torch.from_numpy(np.asarray(image).copy()).movedim(-1, 0) / 255)
        except Exception as error:  # decoders fail in every possible type on a broken file
            found.skipped.append(f"{path}: {one_line(error)}")
    return pictures
