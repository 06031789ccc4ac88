"""The folder of a run, and what makes a second start the same run."""

import json
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from dreamdist3d.config import PromptProcessorConfig, RunConfig, SystemConfig
from dreamdist3d.errors import UserError
from dreamdist3d.runs.manifest import Manifest
from dreamdist3d.runs.trial import Trial, locate


def config_for(root: Path, tag: str = "", resume: str | None = None, **processor: object) -> RunConfig:
    system = SystemConfig(prompt_processor=PromptProcessorConfig(**processor))
    return RunConfig(name="cats", tag=tag, exp_root_dir=str(root), resume=resume, system=system)


def begun(config: RunConfig) -> Trial:
    """The folder as a first start leaves it, with a checkpoint."""
    trial, concrete = locate(config)
    processor = concrete.system.prompt_processor
    source = {"path": "/elsewhere/cats.safetensors", "sha256": "0"} if processor.distribution else None
    trial.last_checkpoint.parent.mkdir(parents=True)
    trial.last_checkpoint.touch()
    Manifest(state="stopped", distribution=source, config=asdict(concrete)).save(trial.manifest_path)
    return trial


def seed_of(config: RunConfig) -> int | None:
    return locate(config)[1].system.prompt_processor.draw_seed


def test_every_start_without_a_tag_is_a_new_draw_in_a_new_folder(tmp_path: Path) -> None:
    config = config_for(tmp_path, distribution="some/my cats!.safetensors")
    (first, one), (second, two) = locate(config), locate(config)
    seeds = [c.system.prompt_processor.draw_seed for c in (one, two)]
    assert seeds[0] != seeds[1] and all(0 <= seed < 2**31 for seed in seeds)
    assert first.folder == tmp_path / "cats" / f"my-cats-{seeds[0]}" and one.tag == first.folder.name
    assert second.folder != first.folder


def test_a_given_draw_seed_is_kept(tmp_path: Path) -> None:
    trial, config = locate(config_for(tmp_path, distribution="cats.safetensors", draw_seed=5))
    assert config.system.prompt_processor.draw_seed == 5 and trial.folder.name == "cats-5"


def test_a_text_has_no_draw(tmp_path: Path) -> None:
    trial, config = locate(config_for(tmp_path, prompt="a cat / on ../ a mat"))
    assert config.system.prompt_processor.draw_seed is None
    assert trial.folder == tmp_path / "cats" / "a-cat-on-..-a-mat-0"


@pytest.mark.parametrize("tag", ["../../out", "/etc", "..", "a/b", ".hidden"])
def test_no_tag_leaves_the_root(tag: str, tmp_path: Path) -> None:
    trial, _ = locate(config_for(tmp_path, tag=tag, prompt="cat"))
    assert trial.folder.parent == tmp_path / "cats" and not trial.folder.name.startswith(".")


def test_the_same_tag_and_resume_recall_the_draw(tmp_path: Path) -> None:
    config = config_for(tmp_path, tag="one", distribution="cats.safetensors")
    trial = begun(config)
    seed = Manifest.load(trial.manifest_path).config["system"]["prompt_processor"]["draw_seed"]
    assert seed_of(config) == seed
    again = replace(config, tag="", resume=str(trial.last_checkpoint))
    assert locate(again)[0] == trial and seed_of(again) == seed


def test_without_a_prompt_the_recorded_one_is_recalled(tmp_path: Path) -> None:
    trial = begun(config_for(tmp_path, tag="one", distribution="cats.safetensors", gamma=2.0, suffix=" at night"))
    found, config = locate(config_for(tmp_path, resume=str(trial.last_checkpoint)))
    processor = config.system.prompt_processor
    assert (processor.distribution, processor.gamma, processor.suffix) == (
        "/elsewhere/cats.safetensors",
        2.0,
        " at night",
    )
    assert found == trial


@pytest.mark.parametrize("change", [{"draw_seed": 6}, {"gamma": 2.0}, {"suffix": " at night"}, {"prompt": "a dog"}])
def test_another_prompt_in_the_same_folder_is_an_error(change: dict, tmp_path: Path) -> None:
    config = config_for(tmp_path, tag="one", distribution="cats.safetensors", draw_seed=5)
    begun(config)
    processor = replace(config.system.prompt_processor, **change)
    with pytest.raises(UserError, match=rf"system\.prompt_processor\.{next(iter(change))}=.*another tag"):
        locate(replace(config, system=replace(config.system, prompt_processor=processor)))


def test_resume_must_be_a_checkpoint_of_a_run(tmp_path: Path) -> None:
    stray = tmp_path / "ckpts" / "last.ckpt"
    stray.parent.mkdir()
    stray.touch()
    for path in (stray, tmp_path / "none.ckpt"):
        with pytest.raises(UserError, match="is no checkpoint of a run"):
            locate(config_for(tmp_path, resume=str(path)))


def test_a_folder_has_one_worker_at_a_time(tmp_path: Path) -> None:
    trial = Trial(tmp_path / "run")
    with trial.locked(), pytest.raises(UserError, match=r"process \d+ is at work"), trial.locked():
        pass
    with trial.locked():
        assert trial.folder.is_dir()


def test_a_file_in_the_way_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "cats").touch()
    trial, _ = locate(config_for(tmp_path, tag="one", prompt="cat"))
    with pytest.raises(UserError, match="cannot write in"), trial.locked():
        pass


@pytest.mark.parametrize("record", [{"config": {"system": 3}}, {"config": {"system": {"prompt_processor": []}}}, {}])
def test_a_record_that_is_none_is_one_line(record: dict, tmp_path: Path) -> None:
    trial = begun(config_for(tmp_path, tag="one", distribution="cats.safetensors"))
    trial.manifest_path.write_text(json.dumps(record))
    with pytest.raises(UserError, match=r"run\.json: system\.prompt_processor"):
        locate(config_for(tmp_path, tag="one", distribution="cats.safetensors"))


def test_a_linked_folder_in_a_run_is_refused_and_what_a_killed_process_left_is_removed(tmp_path: Path) -> None:
    trial = Trial(tmp_path / "run")
    (trial.folder / "export").mkdir(parents=True)
    left = trial.folder / "export" / ".model.glb.abc.part.glb"
    left.touch()
    with trial.locked():
        assert not left.exists()
    (trial.folder / "save").symlink_to(tmp_path)
    with pytest.raises(UserError, match="run/save is a link"), trial.locked():
        pass
