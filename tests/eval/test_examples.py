import doctest

import pytest

from dreamdist3d.eval import diversity, fidelity


@pytest.mark.parametrize("module", [diversity, fidelity])
def test_examples_in_docstrings_hold(module):
    import torch

    result = doctest.testmod(module, extraglobs={"torch": torch})
    assert result.attempted and not result.failed
