"""Run configurations: YAML and key=value overrides into typed dataclasses, in threestudio's words."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from importlib import resources
from pathlib import Path
from typing import Any, Literal

from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError

from dreamdist3d.choices import Device, MeshFormat, PresetName
from dreamdist3d.errors import UserError
from dreamdist3d.guidance.config import GuidanceConfig
from dreamdist3d.lift.config import (
    BackgroundConfig,
    DataConfig,
    GeometryConfig,
    LiftConfig,
    LossConfig,
    OptimizerConfig,
    RendererConfig,
)
from dreamdist3d.typed import accepts, annotation_of, build, unknown_key


@dataclass(frozen=True)
class PromptProcessorConfig:
    """What the run is conditioned on: a draw of a distribution, or, without one, a plain text.

    `distribution` is a file or a list of files, which `composition` (blend or mixture) and `weights`
    make one. `prefix` and `suffix` replace the distribution's stored ones; null keeps them. `draw_seed`
    null draws a fresh one, once per run; `antithetic` takes its twin on the other side of the mean.
    """

    distribution: str | list[str] | None = None
    weights: list[float] | None = None
    composition: Literal["blend", "mixture"] = "blend"
    prompt: str = ""
    prefix: str | None = None
    suffix: str | None = None
    gamma: float = 1.0
    draw_seed: int | None = None
    antithetic: bool = False
    negative_prompt: str = ""

    @property
    def files(self) -> list[str]:
        """The distribution files by name; none for a plain text."""
        return [self.distribution] if isinstance(self.distribution, str) else list(self.distribution or ())


@dataclass(frozen=True)
class SystemConfig:
    """The parts of a run; `backbone` is mini, mvdream, sd21, a local folder or a checkpoint file.

    `precision` is the UNet's: auto is bf16 or fp16 on a GPU, fp32 on the CPU. `low_vram` trades time for
    memory, `compile` a slow first step for faster ones.
    """

    backbone: str = "mini"
    device: Device = "auto"
    precision: Literal["auto", "fp32", "fp16", "bf16"] = "auto"
    low_vram: bool = False
    compile: bool = False
    geometry: GeometryConfig = field(default_factory=GeometryConfig)
    renderer: RendererConfig = field(default_factory=RendererConfig)
    background: BackgroundConfig = field(default_factory=BackgroundConfig)
    prompt_processor: PromptProcessorConfig = field(default_factory=PromptProcessorConfig)
    guidance: GuidanceConfig = field(default_factory=GuidanceConfig)
    loss: LossConfig = field(default_factory=LossConfig)
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)


@dataclass(frozen=True)
class TrainerConfig:
    """How long the lift runs, and how often, in steps, it keeps a checkpoint and writes scalars."""

    max_steps: int = 10_000
    checkpoint_every: int = 500
    log_every: int = 10


@dataclass(frozen=True)
class ExportConfig:
    """The mesh: voxels along an edge, smoothing, the smallest part that stays, and the triangle budget.

    With a `preset` the run ends with a game asset too, in export/<preset>/: its height in metres (null: world
    units), formats (empty: the preset's), levels of detail, most collision hulls, and texels along an edge.
    """

    resolution: int = 96
    smooth_voxels: float = 0.6
    floater_fraction: float = 0.03
    taubin_iterations: int = 10
    max_triangles: int = 20_000
    preset: PresetName | None = None
    height_m: float | None = None
    formats: tuple[MeshFormat, ...] = ()
    lods: int = 4
    hulls: int = 16
    texture_size: int = 1024


@dataclass(frozen=True)
class RunConfig:
    """One run. Its folder is exp_root_dir/name/tag; an empty tag is named after the prompt and its draw."""

    name: str = "dreamdist3d"
    tag: str = ""
    exp_root_dir: str = "outputs"
    seed: int = 0
    resume: str | None = None
    data: DataConfig = field(default_factory=DataConfig)
    system: SystemConfig = field(default_factory=SystemConfig)
    trainer: TrainerConfig = field(default_factory=TrainerConfig)
    export: ExportConfig = field(default_factory=ExportConfig)

    def __post_init__(self) -> None:
        self.lift()  # checks what holds between sections

    def lift(self) -> LiftConfig:
        """The sections that the lift is made of."""
        system = self.system
        return LiftConfig(
            **asdict(self.trainer),
            data=self.data,
            geometry=system.geometry,
            renderer=system.renderer,
            background=system.background,
            loss=system.loss,
            optimizer=system.optimizer,
        )


def load_config(name: str, overrides: Sequence[str] = ()) -> RunConfig:
    """Read a YAML file over the defaults, apply `key=value` overrides over both, resolve `${...}`, check every type.

    Raises:
        UserError: no such file, not YAML, an unknown key, a wrong type, an interpolation that leads nowhere.
    """
    path = find_config(name)
    where = f"{path} and the command line" if overrides else str(path)
    tree = _merged(asdict(RunConfig()), _read(path))
    for override in overrides:
        tree = _merged(tree, _parsed(override))
    try:
        values = OmegaConf.to_container(OmegaConf.create(tree), resolve=True, throw_on_missing=True)
    except OmegaConfBaseException as error:
        raise UserError(f"{where}: {_one_line(error)}") from error
    return build(RunConfig, values, where)


def find_config(name: str) -> Path:
    """The file `name` as given, else below ./configs, else among the configurations shipped with the package.

    Raises:
        UserError: in none of the three; the message lists what is shipped.
    """
    shipped = _shipped_folder()
    places = [Path(name), Path("configs") / name, *([shipped / name] if shipped else [])]
    for path in places:
        if path.is_file():
            return path
    known = sorted(p.relative_to(shipped).as_posix() for p in shipped.rglob("*.yaml")) if shipped else []
    listed = f" Shipped are: {', '.join(known)}." if known else ""
    raise UserError(f"there is no configuration {name}, neither as given nor under configs/.{listed}")


def to_yaml(config: RunConfig) -> str:
    """The resolved configuration, as `load_config` reads it back."""
    return OmegaConf.to_yaml(OmegaConf.create(asdict(config)))


def _shipped_folder() -> Path | None:
    try:
        return Path(str(resources.files("dreamdist3d.configs")))
    except ModuleNotFoundError:
        return None  # a checkout that is on the path without being installed


def _read(path: Path) -> dict[str, Any]:
    try:
        values = OmegaConf.to_container(OmegaConf.load(path))
    except (OSError, UnicodeDecodeError, YAMLError, OmegaConfBaseException) as error:
        raise UserError(f"{path} cannot be read as YAML: {_one_line(error)}") from error
    if not isinstance(values, dict):
        raise UserError(f"{path} is not a configuration: it must hold `key: value` lines, as the shipped ones do.")
    return values


def _parsed(override: str) -> dict[str, Any]:
    """`a.b=value` as {"a": {"b": value}}."""
    key, equals, text = override.partition("=")
    if not (key and equals):
        raise UserError(f"the override {override!r} is not of the form key=value, e.g. trainer.max_steps=300.")
    annotation = annotation_of(RunConfig, key)
    if annotation is None:
        raise unknown_key(RunConfig, key, "the command line")
    value: Any = _override_value(text, annotation, override)
    for name in reversed(key.split(".")):
        value = {name: value}
    return value


def _override_value(text: str, annotation: Any, override: str) -> Any:
    is_null = text == "null" and accepts(annotation, type(None))
    is_list = text.startswith("[") and accepts(annotation, list)
    if accepts(annotation, str) and not (is_null or is_list):
        # Words for a text are taken as they are: YAML would make a number of tag=007 and a map of "a: b".
        return text
    try:
        return OmegaConf.to_container(OmegaConf.from_dotlist([f"value={text}"]))["value"]
    except (YAMLError, OmegaConfBaseException) as error:
        raise UserError(f"the override {override!r} cannot be read: {_one_line(error)}") from error


def _merged(base: Any, over: Any) -> Any:
    if not (isinstance(base, dict) and isinstance(over, dict)):
        return over
    return base | {key: _merged(base.get(key), value) for key, value in over.items()}


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())
