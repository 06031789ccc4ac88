"""The dialogue: what a request changes, where the next one begins, and words that are true of the pictures."""

import json
import re
import shlex
from dataclasses import dataclass, field, replace

import pytest
import torch

from dreamdist3d.assistant import assistant, proposing
from dreamdist3d.assistant.assistant import Assistant
from dreamdist3d.assistant.clauses import parted
from dreamdist3d.assistant.decoding import WishGrammar
from dreamdist3d.assistant.lead import spelled
from dreamdist3d.assistant.showing import in_text, write_answer
from dreamdist3d.assistant.storage import Stored
from dreamdist3d.assistant.subjects import DistributionSubject
from dreamdist3d.assistant.tokenizer import build_tokenizer
from dreamdist3d.backbones import load_backbone
from dreamdist3d.config import load_config
from dreamdist3d.errors import UserError
from dreamdist3d.mini.palette import PALETTE
from dreamdist3d.prompts import load_distribution

SEE = "<see> red mug blue"


@dataclass
class Scripted:
    """A language model that says what it is told to, and keeps what it was asked."""

    says: list[str] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)
    grammars: list[object] = field(default_factory=list)
    tokenizer = build_tokenizer()

    def answer(self, features, prompt, begun="", grammar=None):
        assert begun == "" or begun.startswith("<see> ")
        self.asked.append(prompt)
        self.grammars.append(grammar)
        if prompt == "<user> what is this <assistant>":
            return f"{SEE} <answer> <say> i see a red mug ."
        return self.says.pop(0)

    def wanted(self, features, prompts, answers):
        assert all(answer.startswith("<see> ") and "<edit> <do> " in answer for answer in answers)
        return torch.ones(len(prompts), 4)


class Flat:
    name, width, wanted_width = "flat", 4, 4

    def __call__(self, pictures):
        return torch.ones(len(pictures), 2, 4), torch.ones(len(pictures), 4)


def painted(edit) -> torch.Tensor:
    """A mug of the colour that was asked for, unless it is purple, which comes out green from every seed."""
    color = edit.asked.get("color", "red")
    picture = torch.ones(3, 64, 64)
    picture[:, 12:52, 12:52] = torch.tensor(PALETTE["green" if color == "purple" else color])[:, None, None]
    picture[:, 24:40, 52:58] = torch.tensor(PALETTE[edit.asked.get("part", "blue")])[:, None, None]
    return picture


@pytest.fixture
def talk(tiny_backbone, monkeypatch):
    def sample(self, subject, edits, origin=None, wanted=None):
        if isinstance(subject, DistributionSubject):  # the tiny text encoder is too short for captions
            subject.embed(edits, self._encoder)
        return torch.stack([painted(edit) for edit in edits])

    monkeypatch.setattr(proposing.Proposer, "sample", sample)
    model = Scripted()
    backbone = load_backbone(str(tiny_backbone))

    def begin(*says, **options):
        model.says[:] = says
        subject = options or {"pictures": torch.stack([painted(proposing.Edit())] * 2)}
        return Assistant(backbone=backbone, stored=Stored(model, Flat()), **subject)

    begin.model = model
    return begin


def test_a_clear_request_is_done_and_gone_on_with(talk):
    dialogue = talk(
        f"{SEE} <edit> <do> color teal <say> here is the mug in teal .",
        f"{SEE} <edit> <do> part yellow <say> with yellow handle .",
    )
    answer = dialogue.ask("Make it teal, please!")
    (proposal,) = answer.proposals
    assert answer.act == "edit" and answer.words == "Here is the mug in teal." and proposal.holds
    assert proposal.edit.prefix == "a teal" and proposal.edit.suffix == "with a blue handle"
    assert "a teal mug with blue handle" in proposal.words
    (second,) = dialogue.ask("and a yellow handle too").proposals
    assert second.edit.asked == {"color": "teal", "part": "yellow"}
    assert "make it teal , please ! <do> color teal" in talk.model.asked[-1]
    assert len(dialogue.history) == 2 and answer.seconds > 0


