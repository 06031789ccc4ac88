"""The extension under the real threestudio: its own launch.py, registry, base classes, systems and Lightning loop.

Runs where THREESTUDIO_HOME names a checkout; see docs/threestudio.md. Stand-ins take the place of what needs CUDA
(`standins/`), and small models on disk with random weights the place of the large ones.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from omegaconf import OmegaConf

from dreamdist3d.backbones import load_backbone
from dreamdist3d.guidance.directions import encode_views, view_words
from dreamdist3d.mesh import read_mesh
from dreamdist3d.prompts import PromptDistribution, SoftPromptEncoder
from dreamdist3d.threestudio.draws import RECORD
from tests.threestudio.studio import HOME, Studio, why_not

pytestmark = [pytest.mark.slow, pytest.mark.skipif(why_not() is not None, reason=why_not() or "")]

ROOT = Path(__file__).parents[2]
CONFIG = "custom/threestudio-dreamdist3d/configs/mvdream.yaml"
SMALL = [
    "data.batch_size=4",
    "data.width=16",
    "data.height=16",
    "data.resolution_milestones=[]",
    "trainer.max_steps=2",
    "trainer.val_check_interval=2",
    "system.exporter.resolution=24",
    "system.geometry.isosurface_threshold=1.",
]
RECORDING = "system.guidance_type=standin-guidance"


@pytest.fixture(scope="module")
def prompt(tiny_backbone: Path, tiny_distribution: Path) -> list[str]:
    section = "system.prompt_processor"
    return [
        f"{section}.pretrained_model_name_or_path={tiny_backbone}",
        f"{section}.distribution={tiny_distribution}",
        f"{section}.negative_prompt=red dog",
    ]


@pytest.fixture
def studio(tmp_path: Path) -> Studio:
    return Studio.over(Path(HOME), tmp_path / "ts")


@pytest.fixture(scope="module")
def trained(prompt: list[str], tmp_path_factory: pytest.TempPathFactory) -> Studio:
    """A run of two steps without a given draw."""
    studio = Studio.over(Path(HOME), tmp_path_factory.mktemp("trained") / "ts")
    studio.done("--config", _recording_config(studio), "--train", *SMALL, *prompt)
    return studio


def _recording_config(studio: Studio) -> Path:
    """The shipped configuration with the guidance that writes down what it is given."""
    tree = OmegaConf.load(studio.folder / CONFIG)
    tree.system.guidance_type, tree.system.guidance = "standin-guidance", {}
    OmegaConf.save(tree, studio.folder / "recording.yaml")
    return studio.folder / "recording.yaml"


def parsed(trial: Path):
    return OmegaConf.load(trial / "configs" / "parsed.yaml")


def embeddings(folder: Path, seed: int, tiny_backbone: Path, path: Path) -> torch.Tensor:
    """The library's own: without words, then side, front, back, overhead; [5, L, D]."""
    backbone, source = load_backbone(str(tiny_backbone)), PromptDistribution.load(path)
    encoder = SoftPromptEncoder(backbone.tokenizer, backbone.text_encoder)
    return encode_views(source, source.draw(seed), encoder, [("", ""), *view_words()])


def test_training_sees_the_draw_that_the_folder_names(
    trained: Studio, tiny_backbone: Path, tiny_distribution: Path
) -> None:
    (trial,) = trained.trials()
    seed = parsed(trial).system.prompt_processor.draw_seed
    assert trial.name.startswith(f"cats-{seed}@")
    seen = torch.load(trained.seen / "rank0.pt", weights_only=True)
    expected = embeddings(trained.folder, seed, tiny_backbone, tiny_distribution)
    torch.testing.assert_close(seen["text_embeddings"], expected[:1])
    torch.testing.assert_close(seen["text_embeddings_vd"], expected[1:])
    record = json.loads((trial / RECORD).read_text())
    assert record["draw"]["seed"] == seed and record["distribution"]["path"] == str(tiny_distribution)
    assert (trial / "ckpts" / "last.ckpt").is_file() and len(list((trial / "save" / "it2-test").glob("*.png"))) == 2
    assert not (trained.folder / ".threestudio_cache").exists()


def test_the_condition_is_first_and_perp_neg_reads_by_number(trained: Studio) -> None:
    seen = torch.load(trained.seen / "rank0.pt", weights_only=True)
    views, count = seen["text_embeddings_vd"], len(seen["pairs"]) // 2
    for row in seen["pairs"][:count]:
        assert any(torch.equal(row, view) for view in views[:3])  # never from above: elevation is 0 to 30
    for row in seen["pairs"][count:]:
        assert torch.equal(row, seen["uncond_text_embeddings_vd"][0])
    assert seen["perp_neg"].shape == (4 * count, *views.shape[1:]) and seen["weights"].shape == (count, 2)
    side, front = views[0], views[1]
    for row in seen["perp_neg"][2 * count :]:
        assert torch.equal(row, side) or torch.equal(row, front)


