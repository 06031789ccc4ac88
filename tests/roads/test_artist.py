"""What is put behind drawn objects, and when."""

import torch

from dreamdist3d.roads.artist import Backdrops, Order, backdrop_for
from dreamdist3d.roads.views import first_cameras
from tests.roads.fakes import SIZE, condition, knowing_backbone, road


def discs(color: tuple[float, float, float], behind: float) -> torch.Tensor:
    """[4, 3, S, S] in [0, 1]."""
    unet = knowing_backbone().unet
    pictures = unet.pictures(torch.tensor([color] * 4)) / 2 + 0.5
    disc = (pictures - 0.5).abs().amax(dim=1, keepdim=True) > 1e-6
    return torch.where(disc, pictures, behind)


def test_the_backdrop_is_the_first_colour_that_the_object_has_hardly_any_of() -> None:
    def chosen(*shares: tuple[tuple[float, float, float], int]) -> list[float]:
        colors = torch.cat([torch.tensor(color).expand(count, 3) for color, count in shares])
        return backdrop_for(colors.t()[None, :, None], torch.ones(1, 1, len(colors), dtype=torch.bool)).tolist()

    assert chosen(((0.9, 0.1, 0.1), 100)) == [1, 1, 1]
    assert chosen(((0.9, 0.9, 0.9), 100)) == [0.5, 0.5, 0.5]
    assert chosen(((1.0, 1.0, 1.0), 50), ((0.5, 0.5, 0.4), 50)) == [0, 0, 0]
    everything = ((1.0, 1.0, 1.0), 30), ((0.5, 0.5, 0.4), 30), ((0.1, 0.0, 0.0), 30)
    assert chosen(*everything) == [1, 0, 1] and chosen(*everything, ((0.9, 0.1, 0.9), 30)) == [0, 1, 0]
    assert chosen(((0.9, 0.9, 0.9), 1), ((0.5, 0.5, 0.5), 999)) == [1, 1, 1]  # a speck does not count


def test_backdrops_are_put_in_order_at_their_time_and_only_plain_ones() -> None:
    backbone = knowing_backbone()
    cameras = first_cameras(road().lift.data, 4, 15.0)
    orders = [Order(condition(1.0, 1.0, 1.0), cameras, torch.Generator())] * 2
    busy = torch.rand(4, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(0))
    clean = backbone.encode_images(torch.cat([discs((1.0, 1.0, 1.0), 0.55), busy]) * 2 - 1)
    backdrops = Backdrops(backbone, orders, 25)
    assert backdrops(clean, 9) is clean
    ordered = backbone.decode_latents(backdrops(clean, 10)) / 2 + 0.5
    torch.testing.assert_close(ordered[:4], discs((1.0, 1.0, 1.0), 0.5), atol=1e-5, rtol=0)
    torch.testing.assert_close(ordered[4:], busy, atol=1e-5, rtol=0)
