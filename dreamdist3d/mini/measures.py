"""True attributes of pictures of miniature objects, recovered from pixels: what no published evaluation could measure.

Every measure is tested against the truth behind held-out renders (`tests/mini/test_measures.py`). Pictures are
[3, H, W] in [0, 1], one object on a plain background.
"""

import torch
from torch import Tensor

from dreamdist3d.mini.families import FAMILIES
from dreamdist3d.mini.palette import COLOR_NAMES, PALETTE

_FOREGROUND = 0.10  # farthest channel from the background, of 1
_BINS = 6
_NEAR = 0.25
_APART = 0.30  # two colours of one part lie at least this far apart
_FEW = 20  # pixels that are no object
_PATTERNED, _TWO_TONES, _ONE_WAY, _DOTTED = 0.25, 0.09, 2.0, 0.44  # see `pattern_name`


def foreground(picture: Tensor) -> Tensor:
    """Pixels unlike the plain background, judged by the picture's border: bool [H, W] of [3, H, W] in [0, 1]."""
    border = torch.cat([picture[:, 0], picture[:, -1], picture[:, :, 0], picture[:, :, -1]], dim=1)
    background = border.median(dim=1).values
    return (picture - background[:, None, None]).abs().amax(dim=0) > _FOREGROUND


def dominant_color(picture: Tensor, family: str) -> Tensor | None:
    """RGB [3] of the family's main part: the fullest colour bin in the band of the object where it shows.

    None where nothing stands out from the background.
    """
    pixels = picture[:, main_band(picture, family)].t()  # [N, 3]
    return _fullest(pixels) if len(pixels) else None


def main_band(picture: Tensor, family: str) -> Tensor:
    """The object's pixels in the band where its main part shows (`Family.main_band`): bool [H, W]."""
    mask = foreground(picture)
    band = torch.zeros_like(mask)
    if mask.sum() >= _FEW:
        rows = torch.nonzero(mask.any(dim=1)).squeeze(1)
        top, height = int(rows[0]), int(rows[-1] - rows[0]) + 1
        low, high = FAMILIES[family].main_band
        band[top + int(low * height) : top + max(1, round(high * height))] = True
    return mask & band


def _fullest(pixels: Tensor) -> Tensor:
    bins = (pixels * (_BINS - 1)).round().long() @ torch.tensor([1, _BINS, _BINS**2])
    center = pixels[bins == bins.mode().values].mean(dim=0)
    return pixels[(pixels - center).norm(dim=1) < _NEAR].mean(dim=0)


def color_name(rgb: Tensor) -> str:
    """The palette's word for a colour [3]: the nearest entry, whatever the light on it (factors 0.6 to 1.1)."""
    entries = torch.tensor(list(PALETTE.values()))
    light = torch.linspace(0.6, 1.1, 11)[:, None, None]
    distances = (entries[None] * light - rgb).norm(dim=-1)
    return COLOR_NAMES[int(distances.amin(dim=0).argmin())]


def color_spread(pictures: Tensor, family: str) -> float:
    """Mean pairwise Euclidean distance of the main part's RGB over the pictures [N, 3, H, W]."""
    found = [color for picture in pictures if (color := dominant_color(picture, family)) is not None]
    return float(torch.pdist(torch.stack(found)).mean())


def proportions(picture: Tensor) -> float | None:
    """Height over width of the object's silhouette, or None where there is no object."""
    mask = foreground(picture)
    if mask.sum() < _FEW:
        return None
    rows, columns = (torch.nonzero(mask.any(dim=dim)).squeeze(1) for dim in (1, 0))
    return float(rows[-1] - rows[0] + 1) / float(columns[-1] - columns[0] + 1)


def two_colors(picture: Tensor, family: str) -> tuple[Tensor, Tensor] | None:
    """Where the main part shows, and where in it a second colour: bool [H, W] twice; None without a second colour.

    The second colour is the fullest one among the pixels that are far from the dominant one in any light.
    """
    band, main = main_band(picture, family), dominant_color(picture, family)
    if main is None:
        return None
    light = torch.linspace(0.5, 1.5, 21)[:, None]
    away = (picture.movedim(0, -1)[..., None, :] - main * light).norm(dim=-1).amin(dim=-1)  # [H, W]
    far = band & (away > _APART)
    if far.sum() < max(_FEW, 0.08 * float(band.sum())):
        return None
    second = _fullest(picture[:, far].t())
    nearer = (picture - second[:, None, None]).norm(dim=0) < (picture - main[:, None, None]).norm(dim=0)
    return band, band & nearer


def pattern_signature(picture: Tensor, family: str) -> Tensor:
    """[3]: the second colour's share of the main part, and how often neighbours differ along rows and columns.

    Zeros for a plain part. Two tones have a share and hardly a change, stripes change along one direction, dots and
    checks along both. Seen best where nothing else lies in the family's `main_band`, and not on metal, whose
    reflections count as colours.
    """
    found = two_colors(picture, family)
    if found is None:
        return torch.zeros(3)
    band, second = found

    def changes(dim: int) -> float:
        length = picture.shape[dim + 1] - 1
        first, later = (lambda x, start: x.narrow(dim, start, length)), 1
        both = first(band, 0) & first(band, later)
        return float(((first(second, 0) != first(second, later)) & both).sum() / both.sum().clamp(min=1))

    return torch.tensor([float(second.sum() / band.sum()), changes(1), changes(0)])


def pattern_name(signature: Tensor) -> str:
    """One of `PATTERNS` by rules on the signature [3]."""
    share, along, down = signature.tolist()
    if share < _PATTERNED and along + down < _TWO_TONES / 2:
        return "plain"  # what little there is, a handle say, is no pattern
    if along + down < _TWO_TONES:
        return "two-tone"
    if max(along, down) > _ONE_WAY * min(along, down):
        return "striped"
    return "dotted" if share < _DOTTED else "checked"
