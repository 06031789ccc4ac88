"""Where clusters come from: the miniature world, or a folder of folders of pictures (SuTI, section 4)."""

import sys
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from dreamdist3d.apprentice.bank import Bank, Cluster, Mined, Picture, finish, notes_of, shard_path, write_shard
from dreamdist3d.apprentice.inputs import Inputs
from dreamdist3d.backbones import Backbone
from dreamdist3d.errors import Stopped, UserError, reason_of
from dreamdist3d.files import ensure_folder
from dreamdist3d.progress import bar
from dreamdist3d.prompts.learning.images import encode_references, load_references
from dreamdist3d.stopping import StopSignal

if TYPE_CHECKING:
    from dreamdist3d.eval.features.encoder import ImageEncoder

OBJECTS_A_SHARD, FOLDERS_A_SHARD = 32, 8
FEWEST = 3  # pictures of a cluster
SIMILAR = (0.82, 0.98)  # mean CLIP similarity inside a cluster: less is no subject, more are copies (SuTI, A.1)


@dataclass(frozen=True)
class WorldSettings:
    """How much of the miniature world."""

    objects: int = 4000
    clusters: int = 12000
    seed: int = 0


@dataclass(frozen=True)
class FolderSettings:
    """How folders of pictures become clusters.

    Attributes:
        instances: every folder shows one subject, so that any of its pictures may be asked for.
        similar: least and greatest mean CLIP similarity inside a cluster.
        prefixes: words to edit by, such as "a red"; captions of edits are asked of the experts.
        held_out: every so manieth folder is kept for validation.
    """

    instances: bool = True
    similar: tuple[float, float] = SIMILAR
    prefixes: tuple[str, ...] = ()
    held_out: int = 10