def test_words_that_the_picture_belies_are_taken_back(talk):
    answer = talk(f"{SEE} <edit> <do> color purple <say> here is the mug in purple .").ask("purple please")
    assert not answer.proposals[0].holds
    assert "purple" not in answer.words + answer.proposals[0].words
    assert "measured green" in answer.proposals[0].words and "not what you asked for" in answer.words
    assert answer.plan.words == "here is the mug in purple ."


def test_of_a_wish_only_what_came_out_is_shown_and_named(talk):
    done = "<do> color purple <do> color blue <do> color teal"
    says = f"{SEE} <wish> {done} <say> night makes me think of purple , blue and teal ."
    answer = talk(says).ask("something for the night")
    assert [one.changes[0].value for one in answer.proposals] == ["blue", "teal"]
    assert answer.words == "Blue and teal would suit that."


def test_a_wish_waits_for_a_choice_and_any_is_drawn(talk):
    dialogue = talk(
        f"{SEE} <wish> <do> color any <do> color blue <say> let me play with its colour .",
        f"{SEE} <edit> <do> pick second <say> here .",
        f"{SEE} <edit> <do> undo last <say> as it was .",
        f"{SEE} <edit> <do> undo last <say> as it was .",
        f"{SEE} <edit> <do> pick fourth <say> here .",
    )
    before = dialogue.picture
    wish = dialogue.ask("surprise me")
    drawn = wish.proposals[0].edit.asked["color"]
    assert drawn not in ("any", "red") and torch.equal(dialogue.picture, before)
    picked = dialogue.ask("the second one")
    assert picked.proposals[0].edit.asked == {"color": "blue"} and torch.equal(
        dialogue.picture, wish.proposals[1].picture
    )
    dialogue.ask("undo")
    assert torch.equal(dialogue.picture, before)
    assert "nothing to undo" in dialogue.ask("undo").words
    assert "no fourth proposal" in dialogue.ask("the fourth one").words


def test_both_halves_of_a_request_about_a_proposal_are_done(talk):
    wish = f"{SEE} <wish> <do> color blue <do> color teal <do> part white <say> blue , teal and white ."
    dialogue = talk(
        wish,
        f"{SEE} <edit> <do> pick second <say> here .",
        "<see> teal mug blue <edit> <do> pattern striped second white <say> here is the mug with stripes .",
        wish,
        f"{SEE} <wish> <do> color purple <do> color blue <say> blue .",
        f"{SEE} <wish> <do> color any <do> pattern dotted <say> let me play .",
    )
    dialogue.ask("surprise me")
    answer = dialogue.ask("The second one, but make it striped!")
    (striped,) = answer.proposals
    assert striped.edit.asked == {"color": "teal", "pattern": "striped", "second": "white"}
    assert [change.kind for change in striped.changes] == ["pick", "pattern", "second"]
    assert "make it striped" in talk.model.asked[-1] and "second one" not in talk.model.asked[-1]
    dialogue.ask("surprise me")
    from_third = dialogue.ask("the third one and surprise me").proposals
    assert all(one.edit.asked["part"] == "white" for one in from_third)
    assert {"any"}.isdisjoint(change.value for one in from_third for change in one.changes)


@pytest.mark.parametrize(
    ("request_", "halves"),
    [
        ("i like the second one , but make it striped", ("second", "make it striped")),
        ("paint the third one red", ("third", "paint it red")),
        ("put stripes on the first one", ("first", "put stripes on it")),
        ("the second proposal with a red handle", ("second", "with a red handle")),
        ("take the first one and make it a bit darker", ("first", "make it a bit darker")),
        ("the second one is better", None),
        ("the second one", None),
        ("make it striped", None),
        ("use the second picture", None),
    ],
)
def test_the_halves_of_a_request(request_, halves):
    assert parted(request_) == halves


def test_pictures_are_chosen_among_those_given(talk):
    dialogue = talk(
        f"{SEE} <edit> <do> reference second <say> as in the second picture .",
        f"{SEE} <edit> <do> reference third <say> as in the third picture .",
    )
    assert dialogue.ask("use the second picture").proposals[0].edit.references == (1,)
    assert "There is no third picture: 2 were given." in dialogue.ask("use the third picture").words