def test_resume_test_and_export_stay_with_the_draw_in_the_folder(trained: Studio) -> None:
    (trial,) = trained.trials()
    before = torch.load(trained.seen / "rank0.pt", weights_only=True)
    (trained.seen / "rank0.pt").unlink()
    settled = ["--config", trial / "configs" / "parsed.yaml", f"resume={trial}/ckpts/last.ckpt"]
    for picture in (trial / "save" / "it2-test").glob("*.png"):
        picture.unlink()
    trained.done(*settled, "--test")
    assert len(list((trial / "save" / "it2-test").glob("*.png"))) == 2
    trained.done(*settled, "--export")
    mesh = read_mesh(trial / "save" / "it2-export" / "model.glb")
    assert len(mesh.faces) and mesh.is_watertight
    trained.done(*settled, "--train", "trainer.max_steps=3")
    after = torch.load(trained.seen / "rank0.pt", weights_only=True)
    assert torch.equal(after["text_embeddings_vd"], before["text_embeddings_vd"])
    assert trained.trials() == [trial] and (trial / "save" / "it3-test").is_dir()
    snapshot = (trial / "configs" / "parsed.yaml").read_bytes()
    for mode, key, said in (
        ("--train", "draw_seed=1", "was trained with draw_seed="),
        ("--train", "gamma=3", "another draw on record (gamma was 1.0, now 3"),
        ("--test", "gamma=3", "another draw on record (gamma was 1.0, now 3"),
    ):
        refused = trained.launch(*settled, mode, f"system.prompt_processor.{key}")
        assert refused.returncode == 1 and said in refused.stderr
    assert (trial / "configs" / "parsed.yaml").read_bytes() == snapshot


def test_a_renamed_distribution_goes_on_in_the_same_folder(
    trained: Studio, tiny_distribution: Path, tmp_path: Path
) -> None:
    (trial,) = trained.trials()
    renamed = tmp_path / "felines.safetensors"
    renamed.write_bytes(tiny_distribution.read_bytes())
    settled = ["--config", trial / "configs" / "parsed.yaml", f"resume={trial}/ckpts/last.ckpt"]
    trained.done(*settled, "--train", "trainer.max_steps=4", f"system.prompt_processor.distribution={renamed}")
    assert trained.trials() == [trial] and (trial / "save" / "it4-test").is_dir()


def test_ranks_share_one_draw_which_is_another_than_before(studio: Studio, trained: Studio, prompt: list[str]) -> None:
    studio.done("--config", _recording_config(studio), "--train", *SMALL, *prompt, processes=2)
    (trial,), (earlier,) = studio.trials(), trained.trials()
    first, second = (torch.load(studio.seen / f"rank{rank}.pt", weights_only=True) for rank in (0, 1))
    for name in ("text_embeddings", "text_embeddings_vd", "uncond_text_embeddings_vd"):
        assert torch.equal(first[name], second[name])
    seed = parsed(trial).system.prompt_processor.draw_seed
    # Without a time in the name, the draw alone keeps runs on several GPUs apart.
    assert trial.name == f"cats-{seed}" and seed != parsed(earlier).system.prompt_processor.draw_seed


def test_mistakes_are_one_line_before_anything_is_loaded(studio: Studio, prompt: list[str], tmp_path: Path) -> None:
    mistakes = {
        "no.safetensors does not exist": ["system.prompt_processor.distribution=no.safetensors"],
        "another text encoder": [
            "system.prompt_processor.pretrained_model_name_or_path=mini",
            "system.prompt_processor.negative_prompt=",
        ],
        "negative_prompt: the prompt is 84 tokens too long": [
            f"system.prompt_processor.negative_prompt={'dog ' * 98}",
        ],
        "reads the environment (${oc.env:HOME})": ["tag=${oc.env:HOME}"],
    }
    for part, overrides in mistakes.items():
        ended = studio.launch("--config", CONFIG, "--train", *SMALL, *prompt, *overrides)
        lines = [line for line in ended.stderr.splitlines() if line.startswith("error: ")]
        assert ended.returncode == 1 and len(lines) == 1 and part in lines[0]
        assert "Traceback" not in ended.stderr and "Seed set" not in ended.stderr
        assert "Token indices" not in ended.stderr and not (studio.folder / "outputs").exists()


def test_our_configuration_runs_through_threestudio(
    studio: Studio, tiny_run: list[str], tiny_distribution: Path, tmp_path: Path
) -> None:
    """`--engine threestudio`: our guidance, our cameras, our exporter, and back to the folder for an export."""
    overrides = [
        *tiny_run,
        f"system.prompt_processor.distribution={tiny_distribution}",
        f"exp_root_dir={tmp_path}/out",
        "system.geometry.blob_scale=40",  # dense enough to be exported after three steps
        "trainer.log_every=1",
    ]

    def launch(*arguments: str) -> Path:
        command = [sys.executable, "launch.py", "--config", "dreamdist3d/mvdream.yaml", "--engine", "threestudio"]
        result = subprocess.run(
            [*command, *arguments], cwd=ROOT, env=studio.environment(), capture_output=True, text=True, timeout=500
        )
        assert result.returncode == 0, (result.stdout + result.stderr)[-6000:]
        assert "does not honour system.device, system.geometry.levels" in result.stderr
        return Path(result.stdout.splitlines()[-1])

    folder = launch(*overrides)
    mesh = folder / "save" / "it3-export" / "model.glb"
    assert read_mesh(mesh).is_watertight
    assert "train/loss_sds" in next((folder / "csv_logs").rglob("metrics.csv")).read_text()
    mesh.unlink()
    again = [*tiny_run, "system.geometry.blob_scale=40", f"resume={folder}/ckpts/last.ckpt"]
    assert launch(*again, "--export") == folder and mesh.is_file()


