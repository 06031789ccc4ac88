"""Two real processes that average what they have."""

import json

import pytest
import torch

from dreamdist3d.mini.loop import run_stage
from dreamdist3d.mini.parallel import average, rank, run_parallel, world_size
from tests.mini import workers
from tests.mini.tiny import linear_stage

STEPS = 7


def test_alone_nothing_is_averaged():
    tensors = [torch.randn(3)]
    before = tensors[0].clone()
    assert average(tensors, True) and not average(tensors, False)
    assert torch.equal(tensors[0], before) and (rank(), world_size()) == (0, 1)


def test_one_worker_is_this_process(tmp_path):
    run_parallel(1, workers.averages, tmp_path)
    assert json.loads((tmp_path / "0.json").read_text())["world"] == 1


def test_two_processes_hold_the_mean_and_know_of_each_others_flag(tmp_path):
    run_parallel(2, workers.averages, tmp_path)
    zero, one = (json.loads((tmp_path / f"{number}.json").read_text()) for number in (0, 1))
    assert zero["world"] == one["world"] == 2 and zero["before"] != one["before"]
    assert zero["flags"] == one["flags"] == [True, False]
    for a, b, *after in zip(zero["before"], one["before"], zero["after"], one["after"], strict=True):
        mean = (torch.tensor(a) + torch.tensor(b)) / 2
        for result in after:
            torch.testing.assert_close(torch.tensor(result), mean)


@pytest.mark.slow
def test_two_processes_train_one_model(tmp_path):
    """Both end with the same weights: those of steps on the mean of both processes' gradients."""
    run_parallel(2, workers.train, tmp_path)
    both = [torch.load(tmp_path / f"weights-{number}.pt", weights_only=True) for number in (0, 1)]
    assert all(torch.equal(both[0][name], both[1][name]) for name in both[0])
    stage, seeds = linear_stage(steps=STEPS), iter(range(STEPS))

    def mean_loss(generator):
        step = next(seeds)
        losses = [
            each_loss(torch.Generator().manual_seed((2 * 1_000_003 + step) * 64 + number))["loss"] for number in (0, 1)
        ]
        return {"loss": sum(losses) / 2}

    each_loss = stage.losses["loss"][1]
    stage.losses = {"loss": (1.0, mean_loss)}
    (tmp_path / "alone").mkdir()
    run_stage(stage, tmp_path / "alone", seed=2)
    for name, value in stage.models["linear"].state_dict().items():
        torch.testing.assert_close(both[0][name], value, atol=1e-5, rtol=1e-5)
    assert len((tmp_path / "tiny.jsonl").read_text().splitlines()) == 1  # one of them writes


def test_an_error_of_one_process_is_raised_here(tmp_path):
    with pytest.raises(Exception, match="the second process fails"):
        run_parallel(2, workers.fail, tmp_path)
