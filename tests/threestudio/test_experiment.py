"""The draw of a run: concrete before anything is built, and the same at every later start and in every process."""

import json
import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest
import torch

from dreamdist3d.backbones import load_backbone
from dreamdist3d.errors import UserError
from dreamdist3d.prompts import PromptDistribution
from dreamdist3d.threestudio import draws
from tests.prompts.tiny import WIDTH


def processor_of(studio: ModuleType, config) -> object:
    """The processor as a system builds it."""
    return studio.find(config.system.prompt_processor_type)(config.system.prompt_processor)


def checkpoint_of(config) -> str:
    """Where the run's checkpoint is; what is in it is no matter here."""
    return str(Path(config.trial_dir) / "ckpts" / "last.ckpt")


def test_a_fresh_draw_is_concrete_in_the_configuration_and_in_the_folder(configure) -> None:
    config = configure()
    seed = config.system.prompt_processor.draw_seed
    assert isinstance(seed, int) and config.tag == f"cats-{seed}"
    assert Path(config.trial_dir).is_dir() and f"cats-{seed}@" in config.trial_dir
    assert configure().system.prompt_processor.draw_seed != seed


def test_a_given_seed_stays_and_joins_the_tag(configure) -> None:
    config = configure({"tag": "try", "use_timestamp": False}, draw_seed=5)
    assert config.system.prompt_processor.draw_seed == 5 and config.tag == "try-cats-5"
    assert Path(config.trial_dir) == Path("outputs/trial/try-cats-5")


@pytest.mark.parametrize("tag", ["", "..", "../../etc", "a/b", " ", "-", "x" * 300, "é" * 90, "nul\0byte"])
def test_a_tag_is_one_safe_folder_and_settles_at_once(configure, tag: str) -> None:
    first = configure({"tag": tag, "use_timestamp": False}, draw_seed=5)
    assert Path(first.trial_dir).parent == Path("outputs/trial") and Path(first.trial_dir).is_dir()
    assert first.tag.endswith("cats-5") and len(first.tag) < 200
    assert configure({"tag": first.tag, "use_timestamp": False}, draw_seed=5).tag == first.tag


@pytest.mark.parametrize("name", ["a b/..", "x" * 300, "."])
def test_a_plain_prompt_names_its_folder_safely_too(configure, name: str) -> None:
    config = configure({"use_timestamp": False, "tag": name}, distribution=None, prompt="red " * 3 + "/")
    assert Path(config.trial_dir).parent == Path("outputs/trial")
    assert config.system.prompt_processor.draw_seed is None


def test_resume_test_and_export_see_the_draw_of_training(studio: ModuleType, configure) -> None:
    trained = configure()
    embeddings = processor_of(studio, trained).text_embeddings_vd
    for top in ({"resume": checkpoint_of(trained)}, {"resume": checkpoint_of(trained), "timestamp": trained.timestamp}):
        again = configure(top)
        assert again.system.prompt_processor.draw_seed == trained.system.prompt_processor.draw_seed
        assert again.tag == trained.tag
        assert processor_of(studio, again).text_embeddings_vd.equal(embeddings)


def test_a_run_that_goes_on_elsewhere_takes_its_record_along(studio: ModuleType, configure) -> None:
    trained = configure()
    processor_of(studio, trained)
    elsewhere = configure({"resume": checkpoint_of(trained), "name": "other"})
    records = [Path(config.trial_dir) / draws.RECORD for config in (trained, elsewhere)]
    assert records[0] != records[1] and json.loads(records[0].read_text()) == json.loads(records[1].read_text())
    with pytest.raises(SystemExit, match="another draw on record"):
        processor_of(studio, configure({"resume": checkpoint_of(elsewhere), "name": "other"}, gamma=3.0))


def test_resume_refuses_another_draw_and_an_unknown_one(studio: ModuleType, configure) -> None:
    trained = configure(draw_seed=5)
    processor_of(studio, trained)
    with pytest.raises(SystemExit, match="trained with draw_seed=5, not 6"):
        configure({"resume": checkpoint_of(trained)}, draw_seed=6)
    with pytest.raises(SystemExit, match="the draw of .* is unknown"):
        configure({"resume": "nowhere/ckpts/last.ckpt"})


