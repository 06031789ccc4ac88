"""The assistant that ships: small, and as good as its card says on what it was never taught."""

import json
import shlex
import subprocess
import sys

import numpy as np
import pytest
import torch

from dreamdist3d.assistant.edit import Edit
from dreamdist3d.assistant.generator.scenes import make_scene
from dreamdist3d.assistant.generator.storage import load_generator
from dreamdist3d.assistant.grammar.dialogues import draw_turn
from dreamdist3d.assistant.intentions import SEE, read_plan, write_seen
from dreamdist3d.assistant.model import prompt_of
from dreamdist3d.assistant.pictures import changes_between, make_group
from dreamdist3d.assistant.proposing import Proposer
from dreamdist3d.assistant.storage import load_assistant, packaged
from dreamdist3d.assistant.subjects import PicturedSubject, WordSubject
from dreamdist3d.assistant.tokenizer import build_tokenizer
from dreamdist3d.assistant.train import HELD_OUT_SEED
from dreamdist3d.backbones import load_backbone
from dreamdist3d.cli import main
from dreamdist3d.mini.references import write_references
from dreamdist3d.prompts import PromptDistribution, SoftPromptEncoder


@pytest.fixture(scope="module")
def stored():
    return load_assistant()


def test_it_is_small():
    assert sum(path.stat().st_size for path in packaged().rglob("*") if path.is_file()) < 6e6


def test_its_vocabulary_is_the_grammars(stored):
    assert stored.model.tokenizer.get_vocab() == build_tokenizer().get_vocab()


def test_held_out_requests_are_understood(stored):
    right = {"clear": [], "vague": []}
    for index in range(20):
        pictures, seen = make_group(HELD_OUT_SEED, 500 + index)
        features = stored.inputs(pictures[:1])[0][0]
        for group, found in right.items():
            turn = draw_turn(seen[0], np.random.default_rng([index, len(group)]), "held_out", group)
            begun = f"{SEE} {write_seen(seen[0])}"
            plan = read_plan(stored.model.answer(features, prompt_of(turn.request, turn.past), begun))
            same = plan.proposals == turn.plan.proposals
            found.append(plan.act == turn.plan.act and (same or group == "vague"))
    assert np.mean(right["clear"]) >= 0.85 and np.mean(right["vague"]) >= 0.9


def test_the_wanted_embedding_is_nearer_to_the_changed_picture(stored):
    """S of "make it COLOUR" lies nearer to that object in that colour than to it as it was."""
    from dreamdist3d.assistant.intentions import Change, Plan, write_plan

    nearer = []
    for index in range(30):
        pictures, seen = make_group(HELD_OUT_SEED, 600 + index)
        features, wanted = stored.inputs(pictures)
        for k in range(1, 4):
            changes = changes_between(seen[0], seen[k])
            if changes[0] == Change("color", seen[k].color):
                answer = write_plan(Plan(seen[0], "edit", (changes,)))
                found = stored.model.wanted(features[0], [prompt_of(f"make it {seen[k].color}")], [answer])[0]
                nearer.append(torch.dist(found, wanted[k]) < torch.dist(found, wanted[0]))
    assert len(nearer) > 10 and np.mean(nearer) >= 0.8


@pytest.fixture(scope="module")
def pictured():
    """The packaged generator in the miniature, and held-out scenes with the pictures wanted of each."""
    backbone = load_backbone("mini")
    generator = load_generator(packaged(), backbone)
    generator.install(backbone)
    return backbone, generator, [make_scene(HELD_OUT_SEED, index) for index in range(8)]


