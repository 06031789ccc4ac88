"""The miniature world on disk: objects, renders, cameras, captions and ground truth.

A folder holds `renders.npy` uint8 [N, V, S, S, 4], `cameras.npy` float32 [N, V, 16],
`azimuths.npy` float32 [N, V] (degrees) and `objects.jsonl`, one line of truth per object. The V views
of an object are sets of four, 90 degrees apart. Object i depends on (seed, i) alone, so any number of
processes makes the same folder.
"""

import json
import multiprocessing
import os
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from dreamdist3d.lift.cameras import camera_condition, sample_cameras
from dreamdist3d.mini.captions import captions
from dreamdist3d.mini.families import FAMILIES, ObjectSpec, build
from dreamdist3d.mini.render import IMAGE_SIZE, MINI_CAMERAS, render

VIEWS_PER_SET = 4


@dataclass(frozen=True)
class MiniDataset:
    """The arrays of one folder; `renders` is memory-mapped, or, after `to`, a tensor on a device."""

    renders: np.ndarray | torch.Tensor  # uint8 [N, V, S, S, 4]
    cameras: torch.Tensor  # [N, V, 16]
    azimuths: torch.Tensor  # [N, V]
    truth: list[dict]

    def __len__(self) -> int:
        return len(self.truth)

    @property
    def n_views(self) -> int:
        """V, views of every object."""
        return self.renders.shape[1]

    def to(self, device: torch.device | str) -> "MiniDataset":
        """The same world; on a GPU its renders are held there whole, on a CPU they stay on disk."""
        if torch.device(device).type == "cpu":
            return self
        renders = torch.from_numpy(np.ascontiguousarray(self.renders)).to(device)
        return MiniDataset(renders, self.cameras.to(device), self.azimuths.to(device), self.truth)

    def renders_at(self, objects: torch.Tensor, views: torch.Tensor) -> torch.Tensor:
        """uint8 [B, S, S, 4] of views [B] of objects [B]."""
        if isinstance(self.renders, torch.Tensor):
            return self.renders[objects, views]
        return torch.from_numpy(self.renders[objects.numpy(), views.numpy()])

    def random_renders(self, objects: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        """uint8 [B, S, S, 4]: one random view of each object [B]."""
        views = torch.randint(self.n_views, objects.shape, generator=generator, device=generator.device)
        return self.renders_at(objects, views)


def make_object(seed: int, index: int, sets: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, dict]:
    """Object `index` of the world `seed`: renders [V, S, S, 4], cameras [V, 16], azimuths [V], truth."""
    rng = np.random.default_rng([seed, index])
    spec = build(list(FAMILIES)[index % len(FAMILIES)], rng)
    generator = torch.Generator().manual_seed(int(rng.integers(2**62)))
    cameras = sample_cameras(MINI_CAMERAS, sets, generator)
    pictures = render(spec.mesh(), cameras, surface=spec.surface())
    condition = camera_condition(cameras.c2w).numpy()
    return pictures, condition, cameras.azimuth_deg.numpy(), truth_of(spec, rng)


def truth_of(spec: ObjectSpec, rng: np.random.Generator) -> dict:
    """What is known of an object, ready for JSON, its captions among it."""
    return {
        "family": spec.family,
        "main_color": spec.main_color,
        "main_rgb": list(spec.main_rgb),
        "pattern": spec.pattern,
        "second_color": spec.second_color,
        "second_rgb": list(spec.second_rgb) if spec.second_color else [],
        "material": spec.material,
        "part": spec.part,
        "part_color": spec.part_color,
        "part_rgb": list(spec.part_rgb),
        "attributes": spec.attributes,
        "shape_words": spec.shape_words,
        "part_words": spec.part_words,
        "captions": captions(spec, rng),
    }


def write_dataset(
    folder: Path,
    objects: int,
    seed: int,
    sets: int = 2,
    workers: int | None = None,
    on_object: Callable[[], None] = lambda: None,
) -> None:
    """Render `objects` objects with `sets` camera sets of four views into `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    views = sets * VIEWS_PER_SET
    shape = (objects, views, IMAGE_SIZE, IMAGE_SIZE, 4)
    renders = np.lib.format.open_memmap(folder / "renders.tmp.npy", mode="w+", dtype=np.uint8, shape=shape)
    cameras = np.zeros((objects, views, 16), np.float32)
    azimuths = np.zeros((objects, views), np.float32)
    truth = []
    # Spawned, not forked: a fork of a process whose torch has run threads hangs in its first threaded operation.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(workers or os.cpu_count(), context, torch.set_num_threads, (1,)) as pool:
        made = pool.map(make_object, [seed] * objects, range(objects), [sets] * objects, chunksize=16)
        for index, (pictures, condition, azimuth, known) in enumerate(made):
            renders[index], cameras[index], azimuths[index] = pictures, condition, azimuth
            truth.append(known)
            on_object()
    renders.flush()
    np.save(folder / "cameras.npy", cameras)
    np.save(folder / "azimuths.npy", azimuths)
    (folder / "objects.jsonl").write_text("".join(json.dumps(t) + "\n" for t in truth))
    # Last, so that a folder with `renders.npy` in it is a whole one.
    os.replace(folder / "renders.tmp.npy", folder / "renders.npy")


def load_dataset(folder: Path) -> MiniDataset:
    """Open what `write_dataset` wrote.

    Raises:
        FileNotFoundError: the folder is missing or was never finished.
    """
    truth = [json.loads(line) for line in (folder / "objects.jsonl").read_text().splitlines()]
    return MiniDataset(
        np.load(folder / "renders.npy", mmap_mode="r"),
        torch.from_numpy(np.load(folder / "cameras.npy")),
        torch.from_numpy(np.load(folder / "azimuths.npy")),
        truth,
    )
