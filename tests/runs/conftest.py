"""Shared by the tests of runs: small ones, started where the shipped configurations are found."""

from pathlib import Path

import pytest

from dreamdist3d.config import RunConfig, load_config

ROOT = Path(__file__).parents[2]


@pytest.fixture
def in_the_checkout(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)


@pytest.fixture
def overrides(tiny_run: list[str], tiny_distribution: Path) -> list[str]:
    """A run of any length that keeps the blob it begins with: a guidance of random weights would empty it."""
    still = ["system.optimizer.lr=1e-6", "system.optimizer.mlp_lr=1e-6", "trainer.checkpoint_every=1"]
    return [*tiny_run, f"system.prompt_processor.distribution={tiny_distribution}", *still]


@pytest.fixture
def config(in_the_checkout: None, overrides: list[str]) -> RunConfig:
    return load_config("dreamdist3d/mini.yaml", overrides)
