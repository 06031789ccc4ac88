"""Measures that need weights of their own: what becomes of their answers, and of weights that are missing."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from dreamdist3d.errors import UserError
from dreamdist3d.eval import extra
from dreamdist3d.eval.measure import Scores


def measured(monkeypatch, answers, assets=5, views=4):
    """The scores of a set of which Inception says `answers` [A V, C]."""

    def inception_answers(pictures):
        assert pictures.shape == (assets * views, 3, 8, 8)
        return answers()

    monkeypatch.setattr(extra, "inception_answers", inception_answers)
    one, scores = SimpleNamespace(views=np.zeros((assets, views, 8, 8, 3), np.uint8)), Scores()
    extra.measure_extra(one, None, ["inception"], scores)
    return {score.metric: score.estimate for score in scores.found}, scores.notes


def test_assets_that_are_each_something_else(monkeypatch):
    found, notes = measured(monkeypatch, lambda: torch.eye(5).repeat_interleave(4, 0))
    assert found["iq"].value == 0 and found["iv"].value == pytest.approx(np.log(5)) and not notes
    assert found["iv"].low is not None and found["iq"].high == 0


def test_assets_that_are_all_one_thing_or_nothing(monkeypatch):
    found, _ = measured(monkeypatch, lambda: torch.eye(5)[:1].expand(20, -1))
    assert found["iq"].value == found["iv"].value == 0
    found, _ = measured(monkeypatch, lambda: torch.full((20, 5), 0.2))
    assert found["iq"].value == pytest.approx(found["iv"].value) == pytest.approx(np.log(5))


def test_one_asset_has_no_variance(monkeypatch):
    found, _ = measured(monkeypatch, lambda: torch.eye(5)[:4], assets=1)
    assert set(found) == {"iq"}


def test_missing_weights_become_a_note(monkeypatch):
    def nowhere():
        raise UserError("the weights are not on this machine")

    found, notes = measured(monkeypatch, nowhere)
    assert not found and any("not on this machine" in note for note in notes)
