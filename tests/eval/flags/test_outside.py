import torch

from dreamdist3d.eval.fidelity import inside_balls
from dreamdist3d.eval.flags import outside_manifold


def test_an_asset_is_outside_if_none_of_its_views_is_inside():
    generator = torch.Generator().manual_seed(0)
    references, features = torch.randn(20, 3, generator=generator), torch.randn(30, 4, 3, generator=generator) * 2
    outside = outside_manifold(features, references)
    for views, flag in zip(features, outside.tolist(), strict=True):
        assert flag == (not inside_balls(references, views).any())
    assert 0 < int(outside.sum()) < 30


def test_noise_is_outside_and_references_are_inside():
    generator = torch.Generator().manual_seed(1)
    references = torch.randn(20, 6, generator=generator) * 0.1 + 1
    noise = torch.randn(1, 4, 6, generator=generator) * 5
    assert outside_manifold(torch.cat([references[None, :4], noise]), references).tolist() == [False, True]
