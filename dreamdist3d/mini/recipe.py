"""`dreamdist3d mini train`: from nothing to the shipped miniature backbone and its judges."""

import os
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderTiny

from dreamdist3d.errors import UserError
from dreamdist3d.files import ensure_folder, read_json, write_json
from dreamdist3d.mini.autoencoder import (
    BATCH as AUTOENCODER_BATCH,
    autoencoder_stage,
    build_autoencoder,
    measure_scaling,
    psnr,
    random_pictures,
)
from dreamdist3d.mini.curves import save_curves
from dreamdist3d.mini.dataset import load_dataset, write_dataset
from dreamdist3d.mini.diffusion import OBJECTS_PER_STEP, build_unet, diffusion_stage
from dreamdist3d.mini.grids import save_reconstructions, save_samples
from dreamdist3d.mini.judges import CLIP_BATCH, DINO_BATCH, build_clip, build_dino, clip_stage, dino_stage
from dreamdist3d.mini.latents import encode_dataset, load_latents
from dreamdist3d.mini.loop import Stage, run_stage
from dreamdist3d.mini.package import package_backbone, package_judges
from dreamdist3d.mini.parallel import rank, run_parallel
from dreamdist3d.mini.text import build_text_encoder, build_tokenizer
from dreamdist3d.progress import bar

HELD_OUT_SEED, JUDGES_SEED = 1, 2


@dataclass(frozen=True)
class Recipe:
    """The amounts; everything else is fixed in the modules of this folder.

    Attributes:
        seed: of the data, the initial weights and every step; the judges count from `seed + JUDGES_SEED`.
        objects, judge_objects, heldout: how many objects are rendered for the generator, for its judges (others
            than the generator's), and for measuring.
        autoencoder_steps, diffusion_steps, clip_steps, dino_steps: optimiser steps of each stage.
        autoencoder_batch, diffusion_objects, clip_batch, dino_batch: pictures a step; objects of four views.
        device: "cpu", or "cuda", where every stage runs in bfloat16 as recorded graphs.
        workers: processes that render and, on a CPU, train together with one thread each; the result depends on
            their number.
    """

    seed: int = 0
    objects: int = 8000
    judge_objects: int = 5000
    heldout: int = 400
    autoencoder_steps: int = 20_000
    diffusion_steps: int = 60_000
    clip_steps: int = 8000
    dino_steps: int = 8000
    autoencoder_batch: int = AUTOENCODER_BATCH
    diffusion_objects: int = OBJECTS_PER_STEP
    clip_batch: int = CLIP_BATCH
    dino_batch: int = DINO_BATCH
    device: str = "cpu"
    workers: int = os.cpu_count() or 1

    @property
    def training_processes(self) -> int:
        """On a GPU one process feeds it."""
        return self.workers if self.device == "cpu" else 1


def train(out: Path, recipe: Recipe) -> Path:
    """Run the recipe in `out`, going on where an earlier call stopped; returns `out / "weights"`.

    The folder gets `data/`, a checkpoint, a log (`<stage>.jsonl`) and pictures per stage, and at the end
    `weights/` in the layout that ships in this package.

    Raises:
        UserError: `out` cannot be written, or there is no GPU to train on.
        Stopped: on Ctrl-C or SIGTERM; the same call resumes.
    """
    if recipe.device != "cpu" and not torch.cuda.is_available():
        raise UserError(
            f"--device is {recipe.device}, but torch finds no CUDA GPU here: leave it out to train on the CPU."
        )
    ensure_folder(out)
    worlds = (
        ("data", recipe.objects, recipe.seed),
        ("judges_data", recipe.judge_objects, recipe.seed + JUDGES_SEED),
        ("heldout", recipe.heldout, recipe.seed + HELD_OUT_SEED),
    )
    for name, count, seed in worlds:
        if not (out / name / "renders.npy").exists():
            with bar(f"render {name}", count) as progress:
                write_dataset(out / name, count, seed, workers=recipe.workers, on_object=progress.advance)
    _timed(out, "autoencoder", recipe, _train_autoencoder)
    _timed(out, "latents", recipe, _encode, workers=1)
    _timed(out, "diffusion", recipe, _train_diffusion)
    _timed(out, "judges", recipe, _train_judges)
    weights = out / "weights"
    package_backbone(out / "backbone", weights)
    package_judges(out / "judges", weights / "judges")
    write_json(weights / "recipe.json", asdict(recipe) | {"hours": read_json(out / "hours.json")})
    save_samples(weights, weights / "samples.png")
    save_curves(out, weights / "loss_curves.png")
    return weights


