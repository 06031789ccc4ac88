"""Run configurations: YAML and key=value overrides into typed dataclasses, in threestudio's words."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from importlib import resources
from pathlib import Path
from typing import Any

import yaml

from dreamdist3d.choices import CompositionKind, Device, EngineName, MeshFormat, Precision, PresetName
from dreamdist3d.errors import UserError, clipped, shown
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
from dreamdist3d.roads.config import LiftChoice
from dreamdist3d.trellis.config import TrellisConfig
from dreamdist3d.typed import accepts, annotation_of, build, demand, unknown_key
from dreamdist3d.yamls import parse_yaml, resolved

DRAW_SEEDS = 2**32
SEEDS = 2**53  # what every program can read back from JSON


@dataclass(frozen=True)
class PromptProcessorConfig:
    """What the run is conditioned on: a draw of a distribution, or, without one, a plain text.

    `distribution` is a file or a list of files, which `composition` (blend or mixture) and `weights`
    make one. `prefix` and `suffix` replace the distribution's stored ones; null keeps them. `draw_seed`
    null draws a fresh one, once per run; `antithetic` takes its twin on the other side of the mean.
    """

    distribution: str | list[str] | None = None
    weights: list[float] | None = None
    composition: CompositionKind = "blend"
    prompt: str = ""
    prefix: str | None = None
    suffix: str | None = None
    gamma: float = 1.0
    draw_seed: int | None = None
    antithetic: bool = False
    negative_prompt: str = ""

    def __post_init__(self) -> None:
        demand(0 <= self.gamma < 1000, "gamma", self.gamma, "from 0 to below 1000")
        seed = self.draw_seed
        demand(seed is None or 0 <= seed < DRAW_SEEDS, "draw_seed", seed, "null, or a whole number from 0 to 2^32")

    @property
    def files(self) -> list[str]:
        """The distribution files by name; none for a plain text."""
        return [self.distribution] if isinstance(self.distribution, str) else list(self.distribution or ())

    @property
    def chosen_seed(self) -> int:
        """The draw's seed, once a run has chosen one where none was given."""
        if self.draw_seed is None:
            raise ValueError("the draw's seed is not chosen yet")
        return self.draw_seed


@dataclass(frozen=True)
class SystemConfig:
    """The parts of a run; `engine` makes the asset: native is this package, and `trellis` has a section of its own.

    `backbone` is mini, mvdream, mvdream15, sd15, sd21, a local folder or a checkpoint file.

    `precision` is the UNet's: auto is bf16 or fp16 on a GPU, fp32 on the CPU. `low_vram` trades time for
    memory, `compile` a slow first step for faster ones.
    """

    engine: EngineName = "native"
    backbone: str = "mini"
    device: Device = "auto"
    precision: Precision = "auto"
    low_vram: bool = False
    compile: bool = False
    lift: LiftChoice = field(default_factory=LiftChoice)
    geometry: GeometryConfig = field(default_factory=GeometryConfig)
    renderer: RendererConfig = field(default_factory=RendererConfig)
    background: BackgroundConfig = field(default_factory=BackgroundConfig)
    prompt_processor: PromptProcessorConfig = field(default_factory=PromptProcessorConfig)
    guidance: GuidanceConfig = field(default_factory=GuidanceConfig)
    loss: LossConfig = field(default_factory=LossConfig)
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)
    trellis: TrellisConfig = field(default_factory=TrellisConfig)


@dataclass(frozen=True)
class TrainerConfig:
    """How many steps a distillation has, and how often, in steps, any lift keeps a checkpoint and writes scalars."""

    max_steps: int = 10_000
    checkpoint_every: int = 500
    log_every: int = 10

    def __post_init__(self) -> None:
        for name in ("max_steps", "checkpoint_every", "log_every"):
            demand(getattr(self, name) >= 1, name, getattr(self, name), "1 or more")


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
        demand(0 <= self.seed < SEEDS, "seed", self.seed, "a whole number from 0 to 2^53")
        self.lift()  # checks what holds between sections

    def lift(self) -> LiftConfig:
        """The sections that the chosen lift is made of."""
        system = self.system
        return system.lift.applied(
            LiftConfig(
                **asdict(self.trainer),
                data=self.data,
                geometry=system.geometry,
                renderer=system.renderer,
                background=system.background,
                loss=system.loss,
                optimizer=system.optimizer,
            )
        )


def load_config(name: str, overrides: Sequence[str] = ()) -> RunConfig:
    """Read a YAML file over the defaults, apply `key=value` overrides over both, check every value.

    A `${other.key}` in either stands for what that key holds.

    Raises:
        UserError: no such file, not YAML, an unknown key, a wrong type or range, a `${...}` that names no key.
    """
    path = find_config(name)
    where = f"{path} and the command line" if overrides else str(path)
    tree = _merged(asdict(RunConfig()), _read(path))
    for override in overrides:
        tree = _merged(tree, _parsed(override))
    return build(RunConfig, resolved(tree, where), where)


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
    raise UserError(f"there is no configuration {clipped(name)}, neither as given nor under configs/.{listed}")


def to_yaml(config: RunConfig) -> str:
    """The resolved configuration, as `load_config` reads it back."""
    plain = json.loads(json.dumps(asdict(config)))  # without tuples
    return yaml.safe_dump(plain, sort_keys=False, allow_unicode=True, width=120)


def _shipped_folder() -> Path | None:
    try:
        return Path(str(resources.files("dreamdist3d.configs")))
    except ModuleNotFoundError:
        return None  # a checkout that is on the path without being installed


def _read(path: Path) -> dict[str, Any]:
    try:
        values = parse_yaml(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UserError(f"{path} cannot be read as YAML: {error}") from error
    values = {} if values is None else values
    if not isinstance(values, dict):
        raise UserError(f"{path} is not a configuration: it must hold `key: value` lines, as the shipped ones do.")
    return values


def _parsed(override: str) -> dict[str, Any]:
    """`a.b=value` as {"a": {"b": value}}."""
    key, equals, text = override.partition("=")
    if not (key and equals):
        raise UserError(f"the override {shown(override)} is not of the form key=value, e.g. trainer.max_steps=300.")
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
        return parse_yaml(text)
    except ValueError as error:
        raise UserError(f"the override {shown(override)} cannot be read: {error}") from error


def _merged(base: Any, over: Any) -> Any:
    if not (isinstance(base, dict) and isinstance(over, dict)):
        return over
    return base | {key: _merged(base.get(key), value) for key, value in over.items()}
