"""Training a full-size assistant on one's own quadruplets: any causal language model and any CLIP, both from folders.

The language model is read, never written. What learns is what CAFE trains (the layers V and H and the token), and, with
a rank, low-rank factors beside the language model's own layers (Hu et al. 2021, by peft).
"""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from dreamdist3d.assistant.inputs import ClipInputs
from dreamdist3d.assistant.model import AssistantModel, prompt_of
from dreamdist3d.assistant.quadruplets import Quadruplet
from dreamdist3d.assistant.reading import read_file
from dreamdist3d.assistant.storage import load_llm, save_assistant
from dreamdist3d.errors import UserError
from dreamdist3d.files import ensure_folder, read_json, write_atomic, write_json
from dreamdist3d.mini.loop import Stage, run_stage
from dreamdist3d.progress import bar

_PIXELS = 336  # pictures are read at, then resized to what the CLIP takes


@dataclass(frozen=True)
class FullRecipe:
    """Amounts; the defaults are the paper's (section 4.1), steps aside.

    Attributes:
        seed: of initial weights and every step.
        steps, batch, lr: of the training.
        mse_weight: lambda of equation 2.
        lora_rank: of the factors beside every linear layer of the language model; 0: it stays as it is.
    """

    seed: int = 0
    steps: int = 10_000
    batch: int = 128
    lr: float = 2e-3
    mse_weight: float = 0.5
    lora_rank: int = 0

    def __post_init__(self) -> None:
        for name, least in (("steps", 1), ("batch", 1), ("lora_rank", 0)):
            if getattr(self, name) < least:
                raise UserError(f"{name}={getattr(self, name)} is out of range: it must be at least {least}.")


def train_full(
    out: Path,
    quadruplets: Sequence[Quadruplet],
    llm: Path,
    clip: Path,
    recipe: FullRecipe,
    device: torch.device | str = "cpu",
) -> Path:
    """Train in `out`, going on where an earlier call stopped; returns `out / "weights"`.

    Raises:
        UserError: a folder holds no such model, or `out` belongs to another recipe or other quadruplets.
        Stopped: on Ctrl-C or SIGTERM; the same call resumes.
    """
    ensure_folder(out)
    inputs = ClipInputs(clip)
    asked = asdict(recipe) | {"llm": str(llm.resolve()), "clip": inputs.name, "quadruplets": len(quadruplets)}
    if (out / "recipe.json").exists() and read_json(out / "recipe.json") != asked:
        raise UserError(f"{out / 'recipe.json'} holds another recipe: use its settings to go on, or another --out.")
    write_json(out / "recipe.json", asked)
    features, wanted = _encoded(out / "pictures", quadruplets, inputs)
    with torch.random.fork_rng():
        torch.manual_seed(recipe.seed)
        model = model_of(llm, inputs, recipe.lora_rank).to(device)
    weights = out / "weights"

    def keep(step: int) -> None:
        save_assistant(model, inputs.name, weights, llm=str(llm.resolve()))

    run_stage(_stage(model, features, wanted, quadruplets, recipe, keep), out, recipe.seed)
    keep(recipe.steps)
    return weights


def model_of(llm: Path, inputs: ClipInputs, lora_rank: int = 0) -> AssistantModel:
    """The language model of a folder, frozen, with new layers around it and, with a rank, new factors in it."""
    network, tokenizer = load_llm(llm)
    network.requires_grad_(False)
    if lora_rank:
        from peft import LoraConfig, get_peft_model

        config = LoraConfig(task_type="CAUSAL_LM", r=lora_rank, lora_alpha=lora_rank, target_modules="all-linear")
        network = get_peft_model(network, config)
    return AssistantModel(network, tokenizer, inputs.width, inputs.wanted_width)


def _encoded(folder: Path, quadruplets: Sequence[Quadruplet], inputs: ClipInputs) -> tuple[np.ndarray, np.ndarray]:
    """Features of the pictures [N, P, F] and embeddings of the targets [N, S], float16, kept on the disk."""
    paths = folder / "features.npy", folder / "wanted.npy"
    if not paths[0].exists():
        features, wanted = [], []
        with bar("pictures", len(quadruplets)) as progress:
            for one in quadruplets:
                pictures = torch.stack([read_file(file, _PIXELS) for file in (one.picture, one.target)])
                seen, spanned = inputs(pictures)
                features.append(seen[0].half())
                wanted.append(spanned[1].half())
                progress.advance()
        write_atomic(paths[1], partial(np.save, arr=torch.stack(wanted).numpy()))
        # Last, so that a folder with this file in it is a whole one.
        write_atomic(paths[0], partial(np.save, arr=torch.stack(features).numpy()))
    found = [np.load(path, mmap_mode="r") for path in paths]
    return found[0], found[1]


def _stage(
    model: AssistantModel,
    features: np.ndarray,
    wanted: np.ndarray,
    quadruplets: Sequence[Quadruplet],
    recipe: FullRecipe,
    on_checkpoint: Callable[[int], None],
) -> Stage:
    """Equation 2 on random quadruplets; nothing but what learns is averaged or kept in the checkpoint."""
    learned = nn.ParameterList([weight for weight in model.parameters() if weight.requires_grad])

    def loss(generator: torch.Generator) -> dict[str, Tensor]:
        drawing = torch.Generator().manual_seed(generator.initial_seed())
        places = torch.randint(len(quadruplets), (recipe.batch,), generator=drawing).tolist()
        chosen = [quadruplets[i] for i in places]
        batch = model.batch([prompt_of(one.request) for one in chosen], [one.answer for one in chosen])
        seen, target = (torch.from_numpy(np.asarray(array[places])).float() for array in (features, wanted))
        words, found = model(seen.to(learned[0].device), batch)
        mse = (found - target.to(found)).square().mean()
        return {"loss": words + recipe.mse_weight * mse, "words": words, "wanted": mse}

    return Stage(
        name="assistant",
        models={"learned": learned},
        losses={"loss": (1.0, loss)},
        steps=recipe.steps,
        lr=recipe.lr,
        warmup=min(60, recipe.steps // 4 + 1),
        captured=False,
        on_checkpoint=on_checkpoint,
    )
