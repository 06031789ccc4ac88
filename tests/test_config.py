"""Configurations: files, overrides, messages."""

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from dreamdist3d.config import ExportConfig, RunConfig, find_config, load_config, to_yaml
from dreamdist3d.errors import UserError

ROOT = Path(__file__).parents[1]
SHIPPED = ["dreamdist3d/mini.yaml", "dreamdist3d/mvdream.yaml"]


def write(folder: Path, text: str) -> str:
    path = folder / "run.yaml"
    path.write_text(text)
    return str(path)


@pytest.fixture(autouse=True)
def in_the_checkout(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)


def test_neither_package_nor_config_imports_torch() -> None:
    code = "import dreamdist3d, dreamdist3d.cli, dreamdist3d.config, sys; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT).returncode == 0


@pytest.mark.parametrize("name", SHIPPED)
def test_shipped_configurations_survive_the_round_trip(name: str, tmp_path: Path) -> None:
    config = load_config(name)
    assert load_config(write(tmp_path, to_yaml(config))) == config
    assert len(config.data.resolution) == len(config.data.batch_views) == len(config.data.until)
    assert len(config.data.resolution) == len(config.system.renderer.num_samples_per_ray)
    assert len(config.system.geometry.levels) == len(config.system.geometry.level_start)


def test_mvdream_is_the_papers_recipe() -> None:
    config = load_config("dreamdist3d/mvdream.yaml")
    assert (config.trainer.max_steps, config.data.resolution, config.data.batch_views) == (10_000, (64, 256), (8, 4))
    assert config.data.until == (0.5, 1.0) and config.data.n_view == 4
    assert (config.system.guidance.guidance_scale, config.system.guidance.recon_std_rescale) == (50.0, 0.5)
    assert config.data.fovy_range_deg == (15.0, 60.0) and config.data.camera_distance_range == (0.8, 1.0)
    assert config.system.prompt_processor.negative_prompt.startswith("ugly, bad anatomy, blurry, pixelated obscure,")
    assert "\n" not in config.system.prompt_processor.negative_prompt


def test_an_empty_file_is_all_defaults(tmp_path: Path) -> None:
    assert load_config(write(tmp_path, "")) == RunConfig()


def test_a_file_goes_over_the_defaults_and_the_command_line_over_the_file(tmp_path: Path) -> None:
    path = write(tmp_path, "seed: 3\ntrainer: {max_steps: 7, log_every: 2}\n")
    config = load_config(path, ["trainer.max_steps=9", "data.resolution=[16,24]"])
    assert (config.seed, config.trainer.max_steps, config.trainer.log_every) == (3, 9, 2)
    assert config.trainer.checkpoint_every == RunConfig().trainer.checkpoint_every
    assert config.data.resolution == (16, 24)


@pytest.mark.parametrize("text", ["007", "a cat: red", "true", "[x]", "x=y", ""])
def test_text_on_the_command_line_is_taken_as_it_is(text: str) -> None:
    assert load_config(SHIPPED[0], [f"system.prompt_processor.prompt={text}"]).system.prompt_processor.prompt == text


def test_null_clears_a_text_that_may_be_missing() -> None:
    config = load_config(SHIPPED[0], ["system.prompt_processor.prefix=x", "system.prompt_processor.prefix=null"])
    assert config.system.prompt_processor.prefix is None


def test_a_list_of_files_can_be_given_on_the_command_line() -> None:
    key = "system.prompt_processor.distribution"
    for text, expected in (
        ("[a.safetensors, b.safetensors]", ["a.safetensors", "b.safetensors"]),
        ("a b.st", ["a b.st"]),
    ):
        assert load_config(SHIPPED[0], [f"{key}={text}"]).system.prompt_processor.files == expected
    assert load_config(SHIPPED[0]).system.prompt_processor.files == []


def test_interpolations(tmp_path: Path) -> None:
    path = write(tmp_path, "name: ${tag}-x\nseed: ${trainer.max_steps}\n")
    config = load_config(path, ["tag=deep", "exp_root_dir=out/${name}"])
    assert (config.name, config.seed, config.exp_root_dir) == ("deep-x", 10_000, "out/deep-x")


