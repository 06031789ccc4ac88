"""One YAML, both engines."""

from dataclasses import is_dataclass
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

import pytest

from dreamdist3d.config import RunConfig, load_config
from dreamdist3d.threestudio.translate import HONOURED, ignored_keys, native_only, translate
from dreamdist3d.typed import annotation_of, known_keys

MVDREAM = "dreamdist3d/mvdream.yaml"
FOLDER = Path("/runs/trial/cats-5@20260101-000000")
# The parts of the folder's name, and what is another value only together with others.
_BY_FOLDER = {"name", "tag", "exp_root_dir"}
_OTHER = {
    "data.n_view": "2",
    "export.formats": "[glb]",
    "export.height_m": "1.8",
    "export.preset": "web",
    "system.device": "cpu",
    "system.geometry.level_start": "[0,0,0,0,0]",
    "system.prompt_processor.distribution": "x.safetensors",
}


def leaves() -> list[str]:
    return [key for key in known_keys(RunConfig) if not is_dataclass(value_of(RunConfig(), key))]


def value_of(config: Any, key: str) -> Any:
    for name in key.split("."):
        config = getattr(config, name)
    return config


def other_value(key: str) -> str:
    """Another valid value of a key, as it is written on a command line."""
    value, annotation = value_of(RunConfig(), key), annotation_of(RunConfig, key)
    if key in _OTHER:
        return _OTHER[key]
    if get_origin(annotation) is Literal:
        return next(choice for choice in get_args(annotation) if choice != value)
    if isinstance(value, bool):
        return str(not value).lower()
    if isinstance(value, tuple):
        return f"[{','.join(_moved(number) for number in value)}]"
    if isinstance(value, int | float):
        return _moved(value)
    return (
        "[0.5,0.5]" if list[float] in get_args(annotation) else "7" if {int, float} & {*get_args(annotation)} else "x"
    )


def _moved(number: float) -> str:
    return str(2 * number + (number == 0)) if isinstance(number, int) else str(number / 2 or 0.1)


def translated(*overrides: str) -> dict[str, Any]:
    return translate(load_config(MVDREAM, overrides), FOLDER)


@pytest.mark.parametrize("key", sorted(set(leaves()) - _BY_FOLDER - {"system.engine"}))
def test_a_key_changes_the_translation_exactly_when_it_is_said_to(key: str) -> None:
    override = f"{key}={other_value(key)}"
    assert value_of(load_config(MVDREAM, [override]), key) != value_of(load_config(MVDREAM), key)
    assert (translated(override) == translated()) == (key in set(native_only()))


def test_every_honoured_key_exists() -> None:
    assert set(known_keys(RunConfig)) >= HONOURED


def test_what_is_not_honoured_is_named_when_it_is_set() -> None:
    assert ignored_keys(load_config(MVDREAM)) == []
    overrides = ["system.loss.tv=1", "system.device=cpu", "system.guidance.guidance_scale=3"]
    assert ignored_keys(load_config(MVDREAM, overrides)) == ["system.device", "system.loss.tv"]


def test_the_shipped_values_are_the_extensions_own() -> None:
    """The extension's mvdream.yaml and the package's say the same where they say it in the same words."""
    from omegaconf import OmegaConf

    from dreamdist3d.threestudio.install import extension_folder

    own = OmegaConf.to_container(OmegaConf.load(extension_folder() / "configs" / "mvdream.yaml"))
    ours = translated()
    assert {key: own["data"][key] for key in ours["data"]} == ours["data"]
    for key in ("guidance_scale", "recon_loss", "recon_std_rescale", "min_step_percent", "max_step_percent"):
        assert own["system"]["guidance"][key] == ours["system"]["guidance"][key]
    negative = own["system"]["prompt_processor"]["negative_prompt"]
    assert negative == ours["system"]["prompt_processor"]["negative_prompt"]


def test_the_run_folder_is_put_together_from_its_parts() -> None:
    tree = translated()
    parts = Path(tree["exp_root_dir"]) / tree["name"] / (tree["tag"] + tree["timestamp"])
    assert parts == FOLDER
    without_time = translate(load_config(MVDREAM), FOLDER.with_name("cats-5"))
    assert (without_time["tag"], without_time["timestamp"]) == ("cats-5", "")


def test_paths_hold_from_threestudios_own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("weights", "sd21"):
        Path(name).mkdir()
    tree = translated("system.backbone=weights", "system.prompt_processor.distribution=[a.safetensors,b.safetensors]")
    section = tree["system"]["prompt_processor"]
    assert section["distribution"] == [str(tmp_path / "a.safetensors"), str(tmp_path / "b.safetensors")]
    assert section["pretrained_model_name_or_path"] == str(tmp_path / "weights")
    # A name is a name, whatever lies here.
    assert translated("system.backbone=sd21")["system"]["prompt_processor"]["pretrained_model_name_or_path"] == "sd21"
