"""What baselines can be told."""

from types import SimpleNamespace
from typing import get_args, get_type_hints

import pytest

from dreamdist3d.baselines import BaselineConfig, preset
from dreamdist3d.baselines.settings import METHODS, TUNED, USED
from dreamdist3d.cli.baselines import BaselineSettings
from dreamdist3d.errors import UserError

MINI, FULL = SimpleNamespace(image_size=64), SimpleNamespace(image_size=512)


@pytest.mark.parametrize("backbone", [MINI, FULL])
@pytest.mark.parametrize("method", METHODS)
def test_every_method_has_a_preset(backbone, method):
    words = {"words": ("mushroom",)} if "words" in USED[method] else {}
    config = preset(backbone, method, **words, **({"seed": 7} if "seed" in USED[method] else {}))
    assert config.method == method and config.seed == (7 if "seed" in USED[method] else 0)


def test_full_size_presets_are_those_of_the_published_code():
    assert preset(FULL, "dreambooth", words=("dog",)).lr == 5e-6
    assert preset(FULL, "dreambooth-lora", words=("dog",)).lr == 1e-4
    assert preset(FULL, "custom-diffusion", words=("dog",)).prior == 200


@pytest.mark.parametrize(
    "values,said",
    [
        ({"steps": 0}, "steps=0"),
        ({"lr": float("nan")}, "lr=nan"),
        ({"noise": -1.0}, "noise=-1.0"),
        ({"copies": 1}, "copies=1"),
        ({"seed": -1}, "seed=-1"),
        ({"words": (" ",)}, "words are empty"),
        ({"method": "hope"}, "no baseline 'hope'.*textual-inversion"),
        ({"method": "words"}, 'words "a mushroom"'),
        ({"method": "dreambooth"}, "dreambooth needs the class"),
        ({"method": "ip-adapter"}, "ip-adapter needs one prompt"),
        ({"method": "custom-diffusion", "words": ("a", "b")}, r"once: .* \(2 were given\)"),
        ({"method": "dreambooth", "words": ("a",), "prior": -1}, "prior=-1"),
    ],
)
def test_what_is_out_of_range_is_named(values, said):
    with pytest.raises(UserError, match=said):
        BaselineConfig(**{"method": "textual-inversion", **values})


def test_a_setting_without_a_use_is_refused():
    with pytest.raises(UserError, match="rank means nothing to textual-inversion: it is for dreambooth-lora"):
        preset(MINI, "textual-inversion", rank=4)


def test_the_command_offers_all_settings():
    offered = get_type_hints(BaselineSettings)
    assert offered.keys() == get_type_hints(BaselineConfig).keys() - {"method"}
    assert {name for used in USED.values() for name in used} == offered.keys()
    assert set(USED) == set(METHODS) and set(TUNED) < set(METHODS)
    for name, annotation in get_type_hints(BaselineConfig).items():
        assert name == "method" or annotation in get_args(offered[name])