@pytest.mark.parametrize(
    ("override", "parts"),
    [
        ("system.guidance.guidence_scale=5", ["system.guidance.guidence_scale", "system.guidance.guidance_scale?"]),
        ("guidance_scale=5", ["guidance_scale is not a known key", "system.guidance.guidance_scale?"]),
        ("seed.x=5", ["seed.x is not a known key", "Did you mean seed?"]),
        ("trainer.max_steps=fast", ["trainer.max_steps wants a whole number", "'fast' (str)"]),
        ("data=[1]", ["data wants a section of keys"]),
        ("system.device=tpu", ["system.device wants one of auto, cpu, cuda"]),
        ("trainer.max_steps", ["'trainer.max_steps' is not of the form key=value"]),
        ("=5", ["not of the form key=value"]),
        ("tag=${nowhere}", ["tag refers to ${nowhere}", "no such key"]),
        ("seed=${", ["seed='${' is refused"]),
        ("seed=[1", ["'seed=[1' cannot be read"]),
        ("seed=???", ["seed wants a whole number"]),
        ("seed=", ["seed wants a whole number"]),
    ],
)
def test_a_bad_override_is_one_line_that_names_it(override: str, parts: list[str]) -> None:
    with pytest.raises(UserError) as caught:
        load_config(SHIPPED[0], [override])
    assert all(part in str(caught.value) for part in parts) and "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("trainer: {max_step: 3}", "trainer.max_step is not a known key. Did you mean trainer.max_steps?"),
        ("seed: [1", "cannot be read as YAML"),
        ("seed: 1\nseed: 2", "cannot be read as YAML"),
        ("- a\n- b", "is not a configuration"),
        ("tag: 007", "tag wants text, but was given 7 (int)"),
        ("system:", "system wants a section of keys"),
    ],
)
def test_a_bad_file_is_one_line_that_names_it(text: str, part: str, tmp_path: Path) -> None:
    path = write(tmp_path, text)
    with pytest.raises(UserError) as caught:
        load_config(path)
    assert str(caught.value).startswith(path) and part in str(caught.value) and "\n" not in str(caught.value)


def test_a_config_is_looked_up_as_given_then_below_configs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert find_config("dreamdist3d/mini.yaml").read_text() == (ROOT / "configs/dreamdist3d/mini.yaml").read_text()
    monkeypatch.chdir(tmp_path)
    for place, seed in (("configs/dreamdist3d", 2), ("dreamdist3d", 1)):
        (tmp_path / place).mkdir(parents=True)
        (tmp_path / place / "mini.yaml").write_text(f"seed: {seed}")
        assert load_config("dreamdist3d/mini.yaml").seed == seed


def test_a_missing_config_is_an_error_that_names_it() -> None:
    with pytest.raises(UserError, match=r"no configuration dreamdist3d/mimi\.yaml"):
        load_config("dreamdist3d/mimi.yaml")


def test_export_settings_are_those_of_the_mesh_and_the_package() -> None:
    from dreamdist3d.mesh import MeshSettings
    from dreamdist3d.mesh.package import PackageSettings
    from dreamdist3d.runs.run import mesh_settings, package_settings

    assert mesh_settings(ExportConfig()) == MeshSettings()
    assert package_settings(ExportConfig()) is None
    assert package_settings(ExportConfig(preset="web")) == PackageSettings("web")


def test_the_lift_gets_every_section() -> None:
    changed = ["trainer.max_steps=11", "system.loss.tv=0.5", "system.optimizer.lr=0.25"]
    config = load_config(SHIPPED[0], [*changed, "system.lift.kind=distill"])
    lift = config.lift()
    assert (lift.max_steps, lift.loss.tv, lift.optimizer.lr) == (11, 0.5, 0.25)
    assert (lift.data, lift.geometry) == (config.data, config.system.geometry)
    assert replace(lift, max_steps=12).renderer is config.system.renderer
    by_views = load_config(SHIPPED[0], [*changed, "system.lift.kind=views", "system.lift.views.loss.tv=0.75"])
    views, lift = by_views.system.lift.views, by_views.lift()
    assert (lift.max_steps, lift.loss.tv, lift.optimizer) == (views.steps, 0.75, views.optimizer)
    assert (lift.data, lift.geometry.level_start) == (config.data, views.level_start)


