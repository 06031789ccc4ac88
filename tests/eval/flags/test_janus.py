import pytest
import torch

from dreamdist3d.eval.flags import front_back_similarity, janus_suspects


def unit(*rows: list[float]) -> torch.Tensor:
    return torch.nn.functional.normalize(torch.tensor(rows), dim=-1)


FACE, SIDE, BACK = [1.0, 0.0, 0.0], [0.2, 1.0, 0.0], [0.0, 0.3, 1.0]
SOUND, JANUS, ROUND = (unit(*rows) for rows in ([FACE, SIDE, BACK, SIDE], [FACE, SIDE, FACE, SIDE], [FACE] * 4))


def test_a_second_face_is_suspected_and_a_round_thing_is_not():
    references = unit(FACE, [1.0, 0.5, 0.0], [1.0, 0.0, 0.6], [0.9, 0.3, 0.3])
    assert janus_suspects(torch.stack([SOUND, JANUS, ROUND]), references).tolist() == [False, True, False]


def test_references_that_are_all_alike_excuse_it():
    references = unit(*[FACE] * 4)
    assert not janus_suspects(JANUS[None], references).any()


def test_similarity_is_that_of_front_and_back_whatever_their_lengths():
    features = torch.stack([SOUND, JANUS]) * 7
    torch.testing.assert_close(front_back_similarity(features), torch.tensor([0.0, 1.0], dtype=torch.float64))


def test_other_views_than_ours_are_refused():
    with pytest.raises(ValueError, match=r"four views.*\[1, 3, 2\]"):
        front_back_similarity(torch.ones(1, 3, 2))
    with pytest.raises(ValueError, match="two references"):
        janus_suspects(SOUND[None], unit(FACE))