def test_questions_are_answered_truly(talk):
    dialogue = talk(f"{SEE} <answer> <say> it is red .", f"{SEE} <answer> <say> it is yellow .")
    assert dialogue.ask("what colour is it?").words == "It is red."
    words = dialogue.ask("what colour is it?").words
    assert "yellow" not in words and "red" in words


def test_unknown_words_and_nonsense_are_told(talk):
    dialogue = talk(
        f"{SEE} <refuse> <say> i do not know that word .",
        f"{SEE} <edit> <do> color teal <say> here is the mug in teal .",
        "mug mug mug",
    )
    assert dialogue.ask("make it chartreuse").words == 'I do not know "chartreuse".'
    answer = dialogue.ask("kindlee make it teal")
    assert answer.unknown == ["kindlee"] and answer.words.endswith("Here is the mug in teal.")
    assert "did not understand" in dialogue.ask("mug").words
    with pytest.raises(UserError, match="empty"):
        dialogue.ask(" <> ")


def test_nothing_is_read_into_unknown_words(talk):
    dialogue = talk(
        f"{SEE} <edit> <do> color teal <say> here is the mug in teal .",
        f"{SEE} <wish> <do> color blue <do> color teal <say> blue and teal would suit winter .",
    )
    for request in ("make it chartreuse", "something for a fnord scene"):
        answer = dialogue.ask(request)
        assert answer.act == "refuse" and not answer.proposals and answer.words.startswith("I do not know")


def test_words_about_another_thing_are_taken_back(talk):
    dialogue = talk(
        f"{SEE} <edit> <do> part yellow <say> here is the chair with yellow legs .",
        f"{SEE} <wish> <do> color blue <do> color teal <say> blue and teal would suit halloween .",
        f"{SEE} <edit> <do> color red <say> here is the mug in red .",
    )
    assert dialogue.ask("a yellow handle").words == "The mug with yellow handle."
    assert "halloween" not in dialogue.ask("something for a winter scene").words
    assert dialogue.ask("make it red").words == "That is how the mug is already."


def test_what_is_to_stay_is_left_out_of_a_wish_and_nothing_is_proposed_twice(talk):
    done = "<do> color teal <do> color red <do> material glossy <do> material glossy <do> pattern dotted"
    says = f"{SEE} <wish> {done} <say> for sea ."
    plan = talk(says, says).read("something for the sea but keep the colour")
    assert [changes[0].value for changes in plan.proposals] == ["glossy", "dotted"]
    talk.model.says[:] = [says]
    assert len(talk(says).read("something for the sea in a nice colour").proposals) == 3


@pytest.mark.parametrize(
    ("request_", "first"),
    [
        ("something for the sea but keep the colour", f"{SEE} <wish> <do> material glossy <do> color teal <say> hm ."),
        ("could it be more rusty", f"{SEE} <edit> <do> shape tall <say> here is the mug made taller ."),
        ("could it be more rusty", f"{SEE} <edit> <do> spread wider <say> here is more variety ."),
        ("could it be more rusty", "mug mug mug"),
    ],
)
def test_a_wish_that_the_model_fails_is_asked_for_again_in_form(talk, request_, first):
    again = f"{SEE} <wish> <do> pattern striped <do> material matt <do> material glossy <say> striped would suit that ."
    plan = talk(first, again).read(request_)
    assert plan.act == "wish" and len(plan.proposals) == 2  # a matt mug is no change
    assert talk.model.grammars[-2] is None and isinstance(talk.model.grammars[-1], WishGrammar)


@pytest.mark.parametrize(
    ("request_", "says"),
    [
        ("something for the sea in a nice colour", f"{SEE} <wish> <do> color teal <do> color blue <say> for sea ."),
        ("make it teal for a winter scene", f"{SEE} <edit> <do> color teal <say> here is the mug in teal ."),
        ("the second one , in a winter mood", f"{SEE} <edit> <do> pick second <say> here ."),
        ("undo the winter colours", f"{SEE} <edit> <do> undo last <say> as it was ."),
        ("make the handle yellow too", f"{SEE} <edit> <do> part yellow <say> with yellow handle ."),
    ],
)
def test_what_the_model_answers_in_form_is_left_to_it(talk, request_, says):
    talk(says).read(request_)
    assert set(talk.model.grammars) == {None}


