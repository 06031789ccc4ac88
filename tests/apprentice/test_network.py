"""The network: exact in what must not matter, and dependent on what must."""

import pytest
import torch

from dreamdist3d.apprentice.network import Apprentice, ApprenticeConfig, homes_of

CONFIG = ApprenticeConfig(
    patches=4, features=6, embedding=5, scale=0.02, tokens=3, width=16, heads=2, picture_layers=1, set_layers=1,
    decoder_layers=1,
)  # fmt: skip


@pytest.fixture(scope="module")
def apprentice():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return Apprentice(CONFIG).double().eval()


def pictures(clusters: int, count: int) -> torch.Tensor:
    return torch.randn(clusters, count, 4, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(count))


@pytest.mark.parametrize("count", [1, 2, 7, 100])
def test_any_number_of_pictures_makes_a_prompt_for_each(apprentice, count):
    tokens = apprentice(pictures(2, count))
    assert tokens.shape == (2, count, 3, 5)
    assert torch.isfinite(tokens).all()


def test_clusters_of_a_step_do_not_see_one_another(apprentice):
    both = pictures(2, 5)
    torch.testing.assert_close(apprentice(both)[1], apprentice(both[1:])[0], atol=1e-12, rtol=0)


def test_the_order_of_the_pictures_only_orders_the_prompts(apprentice):
    shown, order = pictures(1, 6), torch.tensor([3, 0, 5, 1, 4, 2])
    torch.testing.assert_close(apprentice(shown[:, order]), apprentice(shown)[:, order], atol=1e-12, rtol=0)


def test_a_prompt_looks_at_the_patches_of_its_home_and_at_all_summaries(apprentice):
    patches, summaries = (part.detach().requires_grad_() for part in apprentice.encode(pictures(1, 4)))
    wanted = apprentice.decode(patches, summaries)[0, 1].square().sum()
    of_patches, of_summaries = torch.autograd.grad(wanted, (patches, summaries))
    assert torch.equal(of_patches[0].flatten(1).norm(dim=1) > 0, torch.tensor([False, True, False, False]))
    assert (of_summaries[0].norm(dim=1) > 0).all()


def test_prompts_of_one_home_are_equal(apprentice):
    tokens = apprentice(pictures(1, 3), homes_of(7, 3)[None])[0]
    assert torch.equal(homes_of(7, 3), torch.tensor([0, 1, 2, 0, 1, 2, 0]))
    torch.testing.assert_close(tokens[3:6], tokens[:3], atol=1e-12, rtol=0)


def test_tokens_are_as_large_as_words(apprentice):
    assert 0.3 < float(apprentice(pictures(8, 6)).detach().std()) / CONFIG.scale < 3