def _timed(
    out: Path, name: str, recipe: Recipe, stage: Callable[[Path, Recipe], None], workers: int | None = None
) -> None:
    """Run one stage in its processes and add its wall time to `hours.json`."""
    started = time.monotonic()
    try:
        run_parallel(workers or recipe.training_processes, stage, out, recipe)
    finally:
        path = out / "hours.json"
        hours = read_json(path) if path.exists() else {}
        hours[name] = round(hours.get(name, 0.0) + (time.monotonic() - started) / 3600, 4)
        write_json(path, hours)


def _train_autoencoder(out: Path, recipe: Recipe) -> None:
    data = load_dataset(out / "data").to(recipe.device)
    pictures = random_pictures(load_dataset(out / "heldout"), 256, torch.Generator().manual_seed(1)).to(recipe.device)
    torch.manual_seed(recipe.seed)
    model = build_autoencoder().to(recipe.device)

    def show(step: int) -> None:
        save_reconstructions(model, pictures[:16], out / "autoencoder.png")
        write_json(out / "autoencoder.json", {"step": step, "psnr_db": psnr(model, pictures)})

    stage = autoencoder_stage(data, model, recipe.autoencoder_steps, show, recipe.autoencoder_batch)
    run_stage(stage, out, recipe.seed)
    if rank() == 0:
        show(recipe.autoencoder_steps)
        model.register_to_config(scaling_factor=measure_scaling(model, data))
        model.save_pretrained(out / "backbone" / "vae")


def _encode(out: Path, recipe: Recipe) -> None:
    vae = AutoencoderTiny.from_pretrained(out / "backbone" / "vae").to(recipe.device)
    encode_dataset(vae, load_dataset(out / "data").to(recipe.device), out, recipe.seed)


def _train_diffusion(out: Path, recipe: Recipe) -> None:
    data = load_dataset(out / "data")
    encoded = load_latents(out).to(recipe.device)
    tokenizer = build_tokenizer()
    torch.manual_seed(recipe.seed)
    text_encoder, unet = build_text_encoder(tokenizer).to(recipe.device), build_unet().to(recipe.device)

    def keep(step: int) -> None:
        tokenizer.save_pretrained(out / "backbone" / "tokenizer")
        text_encoder.save_pretrained(out / "backbone" / "text_encoder")
        unet.save_pretrained(out / "backbone" / "unet")

    steps, objects = recipe.diffusion_steps, recipe.diffusion_objects
    run_stage(diffusion_stage(data, encoded, tokenizer, text_encoder, unet, steps, keep, objects), out, recipe.seed)
    if rank() == 0:
        keep(recipe.diffusion_steps)


def _train_judges(out: Path, recipe: Recipe) -> None:
    data, tokenizer = load_dataset(out / "judges_data").to(recipe.device), build_tokenizer()
    torch.manual_seed(recipe.seed + JUDGES_SEED)
    clip, dino = build_clip(tokenizer).to(recipe.device), build_dino().to(recipe.device)
    _judge(clip_stage(data, tokenizer, clip, recipe.clip_steps, recipe.clip_batch), clip, out, recipe)
    _judge(dino_stage(data, dino, recipe.dino_steps, recipe.dino_batch), dino, out, recipe)
    if rank() == 0:
        tokenizer.save_pretrained(out / "judges" / "clip")


def _judge(stage: Stage, model: Any, out: Path, recipe: Recipe) -> None:
    run_stage(stage, out, recipe.seed + JUDGES_SEED)
    if rank() == 0:
        model.save_pretrained(out / "judges" / stage.name)
