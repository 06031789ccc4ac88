import math

import numpy as np
import pytest
import torch
import trimesh

from dreamdist3d.eval.assets import Asset, AssetSet
from dreamdist3d.eval.cards import pack_mesh, turntable
from dreamdist3d.eval.compare import compare, compare_sets
from dreamdist3d.eval.describe import EMPTY, find_suspects
from dreamdist3d.eval.diversity import matched_view_similarity, mean_pairwise_similarity
from dreamdist3d.eval.fidelity import prdc, reference_similarity
from dreamdist3d.eval.load import LoadedSet
from dreamdist3d.eval.measure import Scores, Seen, measure_features, measure_pictures
from dreamdist3d.eval.renders import VIEW_NAMES
from dreamdist3d.eval.sorting import likeness_order
from tests.eval.tiny import colored


def features(assets, views=4, width=5, seed=0):
    values = torch.randn(assets, views, width, generator=torch.Generator().manual_seed(seed))
    return torch.nn.functional.normalize(values, dim=-1)


def loaded(views, meshes=None, name="set"):
    assets = [Asset(str(index), None) for index in range(len(views))]
    return LoadedSet(AssetSet(name, None, assets), views, VIEW_NAMES[: views.shape[1]], [], meshes, [()] * len(assets))


def test_every_score_is_the_metric_s_own_value_inside_its_interval():
    mine, known = features(8), features(9, 1, seed=1)[:, 0]
    scores = Scores()
    measure_features(Seen("judge", mine, known, known[0]), scores)
    found = {score.metric: score.estimate for score in scores.found}
    exact = prdc(known, mine.flatten(0, 1))
    wanted = {
        "pooled": mean_pairwise_similarity(mine.flatten(0, 1)),
        "matched": matched_view_similarity(mine),
        "to_references": reference_similarity(mine, known).mean,
        "density": exact.density,
        "precision": exact.precision,
        "coverage": exact.coverage,
        "recall": exact.recall,
    }
    for metric, value in wanted.items():
        assert found[metric].value == pytest.approx(value, abs=1e-6)
    for metric in ("pooled", "matched", "to_references", "to_text", "vendi", "nearest_distance", "density"):
        assert found[metric].low < found[metric].value < found[metric].high


def test_what_is_refused_becomes_a_note_that_says_why():
    scores = Scores()
    measure_features(Seen("judge", features(4), features(3, 1)[:, 0], None), scores)
    assert {score.metric for score in scores.found}.isdisjoint({"density", "coverage", "frechet"})
    assert any(note.startswith("density (judge): 3 points have no 5-th") for note in scores.notes)
    assert any(note.startswith("frechet (judge): no Frechet distance") for note in scores.notes)


def test_half_of_a_set_without_closed_meshes_does_not_spoil_the_spread_of_volumes():
    closed = [colored(trimesh.creation.box((1, 1, 1 + i)), (200, 0, 0)) for i in range(3)]
    opened = [colored(trimesh.creation.box((1, 1, 2)), (0, 200, 0)) for _ in range(3)]
    for mesh in opened:
        mesh.update_faces(np.arange(len(mesh.faces)) > 0)
    views = np.full((6, 4, 16, 16, 3), 255, dtype=np.uint8)
    views[:, :, 4:12, 4:12] = 0
    scores = Scores()
    measure_pictures(loaded(views, closed + opened), scores)
    spread = next(score.estimate for score in scores.found if score.metric == "volume_spread")
    assert spread.value > 0 and spread.low is not None and math.isfinite(spread.high)


def test_sets_that_are_the_same_do_not_differ_and_a_collapsed_one_does():
    spread, copies = features(6), features(1, seed=3).expand(6, -1, -1)
    same = {row["metric"]: row for row in compare(Seen("j", spread, None, None), Seen("j", spread, None, None))}
    assert same["pooled"]["difference"] == 0 and same["pooled"]["p_value"] == 1
    other = {row["metric"]: row for row in compare(Seen("j", spread, None, None), Seen("j", copies, None, None))}
    assert other["matched"]["difference"] < -0.5 and other["matched"]["p_value"] <= 4 / 2**6
    assert other["matched"]["is_exact"] and other["matched"]["permutations"] == 2**6


def test_sets_of_unequal_numbers_are_not_tested_and_the_reason_is_told():
    views = [np.zeros((count, 4, 8, 8, 3), dtype=np.uint8) for count in (2, 3)]
    sets = [loaded(views[0], name="two"), loaded(views[1], name="three")]
    rows, notes = compare_sets(sets, [[Seen("j", features(2), None, None)], [Seen("j", features(3), None, None)]])
    assert rows == [] and "two and three are not tested against each other: 2 and 3 assets" in notes[0]


def test_an_empty_asset_is_flagged_as_that_alone_and_a_far_one_as_outside():
    views = np.full((3, 4, 16, 16, 3), 255, dtype=np.uint8)
    views[:2, :, 4:12, 4:12] = 0
    known = features(12, 1, seed=1)[:, 0]
    mine = known[:3, None].expand(3, 4, -1).clone()
    mine[1:] = -known.mean(dim=0) * 9
    flags = find_suspects(loaded(views), [Seen("j", mine, known, None)])
    assert flags[0] == [] and flags[1] == ["outside the references' manifold (j)"] and flags[2] == [EMPTY]


def test_a_likeness_order_puts_clusters_together():
    group = np.array([0, 1, 2, 0, 1, 2, 0])
    matrix = np.where(group[:, None] == group, 0.9, 0.1) + 0.1 * np.eye(7)
    order = likeness_order(matrix.tolist())
    assert sorted(order) == list(range(7))
    assert (np.diff(group[order]) != 0).sum() == 2


def test_a_packed_mesh_unpacks_to_the_framed_mesh():
    import base64

    mesh = colored(trimesh.creation.icosphere(subdivisions=1), (1, 2, 3))
    data = base64.b64decode(pack_mesh(mesh))
    vertices, faces = np.frombuffer(data, "<u4", 2)
    assert (vertices, faces) == (len(mesh.vertices), len(mesh.faces))
    positions = np.frombuffer(data, "<i2", 3 * vertices, 8).reshape(-1, 3) / 32767
    assert np.abs(positions - mesh.vertices).max() < 1e-3
    start = 8 + -(-6 * int(vertices) // 4) * 4
    assert (np.frombuffer(data, np.uint8, 4 * vertices, start).reshape(-1, 4) == [1, 2, 3, 255]).all()
    assert (np.frombuffer(data, "<u4", 3 * faces, start + 4 * int(vertices)).reshape(-1, 3) == mesh.faces).all()


def test_a_turntable_starts_at_the_front_and_goes_round():
    front, back = trimesh.creation.box((1, 1, 0.1)), trimesh.creation.box((1, 1, 0.1))
    front.apply_translation((0, 0, 0.5))
    both = trimesh.util.concatenate([colored(front, (250, 0, 0)), colored(back, (0, 0, 250))])
    frames = turntable(both, frames=4, size=32)
    middle = frames[:, 16, 16].astype(int)
    assert frames.shape == (4, 32, 32, 3)
    assert middle[0, 0] > middle[0, 2] + 100 and middle[2, 2] > middle[2, 0] + 100
