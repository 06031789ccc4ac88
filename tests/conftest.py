"""Shared by all tests: a backbone on disk with MVDream's layout, random weights and hardly any channels."""

import json
import os
import signal
import tempfile
from pathlib import Path

import pytest

# Read once, when torch is imported: test processes work side by side, and a pool of threads does not survive a fork.
os.environ |= {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
# A shell starts what it leaves in the background with Ctrl-C ignored; tests of stops want it heard.
if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    """The body of a test that is marked `forked` in a process of its own; its fixtures stay here."""
    if pyfuncitem.get_closest_marker("forked") is None:
        return None
    from tests.forked import Forked

    arguments = {name: pyfuncitem.funcargs[name] for name in pyfuncitem._fixtureinfo.argnames}
    with tempfile.TemporaryDirectory() as folder:
        process = Forked(lambda: pyfuncitem.obj(**arguments), Path(folder) / "out", Path(folder) / "err")
        _, errors = process.communicate()
    assert process.returncode == 0, errors
    return True


@pytest.fixture(scope="session")
def tiny_backbone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A diffusers model folder: four joint views of 16 pixels, v-prediction, a camera embedding."""
    import torch
    from diffusers import AutoencoderTiny, DDPMScheduler, UNet2DConditionModel

    from tests.prompts.tiny import WIDTH, tiny_text_encoder, tiny_tokenizer

    folder = tmp_path_factory.mktemp("backbone") / "tiny"
    tokenizer = tiny_tokenizer(folder / "tokenizer")
    with torch.random.fork_rng():
        torch.manual_seed(0)
        unet = UNet2DConditionModel(
            sample_size=8,
            block_out_channels=(8, 8),
            down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"),
            up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"),
            layers_per_block=1,
            norm_num_groups=4,
            attention_head_dim=4,
            cross_attention_dim=WIDTH,
            class_embed_type="projection",
            projection_class_embeddings_input_dim=16,
        )
        vae = AutoencoderTiny(
            encoder_block_out_channels=(8, 8),
            decoder_block_out_channels=(8, 8),
            num_encoder_blocks=(1, 1),
            num_decoder_blocks=(1, 1),
        )
    tiny_text_encoder(tokenizer).save_pretrained(folder / "text_encoder")
    unet.save_pretrained(folder / "unet")
    vae.save_pretrained(folder / "vae")
    DDPMScheduler(prediction_type="v_prediction").save_pretrained(folder / "scheduler")
    (folder / "model_index.json").write_text(json.dumps({"n_views": 4}))
    return folder


@pytest.fixture(scope="session")
def tiny_distribution(tiny_backbone: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A distribution file that fits `tiny_backbone`: K = 3 random prompts of M = 2 tokens."""
    import torch

    from dreamdist3d.backbones import load_backbone
    from dreamdist3d.prompts import PromptDistribution
    from tests.prompts.tiny import WIDTH

    path = tmp_path_factory.mktemp("distribution") / "cats.safetensors"
    tokens = torch.randn(3, 2, WIDTH, generator=torch.Generator().manual_seed(1))
    PromptDistribution(tokens, "low_rank", load_backbone(str(tiny_backbone)).fingerprint).save(path)
    return path


@pytest.fixture(scope="session")
def tiny_run(tiny_backbone: Path) -> list[str]:
    """Overrides that make any shipped configuration a run of a second on one core."""
    return [
        f"system.backbone={tiny_backbone}",
        "system.device=cpu",
        "system.lift.kind=distill",
        "system.prompt_processor.negative_prompt=",
        "system.geometry.levels=[4,8]",
        "system.geometry.level_start=[0,0]",
        "system.geometry.density_gain=10",
        "system.renderer.num_samples_per_ray=[8,8]",
        "system.renderer.occupancy_resolution=8",
        "data.resolution=[8,8]",
        "data.batch_views=[4,4]",
        "trainer.max_steps=3",
        "export.resolution=16",
    ]


@pytest.fixture
def small_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    """Stills, turntable and silhouettes of a few pixels, for runs in this process."""
    from dreamdist3d.lift import outputs

    sizes = {"STILL_SIZE": 16, "TURNTABLE_SIZE": 8, "TURNTABLE_FRAMES": 2, "SILHOUETTE_SIZE": 16, "SAMPLES": 16}
    for name, value in sizes.items():
        monkeypatch.setattr(outputs, f"_{name}", value)
