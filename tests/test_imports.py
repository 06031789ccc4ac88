"""What importing costs: a model's libraries come with a model, not with the package."""

import subprocess
import sys

HEAVY = ("diffusers", "transformers", "torch._dynamo", "accelerate")
CODE = f"""
import sys
import dreamdist3d.guidance.multiview, dreamdist3d.lift.optimize, dreamdist3d.runs.batch, dreamdist3d.runs.worker
from dreamdist3d.prompts import PromptDistribution, PromptDraw, SoftPromptEncoder, learn, load_distribution
sys.exit(", ".join(name for name in {HEAVY} if name in sys.modules) or None)
"""


def test_a_models_libraries_come_with_a_model() -> None:
    """They take four to five processor seconds, and a batch's own process never loads one."""
    ended = subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