def test_what_is_left_out_of_a_request_is_told(talk):
    dialogue = talk(
        f"{SEE} <edit> <do> color teal <say> here is the mug in teal .",
        f"{SEE} <answer> <say> the handle <say> is",
        f"{SEE} <edit> <do> shape short <say> the mug made taller .",
    )
    assert dialogue.ask("teal and striped").words.startswith("I left out striped: ask for it by itself.")
    assert "did not understand" in dialogue.ask("remove the handle").words
    assert "taller" not in dialogue.ask("a shorter one").words


@pytest.mark.parametrize(
    ("asked", "share"),
    [({"part": "teal"}, 0.35), ({"color": "teal"}, 0.2), ({"pattern": "dotted"}, 0.2), ({"shape": "tall"}, 0.07)],
)
def test_a_picture_is_begun_from_what_was_given(talk, asked, share):
    dialogue = talk()
    proposer = dialogue._proposer
    edit = proposing.Edit(asked, noise_seed=3)
    origin = torch.rand(3, 16, 16, generator=torch.Generator().manual_seed(0))
    plain, begun = proposer._noise([edit], None), proposer._noise([edit], origin)
    latents = proposer.backbone.encode_images(origin[None] * 2 - 1)
    torch.testing.assert_close(begun, share * latents + (1 - share**2) ** 0.5 * plain)
    freely = proposer._noise([proposing.Edit({"background": "gradient"}, noise_seed=3)], origin)
    assert torch.equal(freely, plain)


@pytest.mark.parametrize(
    ("request_", "does", "seed"),
    [("a yellow handle", "part yellow", 14), ("metal", "material metallic", 14), ("make it teal", "color teal", 0)],
)
def test_of_equally_true_pictures_the_one_that_keeps_the_colours_is_taken(talk, monkeypatch, request_, does, seed):
    dialogue = talk(f"{SEE} <edit> <do> {does} <say> here .")
    # Of seeds 0, 7 and 14 the last alone keeps the mug red; all are equally near to what is wanted.
    others = {0: "brown", 7: "brown"}
    monkeypatch.setattr(
        proposing.Proposer,
        "sample",
        lambda self, subject, edits, origin=None, wanted=None: torch.stack(
            [painted(replace(e, asked={"color": others.get(e.noise_seed, "red")} | e.asked)) for e in edits]
        ),
    )
    assert dialogue.ask(request_).proposals[0].edit.noise_seed == seed


def test_a_pictures_embedding_takes_the_place_of_what_is_wanted(talk, monkeypatch):
    wanted = []
    real = proposing.Proposer.propose
    monkeypatch.setattr(proposing.Proposer, "propose", lambda *given: wanted.append(given[5]) or real(*given))
    says = [f"{SEE} <edit> <do> color {color} <say> here ." for color in ("teal", "blue")]
    dialogue = talk(*says)
    dialogue.ask("make it teal")
    dialogue.like = torch.zeros(3, 64, 64)
    monkeypatch.setattr(
        Flat,
        "__call__",
        lambda self, pictures: (torch.ones(len(pictures), 2, 4), pictures.mean() + torch.full((len(pictures), 4), 7.0)),
    )
    dialogue.ask("make it blue")
    assert [float(one.mean()) for one in wanted] == [1.0, 7.0]