def mine_world(backbone: Backbone, folder: Path, settings: WorldSettings) -> Bank:
    """Render objects, encode them, and make clusters of them; goes on after the last whole shard.

    Raises:
        Stopped: Ctrl-C or SIGTERM.
    """
    from dreamdist3d.mini.clusters import EDITS, VIEWS, world_clusters

    shards = -(-settings.objects // OBJECTS_A_SHARD)

    def fill(number: int) -> None:
        _world_shard(backbone, folder, number, settings)

    if not _is_mined(folder, backbone, "latents"):
        _fill_all(folder, shards, fill)
        notes = [known for number in range(shards) for known in notes_of(folder, number)]
        found = world_clusters(notes, settings.clusters, settings.seed)

        def places(pairs: list[tuple[int, int]]) -> tuple[int, ...]:
            return tuple(one * 2 * VIEWS + view for one, view in pairs)

        clusters = [Cluster(c.name, c.kind, c.split, places(c.pictures), places(c.targets)) for c in found]
        finish(folder, Mined(backbone.name, backbone.fingerprint, "latents", EDITS, shards), clusters)
    return Bank(folder)


def _world_shard(backbone: Backbone, folder: Path, number: int, settings: WorldSettings) -> None:
    from dreamdist3d.mini.clusters import edited_caption, eight_words, object_pictures

    pixels, pictures, notes = [], [], []
    first = number * OBJECTS_A_SHARD
    for index in range(first, min(first + OBJECTS_A_SHARD, settings.objects)):
        made = object_pictures(settings.seed, index)
        words, edited = eight_words(made.truth), edited_caption(made.truth)
        pixels.append(made.pixels)
        pictures += [Picture(f"{settings.seed}/{index}", said, words, edited) for said in made.captions]
        notes.append({name: made.truth[name] for name in ("family", "main_color")})
    latents = encode_references(backbone, torch.cat(pixels)).mean
    write_shard(folder, number, {"latents": latents}, pictures, notes)


def mine_folders(
    backbone: Backbone,
    source: Path,
    folder: Path,
    inputs: Inputs,
    judge: "ImageEncoder",
    settings: FolderSettings,
) -> Bank:
    """A cluster of every folder in `source`; what is left out is counted by its reason.

    A picture's caption is what stands in a text file of its name beside it, if there is one.

    Raises:
        Stopped: Ctrl-C or SIGTERM.
        UserError: there are no folders, or none of them makes a cluster.
    """
    if _is_mined(folder, backbone, inputs.name):
        return Bank(folder)
    subjects = _subjects(source)
    shards = -(-len(subjects) // FOLDERS_A_SHARD)

    def fill(number: int) -> None:
        part = subjects[number * FOLDERS_A_SHARD : (number + 1) * FOLDERS_A_SHARD]
        _folder_shard(backbone, folder, number, part, inputs, judge, settings)

    _fill_all(folder, shards, fill)
    clusters, filtered, failed = _folder_clusters(folder, shards, settings)
    if not clusters:
        reasons = ", ".join(f"{reason}: {count}" for reason, count in filtered.items())
        raise UserError(f"none of the {len(subjects)} folders in {source} makes a cluster ({reasons}).")
    mined = Mined(backbone.name, backbone.fingerprint, inputs.name, settings.prefixes, shards, dict(filtered), failed)
    finish(folder, mined, clusters)
    return Bank(folder)


def _subjects(source: Path) -> list[Path]:
    if not source.is_dir():
        raise UserError(f"{source} is no folder: give a folder that holds a folder of pictures for each subject.")
    found = sorted(path for path in source.iterdir() if path.is_dir() and not path.name.startswith("."))
    if not found:
        raise UserError(f"{source} holds no folders: put a folder of pictures for each subject into it.")
    return found


def _folder_shard(
    backbone: Backbone,
    folder: Path,
    number: int,
    subjects: list[Path],
    inputs: Inputs,
    judge: "ImageEncoder",
    settings: FolderSettings,
) -> None:
    tensors: dict[str, list[Tensor]] = {"latents": [], "inputs": []}
    pictures: list[Picture] = []
    counts, left_out, failed = {}, {}, 0
    for subject in subjects:
        try:
            references = load_references(subject, backbone.image_size)
            reason = why_not(references.pixels, judge, settings.similar)
        except Exception as error:  # one folder must not cost the others
            reason, failed = reason_of(error), failed + 1
        if reason:
            left_out[subject.name] = reason
            print(f"left out {subject}: {reason}", file=sys.stderr)
            continue
        latents = encode_references(backbone, references.pixels).mean.float().cpu()
        tensors["latents"].append(latents)
        tensors["inputs"].append(inputs(references.pixels, latents.to(backbone.device)).cpu())
        pictures += [Picture(str(path), _captions(path)) for path in references.paths]
        counts[subject.name] = len(references)
    whole = {name: torch.cat(parts) for name, parts in tensors.items()} if pictures else {}
    if inputs.name == "latents":
        whole.pop("inputs", None)
    write_shard(folder, number, whole, pictures, {"counts": counts, "left_out": left_out, "failed": failed})


def why_not(
    pixels: Tensor,  # [N, 3, S, S] in [-1, 1]
    judge: "ImageEncoder",
    similar: tuple[float, float] = SIMILAR,
) -> str:
    """Why pictures are no cluster; empty if they are one."""
    from dreamdist3d.eval.diversity.similarity import mean_pairwise_similarity

    if len(pixels) < FEWEST:
        return f"fewer than {FEWEST} pictures"
    mean = mean_pairwise_similarity(judge.encode(pixels / 2 + 0.5))
    assert mean is not None  # of three pictures at least
    if mean < similar[0]:
        return f"its pictures are less alike than {similar[0]:g}"
    return f"its pictures are more alike than {similar[1]:g}" if mean > similar[1] else ""


def _captions(path: Path) -> tuple[str, ...]:
    text = path.with_suffix(".txt")
    if not text.is_file():
        return ()
    return tuple(line.strip() for line in text.read_text("utf-8", "replace").splitlines() if line.strip())


def _folder_clusters(folder: Path, shards: int, settings: FolderSettings) -> tuple[list[Cluster], Counter[str], int]:
    clusters: list[Cluster] = []
    filtered: Counter[str] = Counter()
    place = failed = 0
    for number in range(shards):
        notes = notes_of(folder, number)
        filtered.update(notes["left_out"].values())
        failed += notes["failed"]
        for name, count in notes["counts"].items():
            pictures = tuple(range(place, place + count))
            split = "known" if len(clusters) % settings.held_out == settings.held_out - 1 else "train"
            targets = pictures if settings.instances else ()
            clusters.append(Cluster(name, "instance" if settings.instances else "family", split, pictures, targets))
            place += count
    return clusters, filtered, failed


def _fill_all(folder: Path, shards: int, fill: Callable[[int], Any]) -> None:
    ensure_folder(folder)
    missing = [number for number in range(shards) if not shard_path(folder, number).is_file()]
    with StopSignal() as stop, bar("mining", shards, done=shards - len(missing)) as progress:
        for number in missing:
            if stop.requested:
                raise Stopped(f"mining stopped; {folder} keeps what is done: the same command goes on from there.")
            fill(number)
            progress.advance()


def _is_mined(folder: Path, backbone: Backbone, inputs: str) -> bool:
    """Whether `folder` is a finished one of this backbone.

    Raises:
        UserError: it is a finished one of another.
    """
    if not (folder / "mined.json").is_file():
        return False
    mined = Bank(folder).mined
    if (mined.fingerprint, mined.inputs) != (backbone.fingerprint, inputs):
        raise UserError(
            f"{folder} was mined for {mined.backbone} and {mined.inputs}, not for {backbone.name} and {inputs}: "
            "choose another folder."
        )
    return True