def test_ranks_share_the_draw_of_the_first(configure, monkeypatch: pytest.MonkeyPatch) -> None:
    seed = configure({"use_timestamp": False}).system.prompt_processor.draw_seed
    # Lightning starts the others with this process's environment and their rank.
    monkeypatch.setenv("LOCAL_RANK", "1")
    for _ in range(2):
        assert configure({"use_timestamp": False}).system.prompt_processor.draw_seed == seed


def test_a_process_really_started_from_this_one_gets_the_draw(configure) -> None:
    seed = configure().system.prompt_processor.draw_seed
    asked = "from dreamdist3d.threestudio.draws import shared_seed; print(shared_seed())"
    environment = {**os.environ, "LOCAL_RANK": "1"}
    found = subprocess.run([sys.executable, "-c", asked], env=environment, capture_output=True, text=True, check=True)
    assert int(found.stdout) == seed


@pytest.mark.parametrize("variable", ["RANK", "LOCAL_RANK", "SLURM_PROCID", "NODE_RANK"])
def test_ranks_started_from_outside_need_a_seed(configure, monkeypatch: pytest.MonkeyPatch, variable: str) -> None:
    monkeypatch.setenv(variable, "3")
    with pytest.raises(SystemExit, match="draw_seed=NUMBER"):
        configure()
    assert configure(draw_seed=4).system.prompt_processor.draw_seed == 4


def test_mistakes_end_it_before_anything_is_built(configure, tmp_path: Path, tiny_backbone: Path) -> None:
    other = tmp_path / "other.safetensors"
    known = load_backbone(str(tiny_backbone)).fingerprint
    PromptDistribution(torch.zeros(3, 2, WIDTH), "low_rank", known[::-1]).save(other)
    mistakes = {
        "no.safetensors does not exist": {"distribution": "no.safetensors"},
        "another text encoder": {"distribution": str(other)},
        "too long": {"prefix": "a photo of", "suffix": "at night"},
        "Did you mean gamma": {"gama": 2.0},
        "gamma wants a number": {"gamma": "much"},
        "prompt_side is a plain text": {"prompt_side": "a cat"},
        "one of blend, mixture": {"composition": "sum"},
        "draw_seed=-1": {"draw_seed": -1},
        "nothing to make": {"distribution": None},
        "weights are for several": {"weights": [1.0]},
        "neither one of": {"pretrained_model_name_or_path": str(tmp_path / "nothing")},
    }
    for part, changes in mistakes.items():
        with pytest.raises(SystemExit) as ended:
            configure(**changes)
        line = str(ended.value)
        assert line.startswith("error: ") and part in line and "\n" not in line


def trained(configure, studio, tag="", **changes):
    """A run whose draw is on record, as a system that builds its processor leaves it."""
    config = configure({"tag": tag}, **changes)
    processor_of(studio, config)
    return config


def again(configure, config, **changes):
    """The documented resume: the run's own snapshot, and its checkpoint."""
    top = {name: config[name] for name in ("tag", "timestamp", "use_timestamp")}
    return configure(top | {"resume": checkpoint_of(config)}, **changes)


@pytest.mark.parametrize("changes", [{"gamma": 2.0}, {"suffix": "red"}, {"antithetic": True}, {"distribution": None}])
def test_another_draw_than_the_runs_is_refused_before_anything_is_written(studio, configure, changes) -> None:
    """At every stage: some systems build no processor for a test or an export."""
    config = trained(configure, studio, draw_seed=5)
    before = sorted(Path("outputs").rglob("*"))
    if changes == {"distribution": None}:
        changes = changes | {"prompt": "a cat"}
    with pytest.raises(SystemExit, match="dreamdist3d.json has another d"):
        again(configure, config, **changes)
    with pytest.raises(SystemExit, match="dreamdist3d.json has another d"):  # resumed into a folder of its own
        configure({"tag": "elsewhere", "resume": checkpoint_of(config)}, **changes)
    assert sorted(Path("outputs").rglob("*")) == before
    assert again(configure, config).trial_dir == config.trial_dir