def test_where_the_picture_does_not_give_way_words_are_tried(talk, monkeypatch):
    class Seer:
        def tokens(self, wanted, picture, count):
            return torch.ones(count, 2, 16)

        def file(self, vectors, shown):
            return vectors, shown

    def sample(self, subject, edits, origin=None, wanted=None):
        assert subject.references(edits, wanted).any() == edits[0].pictured
        return torch.stack([painted(replace(edit, asked={}) if stays and edit.pictured else edit) for edit in edits])

    monkeypatch.setattr(assistant, "_generator", lambda *_: Seer())
    monkeypatch.setattr(proposing.Proposer, "sample", sample)
    for stays in (True, False):
        (proposal,) = talk(f"{SEE} <edit> <do> part yellow <say> here .").ask("a yellow handle").proposals
        assert proposal.holds and proposal.edit.pictured != stays and (proposal.file is None) == stays
        assert proposal.edit.prefix == "a red" and proposal.edit.suffix == "with a yellow handle"


def test_darker_is_a_table_and_no_guess(talk):
    dialogue = talk(
        f"{SEE} <edit> <do> color teal <say> here is the mug in teal .",
        f"{SEE} <edit> <do> color black <say> here is the mug in black .",
        f"{SEE} <edit> <do> color white <say> here is the mug in white .",
    )
    for request, value in (("a bit darker", "brown"), ("a bit darker", "black")):
        answer = dialogue.ask(request)
        assert answer.proposals[0].edit.asked["color"] == value and value in answer.words
    assert dialogue.ask("darker").words == "There is nothing darker than black here."


def test_a_distribution_keeps_its_own_words_and_is_lifted_by_a_command_that_works(talk, tiny_distribution):
    source = load_distribution(tiny_distribution)
    dialogue = talk(
        f"{SEE} <edit> <do> color teal <say> here is the mug in teal .",
        f"{SEE} <edit> <do> spread wider <say> further .",
        f"{SEE} <edit> <do> mix first <say> more of the first distribution .",
        source=source,
        paths=[tiny_distribution],
    )
    (teal,) = dialogue.ask("make it teal").proposals
    assert teal.edit.prefix == "a teal" and teal.edit.suffix is None and teal.edit.references == ()
    wider, *others = dialogue.ask("wilder").proposals
    assert len({one.edit.draw_seed for one in (wider, *others)}) == 3 and {one.edit.gamma for one in others} == {1.5}
    words = shlex.split(wider.lift)
    assert words[:4] == ["dreamdist3d", "launch", "--config", "dreamdist3d/mvdream.yaml"]
    config = load_config("dreamdist3d/mini.yaml", words[4:]).system.prompt_processor
    assert (config.gamma, config.prefix, config.draw_seed) == (1.5, "a teal", wider.edit.draw_seed)
    assert config.files == [str(tiny_distribution)]
    assert "only one distribution" in dialogue.ask("more of the first").words


def test_hostile_names_reach_no_shell_and_no_path(talk, tiny_distribution, tmp_path):
    evil = tmp_path / "a; touch `id` $HOME 'x' [y].safetensors"
    evil.write_bytes(tiny_distribution.read_bytes())
    dialogue = talk(
        f"{SEE} <edit> <do> color teal <say> here is the mug in teal .", source=load_distribution(evil), paths=[evil]
    )
    answer = dialogue.ask("../../etc; rm -rf / <b>teal</b>")
    words = shlex.split(answer.proposals[0].lift)
    assert load_config("dreamdist3d/mini.yaml", words[4:]).system.prompt_processor.files == [str(evil)]
    paths = write_answer(answer, tmp_path / "out", dialogue.picture)
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["answer.json", "proposal-1.png", "sheet.png"]
    record = json.loads((tmp_path / "out" / "answer.json").read_text())
    assert record["proposals"][0]["picture"] == "proposal-1.png" and record["proposals"][0]["edit"]["asked"] == {
        "color": "teal"
    }
    text = in_text(answer, paths)
    assert str(paths[0]) in text and answer.proposals[0].lift in text


def test_one_subject_is_needed(talk, tiny_distribution):
    with pytest.raises(UserError, match="one of the two"):
        talk(pictures=torch.rand(1, 3, 8, 8), source=load_distribution(tiny_distribution))


def test_sentences_are_spelled_as_people_do():
    assert spelled("i see a mug , and i know . what now ?") == "I see a mug, and I know. What now?"
    assert not re.search(r" [,.]", spelled("red , blue and teal would suit night . the shape stays ."))
