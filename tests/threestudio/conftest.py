"""The extension, loaded as threestudio's launch.py loads it, over the minimal threestudio of `minimal.py`."""

import sys
from collections.abc import Callable, Iterator
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from dreamdist3d.threestudio.install import NAME, extension_folder

Configure = Callable[..., Any]


def _load(name: str, path: Path) -> ModuleType:
    spec = spec_from_file_location(name, path)
    module = module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def studio() -> Iterator[ModuleType]:
    """The minimal threestudio with the extension in it."""
    before = set(sys.modules)
    minimal = _load("threestudio", Path(__file__).with_name("minimal.py"))
    sys.modules.update(dict.fromkeys(minimal.NAMES, minimal))
    _load(NAME, extension_folder() / "__init__.py")
    yield minimal
    for name in set(sys.modules) - before:
        if name.partition(".")[0] in ("threestudio", NAME):
            del sys.modules[name]


@pytest.fixture
def section(tiny_backbone: Path, tiny_distribution: Path) -> dict[str, Any]:
    """The prompt processor's keys for the tiny backbone."""
    return {
        "pretrained_model_name_or_path": str(tiny_backbone),
        "distribution": str(tiny_distribution),
        "draw_seed": None,
    }


@pytest.fixture
def configure(
    studio: ModuleType, section: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Configure:
    """A function that reads a configuration as launch.py does; its keywords change the prompt section."""
    from dreamdist3d.threestudio.draws import SEED_VARIABLE

    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv(SEED_VARIABLE, "0")  # so that what is set in a test is taken back after it
    monkeypatch.delenv(SEED_VARIABLE)

    def read(top: dict[str, Any] | None = None, **changes: Any) -> Any:
        system = {"prompt_processor_type": "dreamdist3d-prompt-processor", "prompt_processor": section | changes}
        return studio.load_config({"name": "trial", "system": system, **(top or {})})

    return read
