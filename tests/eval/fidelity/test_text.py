import pytest
import torch

from dreamdist3d.eval.fidelity import text_similarity


def test_equals_the_cosine_of_each_view():
    generator = torch.Generator().manual_seed(0)
    features, text = torch.randn(3, 4, 6, generator=generator), torch.randn(6, generator=generator)
    expected = torch.nn.functional.cosine_similarity(features, text, dim=-1).mean(dim=1)
    torch.testing.assert_close(text_similarity(features, text), expected.double(), atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize(("shape", "message"), [((0, 4, 6), "at least one"), ((2, 4, 5), "5 numbers")])
def test_what_does_not_compare_is_refused(shape, message):
    with pytest.raises(ValueError, match=message):
        text_similarity(torch.ones(shape), torch.ones(6))
