"""A miniature of the miniature: clusters of noise on disk, for the tiny backbone."""

import pytest
import torch

from dreamdist3d.apprentice.bank import Bank, Cluster, Mined, Picture, finish, write_shard
from dreamdist3d.apprentice.network import Apprentice, ApprenticeConfig
from dreamdist3d.apprentice.storage import Trained
from dreamdist3d.backbones import load_backbone
from tests.prompts.tiny import WIDTH


@pytest.fixture(scope="session")
def backbone(tiny_backbone):
    return load_backbone(str(tiny_backbone))


@pytest.fixture(scope="session")
def bank(backbone, tmp_path_factory) -> Bank:
    """Two shards of twelve pictures, four clusters of six to learn from and two to hold out."""
    folder = tmp_path_factory.mktemp("clusters")
    drawing = torch.Generator().manual_seed(1)
    for number in range(2):
        pictures = [
            Picture(f"{number}/{i}", ("a photo of a red cat",), words="red cat", edited="{} cat at night")
            for i in range(12)
        ]
        write_shard(folder, number, {"latents": torch.randn(12, 4, 8, 8, generator=drawing)}, pictures, {})
    clusters = [
        Cluster("a", "family", "train", tuple(range(6))),
        Cluster("b", "instance", "train", tuple(range(6, 10)), tuple(range(6, 12))),
        Cluster("c", "family", "train", tuple(range(12, 18))),
        Cluster("d", "family", "known", tuple(range(18, 24))),
        Cluster("e", "family", "unknown", tuple(range(3, 9))),
    ]
    finish(folder, Mined(backbone.name, backbone.fingerprint, "latents", ("a red",), 2), clusters)
    return Bank(folder)


@pytest.fixture
def trained(backbone) -> Trained:
    with torch.random.fork_rng():
        torch.manual_seed(3)
        config = ApprenticeConfig(16, 16, WIDTH, 0.02, 2, 16, 2, 1, 1, 1)
        return Trained(Apprentice(config).eval().requires_grad_(False), backbone.fingerprint, "latents")