@pytest.fixture(scope="module")
def stable_diffusion(tiny_backbone: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A pipeline's folder with the tiny text encoder: 8 times smaller latents of 4 channels, as the guidance asks."""
    from diffusers import AutoencoderKL, DDIMScheduler, UNet2DConditionModel

    from tests.prompts.tiny import WIDTH

    folder = tmp_path_factory.mktemp("sd") / "sd"
    folder.mkdir()
    for part in ("tokenizer", "text_encoder"):
        os.symlink(tiny_backbone / part, folder / part)
    AutoencoderKL(
        block_out_channels=(4, 4, 4, 4),
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        norm_num_groups=2,
    ).save_pretrained(folder / "vae")
    UNet2DConditionModel(
        sample_size=64,
        block_out_channels=(4, 4),
        down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"),
        layers_per_block=1,
        norm_num_groups=2,
        attention_head_dim=2,
        cross_attention_dim=WIDTH,
    ).save_pretrained(folder / "unet")
    DDIMScheduler().save_pretrained(folder / "scheduler")
    index = {
        "_class_name": "StableDiffusionPipeline",
        "scheduler": ["diffusers", "DDIMScheduler"],
        "text_encoder": ["transformers", "CLIPTextModel"],
        "tokenizer": ["transformers", "CLIPTokenizer"],
        "unet": ["diffusers", "UNet2DConditionModel"],
        "vae": ["diffusers", "AutoencoderKL"],
        "safety_checker": [None, None],
        "feature_extractor": [None, None],
    }
    (folder / "model_index.json").write_text(json.dumps(index))
    return folder


def test_threestudios_own_stable_diffusion_guidance(studio: Studio, prompt: list[str], stable_diffusion: Path) -> None:
    """With Perp-Neg and weights in half precision."""
    tree = OmegaConf.load(studio.folder / CONFIG)
    tree.data_type, tree.data = "random-camera-datamodule", {}
    tree.system.guidance_type = "stable-diffusion-guidance"
    tree.system.guidance = {"pretrained_model_name_or_path": str(stable_diffusion), "half_precision_weights": True}
    tree.system.prompt_processor.use_perp_neg = True
    OmegaConf.save(tree, studio.folder / "sd.yaml")
    small = [option for option in SMALL if "resolution_milestones" not in option]
    none = "system.prompt_processor.negative_prompt="
    studio.done("--config", "sd.yaml", "--train", *small, *prompt, none, "data.batch_size=1")
    (trial,) = studio.trials()
    assert (trial / "ckpts" / "last.ckpt").is_file() and (trial / RECORD).is_file()


@pytest.mark.skipif(
    not HOME or not (Path(HOME) / "custom" / "threestudio-mvdream").exists(),
    reason="the checkout has no threestudio-mvdream in custom/",
)
def test_the_guidance_and_system_of_threestudio_mvdream(studio: Studio, prompt: list[str]) -> None:
    """Its own configuration; its system builds a processor at every stage, and the guidance before it."""
    tree = OmegaConf.load(studio.folder / "custom" / "threestudio-mvdream" / "configs" / "mvdream-sd21.yaml")
    tree.system.background_type, tree.system.background = "solid-color-background", {}  # its own is tinycudann's
    del tree.system.optimizer.params["background"]
    OmegaConf.save(tree, studio.folder / "mvdream.yaml")
    ours = ["system.prompt_processor_type=dreamdist3d-prompt-processor", "tag="]
    studio.done("--config", "mvdream.yaml", "--train", *SMALL, *prompt, *ours)
    (trial,) = studio.trials()
    seen = torch.load(studio.seen / "context.pt", weights_only=True)
    assert seen["num_frames"] == 4 and seen["camera"].shape == (8, 16) and len(seen["context"]) == 8
    assert trial.name.startswith(f"cats-{parsed(trial).system.prompt_processor.draw_seed}@")
    resumed = ["--config", trial / "configs" / "parsed.yaml", f"resume={trial}/ckpts/last.ckpt"]
    (studio.seen / "context.pt").unlink()
    studio.done(*resumed, "--test")
    studio.done(*resumed, "--train", "trainer.max_steps=3")
    assert torch.equal(torch.load(studio.seen / "context.pt", weights_only=True)["context"], seen["context"])
