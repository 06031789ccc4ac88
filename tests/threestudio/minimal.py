"""What the extension relies on in threestudio, written down small: one module that stands for all of its modules.

Where threestudio promises something (shapes, orders, when what is called), this promises the same and no more; that
the real one does too is what `test_real.py` is for.
"""

import hashlib
import os
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, List, Optional, Tuple  # noqa: UP035 (as threestudio has them)

import torch
from omegaconf import DictConfig, OmegaConf
from torch import Tensor

NAMES = (
    "threestudio",
    "threestudio.data",
    "threestudio.data.uncond",
    "threestudio.models",
    "threestudio.models.exporters",
    "threestudio.models.exporters.base",
    "threestudio.models.prompt_processors",
    "threestudio.models.prompt_processors.base",
    "threestudio.utils",
    "threestudio.utils.base",
    "threestudio.utils.config",
    "threestudio.utils.misc",
    "threestudio.utils.ops",
)
CACHE = ".threestudio_cache/text_embeddings"

registered: dict[str, type] = {}
said: list[str] = []
info = said.append


def register(name: str) -> Callable[[type], type]:
    assert name not in registered
    return lambda kind: registered.setdefault(name, kind)


def find(name: str) -> type:
    return registered[name]


def barrier() -> None:
    """One process."""


def cleanup() -> None:
    """Nothing to free."""


def C(value: Any, epoch: int, step: int) -> float:
    """A number, or [from step, from, to, to step], linear between."""
    if isinstance(value, int | float):
        return value
    begin, low, high, end = value
    return low + (high - low) * max(0.0, min(1.0, (step - begin) / (end - begin)))


def parse_structured(kind: type, cfg: Any) -> DictConfig:
    """Unknown keys are a TypeError."""
    return OmegaConf.structured(kind(**(cfg or {})))


class BaseObject:
    @dataclass
    class Config:
        pass

    def __init__(self, cfg: Any = None, *args: Any, **kwargs: Any) -> None:
        self.cfg = parse_structured(self.Config, cfg)
        self.device = torch.device("cpu")
        self.configure(*args, **kwargs)


@dataclass
class ExperimentConfig:
    name: str = "default"
    tag: str = ""
    seed: int = 0
    use_timestamp: bool = True
    timestamp: Optional[str] = None  # noqa: UP045
    exp_root_dir: str = "outputs"
    trial_dir: str = ""
    resume: Optional[str] = None  # noqa: UP045
    system: dict = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.timestamp is None:
            self.timestamp = "@20260101-000000" if self.use_timestamp else ""
        self.trial_dir = os.path.join(self.exp_root_dir, self.name, self.tag + self.timestamp)
        os.makedirs(self.trial_dir, exist_ok=True)


def load_config(tree: dict[str, Any]) -> Any:
    """From a tree, interpolations resolved first, to what the snapshot is taken of."""
    cfg = OmegaConf.create(tree)
    OmegaConf.resolve(cfg)
    return parse_structured(ExperimentConfig, cfg)


@dataclass
class PromptProcessorOutput:
    text_embeddings: Tensor  # [1, L, D]
    uncond_text_embeddings: Tensor  # [1, L, D]
    text_embeddings_vd: Tensor  # [4, L, D]: side, front, back, overhead
    uncond_text_embeddings_vd: Tensor  # [4, L, D]
    use_perp_neg: bool

    def get_text_embeddings(
        self, elevation: Tensor, azimuth: Tensor, distance: Tensor, view_dependent_prompting: bool = True
    ) -> Tensor:
        """[2 B, L, D], the condition first."""
        index = [_direction(*camera) for camera in zip(elevation.tolist(), azimuth.tolist(), strict=True)]
        if view_dependent_prompting:
            return torch.cat([self.text_embeddings_vd[index], self.uncond_text_embeddings_vd[index]])
        shape = (len(index), -1, -1)
        return torch.cat([self.text_embeddings.expand(shape), self.uncond_text_embeddings.expand(shape)])


