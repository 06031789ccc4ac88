"""Several real processes that learn together, over Gloo."""

import os
import socket
from dataclasses import replace

import pytest
import torch

from dreamdist3d.errors import UserError
from dreamdist3d.prompts import PromptDistribution, learn
from dreamdist3d.prompts.learning.processes import Processes
from tests.forked import script
from tests.prompts.tiny import CONFIG, write_pictures

SCRIPT = """
import os, signal, sys
from dataclasses import replace
from pathlib import Path
import torch
from dreamdist3d.errors import Stopped, UserError
from dreamdist3d.prompts import learn, load_references
from tests.prompts.tiny import CONFIG, TinyBackbone

folder, rank = Path(sys.argv[1]), int(os.environ["RANK"])
references = load_references(folder / "pictures", 8)
def tiny():
    return TinyBackbone(folder / f"tokenizer{rank}")
def interrupted(*arguments, **named):
    if rank == 1 and len(stopping.calls) == 4:
        os.kill(os.getpid(), signal.SIGTERM)
    return TinyBackbone.predict(stopping, *arguments, **named)
for batch in (8, 5):
    config = replace(CONFIG, batch=batch)
    made = learn(tiny(), references, config, folder / f"{batch}")
    assert (folder / f"{batch}").exists()
    torch.save(made.tokens, folder / f"tokens-{batch}-{rank}.pt")
stopping = tiny()
stopping.predict = interrupted
try:
    learn(stopping, references, CONFIG, folder / "stopped")
except Stopped as error:
    print(error)
learn(tiny(), references, CONFIG, folder / "stopped")
try:
    learn(tiny(), references, replace(CONFIG, batch=1), folder / "small")
except UserError as error:
    print(error)
try:
    learn(tiny(), references, CONFIG, folder)
except UserError as error:
    print(error)
torch.distributed.destroy_process_group()
"""


def run_together(folder, count=2):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    shared = {"WORLD_SIZE": count, "LOCAL_WORLD_SIZE": count, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    running = []
    for rank in range(count):
        environment = os.environ | shared | {"RANK": rank, "LOCAL_RANK": rank}
        running.append(script(SCRIPT, folder / f"rank{rank}", folder, environment=environment))
    results = [process.communicate(timeout=240) for process in running]
    assert [process.returncode for process in running] == [0] * count, results
    return results


def test_two_processes_learn_what_one_does(tmp_path, backbone, references):
    write_pictures(tmp_path / "pictures", 5)
    results = run_together(tmp_path)
    for batch in (8, 5):
        alone = learn(backbone, references, replace(CONFIG, batch=batch), tmp_path / "alone").tokens
        first, second = (torch.load(tmp_path / f"tokens-{batch}-{rank}.pt", weights_only=True) for rank in (0, 1))
        assert torch.equal(first, second)
        torch.testing.assert_close(first, alone, rtol=0, atol=1e-6)
        assert torch.equal(PromptDistribution.load(tmp_path / f"{batch}").tokens, first)
    # One process was asked to stop; both stopped, at one step, and went on together.
    stopped = PromptDistribution.load(tmp_path / "stopped").tokens
    assert torch.equal(stopped, PromptDistribution.load(tmp_path / "8").tokens)
    for output, _ in results:
        assert "stopped at step 5 of 12" in output and "batch=1 is less than one image for each of 2" in output
        assert "is a folder: give a file name" in output
    assert "learning 12/12" in results[0][1] and "learning" not in results[1][1]
    assert not list(tmp_path.glob("*.ckpt"))


@pytest.mark.parametrize("items,count", [(4, 2), (5, 2), (7, 3), (3, 3)])
def test_the_shares_are_all_items_once_and_nearly_equal(items, count):
    parts = [list(range(items))[Processes(rank, count).share(items)] for rank in range(count)]
    assert sum(parts, []) == list(range(items))
    assert max(map(len, parts)) - min(map(len, parts)) <= 1


def test_alone_nothing_is_asked_of_anybody():
    def refused():
        raise UserError("no")

    alone = Processes.joined("cpu")
    assert alone.leads and alone.any(True, torch.device("cpu")) and alone.share(3) == slice(0, 3)
    with pytest.raises(UserError, match="no"):
        alone.agree(refused)