def test_sections_that_do_not_fit_each_other_are_named(tmp_path):
    for override, words in (
        ("system.renderer.num_samples_per_ray=[8]", "num_samples_per_ray"),
        ("system.geometry.level_start=[0.0]", "level_start"),
        ("data.until=[1.0]", "one entry per stage"),
        ("system.geometry.level_start=[0.1,0.2,0.3,0.4]", "begins at 0"),
        ("system.guidance.anneal_until=0.0", "anneal_until"),
        ("system.guidance.max_timestep=[1.0,0.5]", "from 0 to below 1"),
        ("data.batch_views=[4,6]", "multiples of n_view=4"),
    ):
        with pytest.raises(UserError, match=words):
            load_config("dreamdist3d/mini.yaml", [override])


@pytest.mark.parametrize(
    "override",
    [
        *("trainer.max_steps=0", "trainer.max_steps=-5", "trainer.checkpoint_every=0", "trainer.log_every=0"),
        *("system.renderer.occupancy_every=0", "data.resolution=[0,0]", "data.resolution=[]", "data.n_view=0"),
        *("data.batch_views=[0,4]", "data.fovy_range_deg=[60,15]", "system.geometry.levels=[]", "seed=-1"),
        *("system.geometry.radius=0", "system.background.color=[2,0,0]", "system.optimizer.lr=-1", "seed=.inf"),
        *("system.prompt_processor.gamma=-1", "system.prompt_processor.draw_seed=-1", f"seed={'9' * 400}"),
        *("system.optimizer.lr=.nan", f"system.optimizer.lr={'9' * 400}", f"system.optimizer.lr={'9' * 5000}"),
        *("system.lift.views.polish.start=1.5", "system.lift.views.polish.max_timestep=[1.0,0.5]"),
        "tag=\ud800",
    ],
)
def test_a_value_outside_its_range_is_one_short_line_that_names_it(override: str) -> None:
    with pytest.raises(UserError) as caught:
        load_config(SHIPPED[0], [override])
    line = str(caught.value)
    assert override.partition("=")[0].rpartition(".")[2] in line and "\n" not in line and len(line) < 600


@pytest.mark.parametrize(
    "value",
    [
        "${oc.env:HOME}",
        "x-${oc.env:HOME}-y",
        "${oc.decode:1}",
        "${oc.create:{a:1}}",
        "${${tag}}",
        "${" * 500 + "}" * 500,
    ]
    + ["${name} ${", "${.seed}", "${tag:1}"],
)
def test_references_name_keys_and_nothing_else(value: str, tmp_path: Path) -> None:
    for source in (
        lambda: load_config(SHIPPED[0], [f"tag={value}"]),
        lambda: load_config(write(tmp_path, f"tag: '{value}'")),
    ):
        with pytest.raises(UserError, match="tag.*(is refused|no such key)") as caught:
            source()
        assert "/root" not in str(caught.value) and len(str(caught.value)) < 600


def test_references_in_a_circle_or_that_grow_without_end_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="circle"):
        load_config(write(tmp_path, "tag: ${name}\nname: ${tag}\n"))
    with pytest.raises(UserError, match="too large"):
        load_config(write(tmp_path, f'tag: {"x" * 2000}\nname: "{"${tag}" * 600}"'))


# Eight lists, each of eight times the one before it.
_NAMES = "abcdefgh"
_LAUGHS = "".join(f"{n}: &{n} [{','.join([f'*{_NAMES[i - 1]}' if i else 'x'] * 8)}]\n" for i, n in enumerate(_NAMES))


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("[" * 100_000, "nested too deeply"),
        ("tag: " + "[" * 100 + "]" * 100, "nested"),
        (_LAUGHS, "more than 1,000,000 values"),
        ("tag: " + "x" * 2**21, "characters"),
        ("tag: !!python/object/apply:os.system [id]", "could not determine a constructor"),
        (f"seed: {'9' * 5000}", "cannot be read as YAML"),
    ],
)  # fmt: skip
def test_a_hostile_file_is_one_line(text: str, part: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=part) as caught:
        load_config(write(tmp_path, text))
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 3000


def test_numbers_in_yaml_are_read_as_people_write_them(tmp_path: Path) -> None:
    config = load_config(
        write(tmp_path, "system: {optimizer: {lr: 1e-3, mlp_lr: .5}}\nseed: 1e2\nname: '2020-01-01'\n")
    )
    assert (config.system.optimizer.lr, config.system.optimizer.mlp_lr, config.seed) == (1e-3, 0.5, 100)
    assert config.name == "2020-01-01" and load_config(write(tmp_path, "tag: 2020-01-01")).tag == "2020-01-01"