def test_a_picture_that_is_seen_is_kept_better_than_one_that_is_told(stored, pictured):
    """Pixels' distance from the true object after another colour of its second part, or another material."""
    backbone, generator, scenes = pictured
    proposer, far = Proposer(backbone, stored.inputs), {True: [], False: []}
    for pictures, seen in scenes:
        for k in (2, 4):
            asked = {change.kind: change.value for change in changes_between(seen[0], seen[k])}
            wanted = stored.inputs(pictures[k][None])[1]
            for subject in (PicturedSubject(seen[0].family, pictures[0], generator), WordSubject(seen[0].family)):
                edit = subject.worded(Edit(asked), seen[0])
                made = proposer.sample(subject, [edit], pictures[0], wanted)[0]
                far[edit.pictured].append(float((made - pictures[k]).square().mean().sqrt()))
    assert np.mean(far[True]) < 0.95 * np.mean(far[False])


def test_a_proposals_file_is_what_it_was_made_of(stored, pictured, tmp_path):
    backbone, generator, scenes = pictured
    pictures, seen = scenes[1]
    subject, proposer = PicturedSubject(seen[0].family, pictures[0], generator), Proposer(backbone, stored.inputs)
    edit = subject.worded(Edit({"part": "teal"}), seen[0])
    wanted = stored.inputs(pictures[1][None])[1]
    (made,) = proposer.propose(subject, [edit], [()], [seen[0]], wanted)
    made.file.save(tmp_path / "x.safetensors")
    again = PromptDistribution.load(tmp_path / "x.safetensors")
    again.check_model(backbone)
    encoder = SoftPromptEncoder(backbone.tokenizer, backbone.text_encoder)
    shown = torch.cat([subject.embed([edit], encoder)[0], subject.references([edit], wanted)[0]])
    torch.testing.assert_close(again.embed(again.draw(seed=5), encoder), shown, atol=1e-4, rtol=1e-3)


def test_a_wish_on_the_command_line(tmp_path, capsys):
    write_references(tmp_path / "cups", "mug", count=1, seed=3)
    words = ["assist", "I want something for a winter scene", "--image", str(tmp_path / "cups" / "mug-00.png")]
    assert main([*words, "--out", str(tmp_path / "out"), "--json"]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert answer["act"] == "wish" and 2 <= len(answer["proposals"]) <= 4
    for number, proposal in enumerate(answer["proposals"], start=1):
        assert proposal["picture"] == str(tmp_path / "out" / f"proposal-{number}.png")
        assert (tmp_path / "out" / f"proposal-{number}.png").is_file()
        words, file = shlex.split(proposal["lift"]), tmp_path / "out" / f"proposal-{number}.safetensors"
        assert words[:2] == ["dreamdist3d", "launch"] and file.is_file() == proposal["edit"]["pictured"]
        if file.is_file():
            assert words[-1] == f"system.prompt_processor.distribution={file}"
    assert (
        json.loads((tmp_path / "out" / "answer.json").read_text())["request"] == "I want something for a winter scene"
    )


def test_a_subject_is_needed_and_a_missing_picture_is_told(tmp_path, capsys):
    assert main(["assist", "make it red"]) == 2
    assert "give pictures (--image) or distributions" in capsys.readouterr().err
    assert main(["assist", "make it red", "--image", str(tmp_path / "no.png")]) == 2
    assert "no.png does not exist" in capsys.readouterr().err
    assert main(["assist", "make it red", "--image", "a.png", "--weights", str(tmp_path)]) == 2
    assert "no assistant in" in capsys.readouterr().err


@pytest.mark.slow
def test_a_dialogue_by_lines(tmp_path):
    write_references(tmp_path / "cups", "mug", count=1, seed=3)
    command = [sys.executable, "-m", "dreamdist3d", "chat", str(tmp_path / "cups" / "mug-00.png"), "--json"]
    command += ["--out", str(tmp_path / "out")]
    said = "what can you do\n<>\nmake it teal\n"
    done = subprocess.run(command, input=said, capture_output=True, text=True, check=False)
    answers = [json.loads(line) for line in done.stdout.splitlines()]
    assert done.returncode == 0 and [answer["act"] for answer in answers] == ["answer", "edit"]
    assert "empty" in done.stderr and (tmp_path / "out" / "turn-03" / "proposal-1.png").is_file()
