"""A folder of reference images as pixels and, encoded once for the whole of learning, as latents."""

import hashlib
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor

from dreamdist3d.backbones import Backbone
from dreamdist3d.discovery import PICTURES, pictures_in
from dreamdist3d.errors import UserError

MAX_PIXELS = 2**27  # of a picture (134 million): up to 16 bytes each in memory while it is made small
CONTENT_ORDER = "content"  # of pictures: by their hashes, whatever their files are called
CHUNK_PIXELS = 512 * 512  # at a time through the autoencoder, which bounds memory; a larger image goes alone


@dataclass(frozen=True, eq=False)
class ReferenceImages:
    """N square pictures, and the files that were left out with the reason why."""

    pixels: Tensor  # [N, 3, size, size] in [-1, 1], float32
    paths: list[Path]
    skipped: list[tuple[Path, str]]

    def __len__(self) -> int:
        return len(self.paths)

    @property
    def told(self) -> str:
        """How many of the folder's pictures are used."""
        return f"{len(self.paths)} of {len(self.paths) + len(self.skipped)} pictures used"

    @property
    def content_hash(self) -> str:
        """Hex SHA-256 of the pixels in their order."""
        return hashlib.sha256(np.ascontiguousarray(self.pixels.numpy(), "<f4").data).hexdigest()

    def in_content_order(self) -> "ReferenceImages":
        """The same pictures, by the hashes of their pixels: one order, however the files are named."""
        keys = [hashlib.sha256(np.ascontiguousarray(one.numpy(), "<f4").data).digest() for one in self.pixels]
        order = sorted(range(len(keys)), key=keys.__getitem__)
        return ReferenceImages(self.pixels[order], [self.paths[index] for index in order], self.skipped)


def load_references(folder: Path, size: int) -> ReferenceImages:
    """Read every picture directly in `folder`, by name; shorter side to `size`, then the middle square.

    EXIF orientation is applied, transparency laid on white, gray and 16-bit pictures become 8-bit RGB.

    Raises:
        UserError: no such folder, a file in its place, no picture in it, or none that can be read.
    """
    pictures, paths = [], []
    found, skipped = _candidates(Path(folder))
    for path in found:
        try:
            pictures.append(read_picture(path, size))
            paths.append(path)
        except Exception as error:  # decoders fail in every possible type on a broken file
            skipped.append((path, _reason(path, error)))
    if not pictures:
        first, reason = skipped[0]
        raise UserError(
            f"none of the {len(skipped)} images in {folder} can be read (the first, {first.name}: {reason}): "
            "give a folder with whole pictures."
        )
    return ReferenceImages(torch.from_numpy(np.stack(pictures)), paths, skipped)


def read_picture(path: Path, size: int) -> np.ndarray:
    """One picture as float32 [3, size, size] in [-1, 1]; raises whatever the decoder does.

    Raises:
        ValueError: more than `MAX_PIXELS`, told from the header alone.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # its limit is ours, and told otherwise
        file = Image.open(path)
    with file:
        if file.width * file.height > MAX_PIXELS:
            raise ValueError(f"{file.width} x {file.height} pixels are too many: make it smaller")
        ImageOps.exif_transpose(file, in_place=True)
        image = ImageOps.fit(_on_white(file), (size, size), Image.Resampling.LANCZOS)
    values = np.asarray(image, dtype=np.float32) / 127.5 - 1.0
    return values.transpose(2, 0, 1)


def _candidates(folder: Path) -> tuple[list[Path], list[tuple[Path, str]]]:
    """Pictures to read, and those of formats that are not read."""
    if not folder.exists():
        raise UserError(f"the image folder {folder} does not exist: check its name.")
    if not folder.is_dir():
        raise UserError(f"{folder} is a file: give the folder that holds the reference images.")
    try:
        found, foreign = pictures_in(folder)
    except OSError as error:
        raise UserError(f"cannot list {folder}: {error.strerror or error}. Check its permissions.") from error
    if not found:
        others = f" ({foreign[0][0].name}: {foreign[0][1]})" if foreign else ""
        raise UserError(
            f"{folder} holds no images ({', '.join(PICTURES)}): put reference pictures directly in it{others}."
        )
    return found, foreign


def _on_white(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I"):
        # Pillow would clip 16 bits at 255 instead of scaling them.
        return Image.fromarray((np.asarray(image).clip(0, 65535) // 257).astype(np.uint8)).convert("RGB")
    if not image.has_transparency_data:
        return image if image.mode == "RGB" else image.convert("RGB")
    rgba = image if image.mode == "RGBA" else image.convert("RGBA")
    white = Image.new("RGBA", rgba.size, (255, 255, 255, 255))
    white.alpha_composite(rgba)
    return white.convert("RGB")


def _reason(path: Path, error: Exception) -> str:
    if path.stat().st_size == 0:
        return "the file is empty"
    if isinstance(error, Image.UnidentifiedImageError):
        return "not a picture"
    return f"{getattr(error, 'strerror', None) or error}"


@dataclass(frozen=True, eq=False)
class ReferenceLatents:
    """Scaled latents of N images: the posterior's moments, or, without a posterior, the latents themselves."""

    mean: Tensor  # [N, c, h, w]
    std: Tensor | None  # [N, c, h, w]; None: the autoencoder is deterministic

    def __len__(self) -> int:
        return len(self.mean)

    def sample(self, indices: Sequence[int], generator: torch.Generator) -> Tensor:
        """[B, c, h, w]: a fresh sample of each image's posterior."""
        chosen = list(indices)
        if self.std is None:
            return self.mean[chosen]
        noise = torch.randn(self.mean[chosen].shape, generator=generator).to(self.mean)
        return self.mean[chosen] + self.std[chosen] * noise


@torch.no_grad()
def encode_references(backbone: Backbone, pixels: Tensor) -> ReferenceLatents:
    """Encode [N, 3, H, W] pixels in [-1, 1]."""
    images = max(1, CHUNK_PIXELS // (pixels.shape[-1] * pixels.shape[-2]))
    chunks = [_posterior(backbone, chunk.to(backbone.device)) for chunk in pixels.split(images)]
    means, stds = zip(*chunks, strict=True)
    return ReferenceLatents(torch.cat(means), None if stds[0] is None else torch.cat(stds))


def _posterior(backbone: Backbone, pixels: Tensor) -> tuple[Tensor, Tensor | None]:
    from diffusers import AutoencoderKL

    vae = backbone.vae
    if not isinstance(vae, AutoencoderKL):
        return backbone.encode_images(pixels), None
    posterior = vae.encode(pixels.to(backbone.vae_dtype)).latent_dist
    # Noised and compared in float32, whatever the autoencoder computes in.
    mean, std = (part.to(torch.promote_types(part.dtype, torch.float32)) for part in (posterior.mean, posterior.std))
    shift = vae.config.shift_factor or 0.0
    return (mean - shift) * vae.config.scaling_factor, std * vae.config.scaling_factor
