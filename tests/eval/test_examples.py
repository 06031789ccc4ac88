import doctest
import importlib
import pkgutil

import pytest

import dreamdist3d.eval

METRICS = ("diversity", "fidelity", "flags", "statistics")
# Their weights are nobody's to ship, so that their docstrings have no example that runs.
WITHOUT = ("lpips", "inception")


def modules():
    for room in METRICS:
        package = importlib.import_module(f"dreamdist3d.eval.{room}")
        for info in pkgutil.iter_modules(package.__path__, f"{package.__name__}."):
            yield info.name


@pytest.mark.parametrize("name", [*modules(), "dreamdist3d.eval.features.cache"])
def test_examples_in_docstrings_hold(name):
    import numpy as np
    import torch

    module = importlib.import_module(name)
    result = doctest.testmod(module, extraglobs={"torch": torch, "np": np})
    assert result.attempted or name.endswith(WITHOUT)
    assert not result.failed


def test_every_room_of_metrics_is_looked_at():
    assert {name.split(".")[2] for name in modules()} == set(METRICS)
    assert dreamdist3d.eval.__doc__
