"""Pictures of the class by the unchanged model, which keep a changed one from forgetting it (DreamBooth, 3.2)."""

from pathlib import Path
from typing import TYPE_CHECKING

from torch import Tensor

from dreamdist3d.errors import Stopped
from dreamdist3d.files import write_atomic
from dreamdist3d.progress import bar
from dreamdist3d.prompts import SoftPromptEncoder, load_references
from dreamdist3d.prompts.looks.pictures import Sampling, as_image, at_once, rescale_for, sample_prompts
from dreamdist3d.stopping import StopSignal

if TYPE_CHECKING:
    from dreamdist3d.backbones import Backbone


def class_pictures(backbone: "Backbone", words: str, count: int, seed: int, folder: Path) -> Tensor:
    """`count` pictures of `words` as PNG files in `folder`, made where they are missing: [count, 3, S, S] in [-1, 1].

    Raises:
        Stopped: Ctrl-C or SIGTERM; the pictures made so far stay.
        UserError: the words are too long, or the folder cannot be written.
    """
    paths = [folder / f"{i:04d}.png" for i in range(count)]
    size = at_once(backbone)
    # Always the same batches: in others the last bits of pictures would differ.
    parts = [range(start, min(start + size, count)) for start in range(0, count, size)]
    missing = [part for part in parts if not all(paths[i].is_file() for i in part)]
    encoder = SoftPromptEncoder(backbone.tokenizer, backbone.text_encoder)
    text, negative = encoder.encode_text([words, ""]).hidden
    sampling = Sampling(rescale=rescale_for(backbone), noise_seed=seed)
    with StopSignal() as stop, bar("class pictures", count, done=count - sum(map(len, missing))) as progress:
        for part in missing:
            if stop.requested:
                raise Stopped(f"stopped with {part[0]} of {count} class pictures made: the same command goes on.")
            pictures = sample_prompts(backbone, text.expand(len(part), -1, -1), negative, sampling, part[0])
            for index, picture in zip(part, pictures, strict=True):
                write_atomic(paths[index], as_image(picture).save)
            progress.advance(steps=len(part))
    return load_references(folder, backbone.image_size).pixels[:count]
