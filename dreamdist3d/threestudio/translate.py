"""A run's configuration in threestudio's keys."""

from collections.abc import Iterator
from dataclasses import is_dataclass
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from dreamdist3d.backbones.catalogue import CATALOGUE
from dreamdist3d.config import PromptProcessorConfig, RunConfig
from dreamdist3d.threestudio.install import extension_folder
from dreamdist3d.typed import known_keys

_EXPORTER = ("resolution", "smooth_voxels", "floater_fraction", "taubin_iterations", "max_triangles")
# Keys and whole sections that mean the same under both engines.
HONOURED = frozenset(
    {
        *("name", "tag", "exp_root_dir", "seed", "resume", "data", "trainer"),
        *(
            "system.engine",
            "system.backbone",
            "system.precision",
            "system.low_vram",
            "system.prompt_processor",
            "system.background",
        ),
        *(f"system.geometry.{name}" for name in ("radius", "blob_scale", "blob_std")),
        "system.renderer.num_samples_per_ray",
        *(f"system.guidance.{name}" for name in ("kind", "guidance_scale", "recon_std_rescale", "clamp_x0")),
        *(f"system.guidance.{name}" for name in ("max_timestep", "min_timestep", "anneal_until")),
        "system.loss.guidance",
        *(f"system.optimizer.{name}" for name in ("lr", "mlp_lr")),
        *(f"export.{name}" for name in _EXPORTER),
    }
)
# threestudio runs on the GPUs it sees, whichever of these is asked for.
_SAME_DEVICE = ("auto", "cuda")


def translate(config: RunConfig, folder: Path) -> dict[str, Any]:
    """The extension's own mvdream.yaml with this configuration's values in it; paths are absolute.

    Args:
        config: with a concrete draw.
        folder: of the run; threestudio makes its name from the parts it is told.
    """
    tree = OmegaConf.load(extension_folder() / "configs" / "mvdream.yaml")
    # Of another kind here, with other keys.
    tree.system.background, tree.system.optimizer.params = {}, {}
    merged: Any = OmegaConf.to_container(OmegaConf.merge(tree, _values(config), _place(folder)))
    return merged


def ignored_keys(config: RunConfig) -> list[str]:
    """Keys that threestudio will not honour although they are set to something other than their default."""
    default = RunConfig()
    changed = [key for key in native_only() if _at(config, key) != _at(default, key)]
    return [key for key in changed if not _same_device(config, key) and not _of_another_lift(config, key)]


def native_only() -> Iterator[str]:
    """Every key that only our own engine honours, in the configuration's order."""
    for key in known_keys(RunConfig):
        parts = key.split(".")
        ways = {".".join(parts[: depth + 1]) for depth in range(len(parts))}
        if not ways & HONOURED and not is_dataclass(_at(RunConfig(), key)):
            yield key


def _same_device(config: RunConfig, key: str) -> bool:
    return key == "system.device" and config.system.device in _SAME_DEVICE


def _of_another_lift(config: RunConfig, key: str) -> bool:
    """Settings of a lift that is not chosen do nothing in our own engine either."""
    return key.startswith("system.lift.views.") and config.system.lift.kind != "views"


def _place(folder: Path) -> dict[str, Any]:
    """A folder as threestudio puts it together: <exp_root_dir>/<name>/<tag><timestamp>."""
    tag, at, time = folder.name.partition("@")
    return {
        "exp_root_dir": str(folder.parent.parent),
        "name": folder.parent.name,
        "tag": tag,
        "timestamp": at + time,
    }


def _values(config: RunConfig) -> dict[str, Any]:
    trainer = config.trainer
    return {
        "seed": config.seed,
        "resume": config.resume and str(Path(config.resume).absolute()),
        "data": _data(config),
        "system": _system(config),
        "trainer": {"max_steps": trainer.max_steps, "log_every_n_steps": trainer.log_every},
        # The latest alone, as ours.
        "checkpoint": {"every_n_train_steps": trainer.checkpoint_every, "save_top_k": 1},
    }


def _data(config: RunConfig) -> dict[str, Any]:
    data = config.data
    return {
        "batch_size": list(data.batch_views),
        "n_view": data.n_view,
        "width": list(data.resolution),
        "height": list(data.resolution),
        "resolution_milestones": [round(share * config.trainer.max_steps) for share in data.until[:-1]],
        "elevation_range": list(data.elevation_range_deg),
        "fovy_range": list(data.fovy_range_deg),
        "camera_distance_range": list(data.camera_distance_range),
    }


def _system(config: RunConfig) -> dict[str, Any]:
    system, export = config.system, config.export
    geometry, optimizer = system.geometry, system.optimizer
    return {
        "prompt_processor": _prompt_processor(system.prompt_processor, system.backbone),
        "guidance": _guidance(config),
        "geometry": {
            "radius": geometry.radius,
            "density_blob_scale": geometry.blob_scale,
            "density_blob_std": geometry.blob_std,
        },
        "renderer": {"num_samples_per_ray": max(system.renderer.num_samples_per_ray)},
        "background_type": "solid-color-background",
        "background": {
            "color": list(system.background.color),
            "random_aug": system.background.random_share > 0,
            "random_aug_prob": system.background.random_share,
        },
        "loss": {"lambda_sds": system.loss.guidance},
        "optimizer": {
            "params": {
                "geometry.encoding": {"lr": optimizer.lr},
                "geometry.density_network": {"lr": optimizer.mlp_lr},
                "geometry.feature_network": {"lr": optimizer.mlp_lr},
            }
        },
        "exporter": {name: getattr(export, name) for name in _EXPORTER},
    }


def _prompt_processor(processor: PromptProcessorConfig, backbone: str) -> dict[str, Any]:
    files = [str(Path(name).absolute()) for name in processor.files]
    return {
        "pretrained_model_name_or_path": _model(backbone),
        **vars(processor),
        "distribution": files[0] if isinstance(processor.distribution, str) else files or None,
    }


def _guidance(config: RunConfig) -> dict[str, Any]:
    guidance, system = config.system.guidance, config.system
    until = round(guidance.anneal_until * config.trainer.max_steps)
    return {
        "guidance_scale": guidance.guidance_scale,
        "recon_loss": guidance.kind == "x0",
        "recon_std_rescale": guidance.recon_std_rescale,
        "min_step_percent": [0, *guidance.min_timestep, until],
        "max_step_percent": [0, *guidance.max_timestep, until],
        "clamp_x0": guidance.clamp_x0,
        "precision": system.precision,
        "low_vram": system.low_vram,
    }


def _model(backbone: str) -> str:
    """Names stay names; folders and files are found from threestudio's own folder as well."""
    is_name = backbone == "mini" or backbone in CATALOGUE
    return backbone if is_name or not Path(backbone).exists() else str(Path(backbone).absolute())


def _at(config: Any, key: str) -> Any:
    for name in key.split("."):
        config = getattr(config, name)
    return config
