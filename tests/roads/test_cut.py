"""Backgrounds removed from pictures whose truth is known."""

import sys
from types import ModuleType

import numpy as np
import pytest
import torch
from PIL import Image

from dreamdist3d.errors import UserError
from dreamdist3d.roads import cut
from dreamdist3d.roads.cut import cut_out

SIZE = 32


def disc(radius: float = 0.6, hole: float = 0.0) -> torch.Tensor:
    """Coverage [S, S] of a disc with a hole, antialiased."""
    fine = 4 * SIZE
    place = (torch.arange(fine) + 0.5) * 2 / fine - 1
    away = (place[:, None].square() + place[None].square()).sqrt()
    return ((away < radius) & (away >= hole)).float().view(SIZE, 4, SIZE, 4).mean(dim=(1, 3))


def over(alpha: torch.Tensor, color, background) -> torch.Tensor:
    """[1, 3, S, S]."""
    color, background = (torch.as_tensor(c).float().view(3, 1, 1) for c in (color, background))
    return torch.lerp(background.expand(3, SIZE, SIZE), color.expand(3, SIZE, SIZE), alpha)[None]


@pytest.mark.parametrize("background", [(1.0, 1.0, 1.0), (0.5, 0.5, 0.5), (0.1, 0.6, 0.2)])
def test_alpha_and_colours_of_a_disc_on_one_colour(background) -> None:
    alpha, color = disc(), torch.tensor([0.8, 0.2, 0.1])
    noise = 0.01 * torch.randn(1, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(0))
    found = cut_out(over(alpha, color, background) + noise, "plain")
    assert found.how == {"plain": 1}
    assert (found.alpha[0] - alpha).abs().mean() < 0.03
    assert ((found.alpha[0] > 0.5) == (alpha > 0.5)).float().mean() > 0.96
    inside = found.rgb[0][:, alpha > 0.4].t()
    assert (inside - color).abs().max() < 0.15  # at the edges too, where the background shone through


def test_what_is_coloured_like_the_background_inside_stays_and_a_hole_does_not() -> None:
    ring, background = disc(0.7, 0.35), 0.5
    hole = over(ring, (0.9, 0.1, 0.1), [background] * 3)
    alike = hole + 0.079 * (disc(0.35) > 0.9)  # gray matter in the middle of the ring, nearly the background's
    middle = (slice(SIZE // 2 - 3, SIZE // 2 + 3),) * 2
    assert cut_out(hole, "plain").alpha[0][middle].max() == 0
    assert cut_out(alike, "plain").alpha[0][middle].min() == 1


def test_specks_are_dropped() -> None:
    picture = over(disc(), (0.2, 0.2, 0.9), (1, 1, 1))
    picture[0, :, 1, 1] = 0.0
    assert cut_out(picture, "plain").alpha[0, :3, :3].max() == 0


def test_a_cut_that_leaves_nothing_is_one_line() -> None:
    full, empty = over(disc(), (0.2, 0.2, 0.9), (1, 1, 1)), torch.ones(1, 3, SIZE, SIZE)
    with pytest.raises(UserError, match=r"nothing of 1 of 2 views.*system\.lift\.views\.cut=rembg"):
        cut_out(torch.cat([full, empty]), "plain")


def textured() -> torch.Tensor:
    """A disc on a busy background."""
    behind = torch.rand(3, SIZE, SIZE, generator=torch.Generator().manual_seed(3))
    return torch.lerp(behind, torch.tensor([0.9, 0.2, 0.2])[:, None, None].expand_as(behind), disc())[None]


def test_without_rembg_a_busy_background_is_named() -> None:
    assert cut_out(textured(), "auto").how == {"plain": 1, "not_plain": 1}
    with pytest.raises(UserError, match=r"pip install 'dreamdist3d\[rembg\]'"):
        cut_out(textured(), "rembg")


def test_rembg_is_asked_where_the_background_is_not_plain(monkeypatch: pytest.MonkeyPatch) -> None:
    """A stand-in with rembg's own two functions; its network cannot be had here."""
    asked = []

    def remove(image, session, only_mask):
        asked.append((image.size, session, only_mask))
        return Image.fromarray((disc() * 255).byte().numpy())

    stand_in = ModuleType("rembg")
    stand_in.remove, stand_in.new_session = remove, lambda: "a session"
    monkeypatch.setitem(sys.modules, "rembg", stand_in)
    monkeypatch.setattr(cut, "_has_rembg", lambda: True)
    cut._session.cache_clear()
    plain = over(disc(), (0.2, 0.2, 0.9), (1, 1, 1))
    found = cut_out(torch.cat([plain, textured()]), "auto")
    assert found.how == {"plain": 1, "rembg": 1} and asked == [((SIZE, SIZE), "a session", True)]
    np.testing.assert_allclose(found.alpha[1].numpy(), disc().numpy(), atol=1 / 255)
    cut._session.cache_clear()
