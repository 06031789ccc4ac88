"""Experts, their pictures, and the filter between them and the apprentice."""

import json
from dataclasses import replace

import pytest
import torch

from dreamdist3d.apprentice import teaching
from dreamdist3d.apprentice.teaching import TeachSettings, delta_clip, examples, teach
from dreamdist3d.errors import Stopped
from dreamdist3d.prompts import PromptDistribution
from tests.prompts.tiny import CONFIG

SETTINGS = TeachSettings(experts=3, stack=2, pictures=4, sampling_steps=2)
LEARNING = replace(CONFIG, steps=2, prefix="")


class Judge:
    """Pictures by their mean colour; words by a colour that they name."""

    def encode(self, images):
        return torch.nn.functional.normalize(images.mean(dim=(2, 3)), dim=1)

    def encode_text(self, texts):
        return torch.tensor([[1.0, 0, 0] if "red" in text else [0, 0, 1.0] for text in texts])


def test_delta_clip_is_what_the_words_changed():
    demonstrations = torch.tensor([[0.6, 0.8, 0.0], [0.0, 1.0, 0.0]])[..., None, None]
    made = torch.tensor([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]])[..., None, None]
    found = delta_clip(Judge(), made, demonstrations, ["a red cat", "a blue cat"])
    torch.testing.assert_close(found, torch.tensor([1.0 - 0.6, 0.0]))


def test_every_cluster_gets_an_expert_and_pictures_under_words_that_it_never_had(backbone, bank, tmp_path):
    counts = teach(backbone, bank, tmp_path, LEARNING, SETTINGS, Judge())
    assert (counts["experts"], counts["pictures"]) == (3, 12)
    assert counts["kept"] + sum(counts["left_out"].values()) == 12
    assert json.loads((tmp_path / "taught.json").read_text()) == counts
    expert = PromptDistribution.load(tmp_path / "experts" / "b.safetensors")
    assert expert.tokens.shape == (3, 2, 16)
    expert.check_encoder(backbone)
    every, some = examples(tmp_path, bank, -9.0), examples(tmp_path, bank)
    assert len(every) == 12
    assert len(some) == counts["kept"]
    by_name = {cluster.name: cluster for cluster in bank.clusters}
    assert all(one.home in by_name[one.cluster].pictures and one.prefix == "a red" for one in every)
    assert every[0].latents.shape == (4, 8, 8)


def test_a_stop_loses_nothing_that_is_whole_and_the_rest_is_the_same(backbone, bank, tmp_path, monkeypatch):
    teach(backbone, bank, tmp_path / "whole", LEARNING, SETTINGS, Judge())
    calls = []
    real = teaching._teach_stack

    def stopping(*given):
        if calls:
            raise Stopped("enough")
        calls.append(len(given[3]))
        real(*given)

    monkeypatch.setattr(teaching, "_teach_stack", stopping)
    with pytest.raises(Stopped):
        teach(backbone, bank, tmp_path / "parts", LEARNING, SETTINGS, Judge())
    monkeypatch.setattr(teaching, "_teach_stack", lambda *given: (calls.append(len(given[3])), real(*given)))
    teach(backbone, bank, tmp_path / "parts", LEARNING, SETTINGS, Judge())
    assert calls == [2, 1]
    for kind in ("experts", "pictures"):
        for path in sorted((tmp_path / "whole" / kind).glob("*.safetensors")):
            assert path.read_bytes() == (tmp_path / "parts" / kind / path.name).read_bytes()


def test_a_stack_that_another_process_holds_is_left_to_it(backbone, bank, tmp_path):
    (tmp_path / "pictures").mkdir()
    with teaching._claimed(tmp_path, bank.clusters[0]) as mine:
        assert mine
        counts = teach(backbone, bank, tmp_path, LEARNING, SETTINGS, Judge())
    assert counts["experts"] == 1