def _direction(elevation: float, azimuth: float) -> int:
    away = abs((azimuth + 180) % 360 - 180)
    return 3 if elevation > 60 else 1 if away < 45 else 2 if away > 135 else 0


class PromptProcessor(BaseObject):
    @dataclass
    class Config(BaseObject.Config):
        prompt: str = "a hamburger"
        prompt_front: Optional[str] = None  # noqa: UP045
        prompt_side: Optional[str] = None  # noqa: UP045
        prompt_back: Optional[str] = None  # noqa: UP045
        prompt_overhead: Optional[str] = None  # noqa: UP045
        negative_prompt: str = ""
        pretrained_model_name_or_path: str = "none"
        view_dependent_prompt_front: bool = False
        use_cache: bool = True
        spawn: bool = True
        use_perp_neg: bool = False
        use_prompt_debiasing: bool = False

    def configure(self) -> None:
        names = ("side", "front", "back", "overhead")
        self.prompt = self.preprocess_prompt(self.cfg.prompt)
        self.negative_prompt = self.cfg.negative_prompt
        if self.cfg.view_dependent_prompt_front:
            self.prompts_vd = [f"{'backside' if n == 'back' else n} view of {self.prompt}" for n in names]
        else:
            self.prompts_vd = [f"{self.prompt}, {n} view" for n in names]
        self.negative_prompts_vd = [self.negative_prompt] * 4
        self.prepare_text_embeddings()
        self.load_text_embeddings()

    def preprocess_prompt(self, prompt: str) -> str:
        return prompt

    def cached(self, prompt: str) -> Path:
        """Where the embedding of a text is kept: the model and the text alone decide."""
        key = hashlib.md5(f"{self.cfg.pretrained_model_name_or_path}-{prompt}".encode()).hexdigest()
        return Path(CACHE) / f"{key}.pt"

    def prepare_text_embeddings(self) -> None:
        raise NotImplementedError("starts a process that encodes into the cache")

    def load_text_embeddings(self) -> None:
        self.text_embeddings = torch.load(self.cached(self.prompt))[None]

    def __call__(self) -> PromptProcessorOutput:
        return PromptProcessorOutput(
            self.text_embeddings,
            self.uncond_text_embeddings,
            self.text_embeddings_vd,
            self.uncond_text_embeddings_vd,
            self.cfg.use_perp_neg,
        )


@dataclass
class ExporterOutput:
    save_name: str
    save_type: str
    params: dict[str, Any]


class Exporter(BaseObject):
    @dataclass
    class Config(BaseObject.Config):
        save_video: bool = False

    def configure(self, geometry: Any, material: Any, background: Any) -> None:
        self.geometry, self.material, self.background = geometry, material, background


@dataclass
class RandomCameraDataModuleConfig:
    height: Any = 64
    width: Any = 64
    batch_size: Any = 1
    elevation_range: Tuple[float, float] = (-10, 90)  # noqa: UP006
    camera_distance_range: Tuple[float, float] = (1, 1.5)  # noqa: UP006
    fovy_range: Tuple[float, float] = (40, 70)  # noqa: UP006
    resolution_milestones: List[int] = field(default_factory=list)  # noqa: UP006


class RandomCameraIterableDataset:
    def __init__(self, cfg: Any) -> None:
        self.cfg, self.batch_size, self.height, self.width = cfg, cfg.batch_size, cfg.height, cfg.width
        self.elevation_range, self.fovy_range = cfg.elevation_range, cfg.fovy_range
        self.camera_distance_range = cfg.camera_distance_range


class RandomCameraDataModule:
    def __init__(self, cfg: Any = None) -> None:
        super().__init__()
        self.cfg = parse_structured(RandomCameraDataModuleConfig, cfg)

    def setup(self, stage: str | None = None) -> None:
        self.train_dataset: Any = RandomCameraIterableDataset(self.cfg)


def get_projection_matrix(fovy: Tensor, aspect: float, near: float, far: float) -> Tensor:
    return torch.eye(4).repeat(len(fovy), 1, 1)


def get_mvp_matrix(c2w: Tensor, projection: Tensor) -> Tensor:
    return projection @ torch.linalg.inv(c2w)
