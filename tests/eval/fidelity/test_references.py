import pytest
import torch

from dreamdist3d.eval.fidelity import reference_similarity


def test_equals_brute_force():
    generator = torch.Generator().manual_seed(0)
    assets = torch.randn(3, 4, 6, generator=generator, dtype=torch.float64)
    references = torch.randn(5, 6, generator=generator, dtype=torch.float64)
    result = reference_similarity(assets, references)
    for index, views in enumerate(assets):
        table = torch.nn.functional.cosine_similarity(views[:, None], references[None], dim=-1)  # [V, R]
        assert float(result.per_asset[index]) == pytest.approx(float(table.mean()), abs=1e-12)
        assert float(result.nearest[index]) == pytest.approx(float(table.mean(0).max()), abs=1e-12)
        assert int(result.nearest_reference[index]) == int(table.mean(0).argmax())
    assert result.mean == pytest.approx(float(result.per_asset.mean()), abs=1e-12)


def test_a_copied_reference_is_found():
    references = torch.eye(4)
    result = reference_similarity(references[2].expand(1, 4, 4), references)
    assert result.nearest.tolist() == [1.0] and result.nearest_reference.tolist() == [2]
    assert result.mean == pytest.approx(0.25)


@pytest.mark.parametrize("shapes", [((0, 4, 2), (3, 2)), ((1, 4, 2), (0, 2))])
def test_nothing_to_compare_is_refused(shapes):
    with pytest.raises(ValueError, match="at least one"):
        reference_similarity(torch.ones(shapes[0]), torch.ones(shapes[1]))