def test_a_renamed_distribution_stays_in_the_runs_folder(studio, configure, tiny_distribution, tmp_path) -> None:
    config = trained(configure, studio, tag="mine")
    renamed = tmp_path / "felines.safetensors"
    renamed.write_bytes(tiny_distribution.read_bytes())
    resumed = again(configure, config, distribution=str(renamed))
    assert resumed.trial_dir == config.trial_dir and resumed.tag == config.tag
    processor_of(studio, resumed)
    assert len(list(Path("outputs/trial").iterdir())) == 1


def test_what_cannot_work_leaves_no_folder_and_no_other_line(configure, section, caplog, capfd) -> None:
    long = " ".join(["cat"] * 100)
    for changes in ({"negative_prompt": long}, {"suffix": long}, {"prompt": long, "distribution": None}):
        with pytest.raises(SystemExit, match="tokens too long") as ended:
            configure(**changes)
        assert ("system.prompt_processor.negative_prompt=" in str(ended.value)) == ("negative_prompt" in changes)
    assert not Path("outputs").exists()
    assert not caplog.records and capfd.readouterr() == ("", "")


def test_an_empty_negative_prompt_is_none(studio, configure) -> None:
    """`negative_prompt=` on the command line is read as null."""
    config = configure(negative_prompt=None, draw_seed=5)
    assert config.system.prompt_processor.negative_prompt == ""
    found, plain = processor_of(studio, config)(), processor_of(studio, configure(negative_prompt="", draw_seed=5))()
    assert torch.equal(found.uncond_text_embeddings, plain.uncond_text_embeddings)


def test_a_configuration_that_reads_the_environment_is_refused(studio, configure, monkeypatch) -> None:
    """Resolved, it would be kept in files that are passed on; configurations of others are left alone."""
    monkeypatch.setenv("TOKEN", "secret")
    with pytest.raises(SystemExit, match=r"oc\.env:TOKEN") as ended:
        configure({"tag": "${oc.env:TOKEN}"})
    assert "secret" not in str(ended.value) and not Path("outputs").exists()
    other = {"prompt_processor_type": "stable-diffusion-prompt-processor", "prompt_processor": {"prompt": "a"}}
    assert studio.load_config({"name": "trial", "tag": "${oc.env:TOKEN}", "system": other}).tag == "secret"
    assert configure(draw_seed=5).tag == "cats-5"


def test_a_record_of_an_earlier_version_left_out_the_first_component(tmp_path) -> None:
    identity = {"draw": {"seed": 1, "component": 0}, "distribution": {"sha256": "a"}}
    record = tmp_path / "dreamdist3d.json"
    record.write_text(json.dumps(identity | {"draw": {"seed": 1}}))
    draws.check(record, identity)
    with pytest.raises(UserError, match="component was None, now 1"):
        draws.check(record, identity | {"draw": {"seed": 1, "component": 1}})


def test_a_view_direction_alone_can_make_a_prompt_too_long(configure) -> None:
    # Eleven words fit, and with ", overhead view" behind them they do not.
    with pytest.raises(SystemExit, match="too long .*overhead view"):
        configure(suffix="at night red")


def test_configurations_of_other_prompt_processors_are_left_alone(studio: ModuleType, configure) -> None:
    system = {"prompt_processor_type": "stable-diffusion-prompt-processor", "prompt_processor": {"prompt": "a/b"}}
    config = studio.load_config({"name": "trial", "tag": "a", "system": system})
    assert config.tag == "a" and config.system.prompt_processor == {"prompt": "a/b"}


@pytest.mark.parametrize("prompt", [None, "???"])
def test_a_prompt_that_a_configuration_demands_need_not_be_given(studio: ModuleType, configure, prompt) -> None:
    config = configure({"tag": None}, prompt=prompt, draw_seed=5)
    assert config.tag == "cats-5" and processor_of(studio, config).text_embeddings_vd.shape[0] == 4


def test_a_missing_section_is_named(studio: ModuleType, configure) -> None:
    with pytest.raises(SystemExit, match="system.prompt_processor is missing"):
        studio.load_config({"name": "trial", "system": {"prompt_processor_type": "dreamdist3d-prompt-processor"}})
