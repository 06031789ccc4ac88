"""The parts of the 2D tables whose answer is known: concepts, words around what was learned, scores, intervals."""

from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from dreamdist3d.eval.fidelity import prdc
from dreamdist3d.prompts import PromptDistribution


@pytest.fixture
def bench(monkeypatch):
    """The benchmarks' modules by name."""
    monkeypatch.syspath_prepend(str(Path(__file__).parents[2] / "benchmarks"))
    import dreambench_mini

    import concepts
    import tables_2d
    import tables_2d_scores
    import tables_2d_table

    modules = (concepts, dreambench_mini, tables_2d, tables_2d_scores, tables_2d_table)
    return SimpleNamespace(**{module.__name__: module for module in modules})


def test_a_concept_shows_what_it_says(bench, tmp_path):
    for name, count in (("mushroom+house", 6), ("red", 4)):
        bench.concepts.write_concept(tmp_path / name, bench.concepts.concept_of(name), count, seed=0)
    families = [path.stem.partition("-")[2] for path in sorted((tmp_path / "mushroom+house").glob("*.png"))]
    assert sorted(families) == ["house"] * 3 + ["mushroom"] * 3
    pictures = bench.concepts.pictures_in(tmp_path / "red", 64)
    reddish = pictures[:, 0] > 1.6 * pictures[:, 1:].amax(dim=1)
    assert (reddish.flatten(1).sum(dim=1) > 40).all()
    assert bench.concepts.concept_of("red").texts[:2] == ["a red mushroom", "a red chair"]
    assert (
        bench.concepts.concept_of("mushroom").texts == ["a mushroom"]
        and len(bench.concepts.first_references(tmp_path / "red", 3, 64)) == 3
    )


def test_scores_of_the_held_out_objects_themselves(bench, tmp_path):
    concept = bench.concepts.concept_of("mushroom")
    for kind, count, seed in (("references", 3, 0), ("held-out", 8, 1)):
        bench.concepts.write_concept(tmp_path / kind, concept, count, seed)
    pictures = bench.concepts.pictures_in(tmp_path / "held-out", 64)
    full = bench.tables_2d_scores.scores(pictures, concept, tmp_path / "references", tmp_path / "held-out", 2)
    found = {name: estimate.value for name, estimate in full.items()}
    assert (found["precision"], found["recall"], found["coverage"]) == (1, 1, 1)
    assert full["precision"].high == 1 and full["precision"].low < 0.7  # eight pictures are few
    assert "fid" not in found and "frechet" not in found  # too few pictures
    clip, dino = bench.tables_2d_scores.judges()[:2]
    first, second = dino.encode(pictures), dino.encode(bench.concepts.pictures_in(tmp_path / "references", 64)[:2])
    assert found["dino_i"] == pytest.approx(float((first @ second.T).mean()), abs=1e-4)
    texts = clip.encode(pictures) @ clip.encode_text(["a mushroom"])[0]
    assert found["clip_t"] == pytest.approx(float(texts.mean()), abs=1e-4)
    assert 0 <= found["iq"] <= found["iv"] <= 5.49 and 1 <= found["vendi"] <= 8


def test_a_concept_of_two_families_is_called_by_either_name(bench, tmp_path):
    for name in ("mushroom+house", "mushroom", "house"):
        for kind, count, seed in (("references", 2, 0), ("held-out", 8, 1)):
            bench.concepts.write_concept(tmp_path / kind / name, bench.concepts.concept_of(name), count, seed)

    def called(name, shown):
        pictures = bench.concepts.pictures_in(tmp_path / "held-out" / shown, 64)
        places = [tmp_path / kind / name for kind in ("references", "held-out")]
        return bench.tables_2d_scores.scores(pictures, bench.concepts.concept_of(name), *places, 2)["family"].value

    assert (called("mushroom+house", "mushroom+house"), called("mushroom+house", "house")) == (1, 1)
    assert (called("mushroom", "mushroom+house"), called("mushroom", "house")) == (0.5, 0)


def test_manifold_scores_are_those_of_the_library(bench):
    generator = torch.Generator().manual_seed(0)
    known, seen = torch.randn(30, 4, generator=generator), torch.randn(20, 4, generator=generator) + 0.3
    found = bench.tables_2d_scores.manifold(known, seen)
    expected = prdc(known, seen)
    assert all(found[name].value == pytest.approx(getattr(expected, name)) for name in vars(expected))


def test_cells_of_a_study_have_names_of_their_own(bench):
    options = bench.tables_2d.Options(seeds=(0, 1))
    cells = [cell for study in bench.tables_2d.STUDIES for cell in bench.tables_2d.cells_of(study, options)]
    different = set(cells)
    assert len({cell.name for cell in different}) == len(different)
    drawn = {cell.learned for cell in bench.tables_2d.cells_of("gamma", options)}
    assert len(drawn) == 4 and all(not cell.setting for cell in drawn)  # two objectives, two seeds


def test_means_and_intervals_of_a_table(bench, capsys):
    shown = bench.tables_2d_table.shown
    exact, rough = ({"value": 0.5, "error": error, "degrees": 3} for error in (None, 0.1))
    assert shown([]) == "" and shown([exact]) == "0.50"
    assert shown([rough]) == "0.50 ± 0.32"  # over pictures
    three = [rough | {"value": value} for value in (1.0, 2.0, 3.0)]
    assert shown(three) == "2.00 ± 2.48"  # over cells: t of two degrees of freedom
    cells = [{"method": m, "scores": {"fresh": {"iv": exact}}} for m in ("words", "coupled")]
    bench.tables_2d_table.print_table("x", bench.tables_2d_table.groups(cells, "fresh", lambda cell: cell["method"]))
    assert capsys.readouterr().out.splitlines()[1:] == ["| x | cells | IV ↑ |", "|---|---|---|",
                                                        "| coupled | 1 | 0.50 |", "| words | 1 | 0.50 |"]  # fmt: skip


def test_a_prompts_words_stand_around_the_learned_ones(bench):
    def learned(**values):
        return PromptDistribution(torch.zeros(1, 1, 4), "low_rank", "fp16-x", **values)

    rare = learned(prefix="a", suffix="mushroom")
    assert bench.dreambench_mini.worded(rare, "", ", back view") == (None, "mushroom, back view")
    assert bench.dreambench_mini.worded(rare, "a red", "") == ("a red", "mushroom")
    assert bench.dreambench_mini.worded(learned(), "", "") == (None, None)
    assert bench.dreambench_mini.worded(learned(metadata={"method": "words"}), "", "") == ("a", None)


def test_a_subject_is_one_object_from_around_it(bench, tmp_path):
    subject = bench.dreambench_mini.Subject(3)
    bench.dreambench_mini.write_references(tmp_path / "mug", subject)
    views = bench.concepts.pictures_in(tmp_path / "mug", 64)
    assert subject.name == "03-mug" and len(views) == 5
    found = bench.dreambench_mini.scores(subject, tmp_path / "mug", views[None].expand(10, -1, -1, -1, -1))
    assert found["shape"] == 0 and found["color"] < 0.35


def test_differences_are_paired_by_what_is_learned_from(bench, capsys):
    from scipy import stats

    coupled, paper = [0.3, 0.5, 0.9, 0.1], [0.35, 0.52, 0.98, 0.4]
    cells = [
        {"concept": concept, "seed": 0, "method": method, "scores": {"fresh": {"coverage": {"value": value}}}}
        for method, values in (("paper", paper), ("coupled", coupled))
        for concept, value in zip("abcd", values, strict=True)
    ]
    # Another seed of one family, which is no family more: the mean of a family's seeds counts.
    for method, value in (("coupled", coupled[0] - 0.1), ("paper", paper[0] - 0.3)):
        again = {"concept": "a", "seed": 1, "method": method, "scores": {"fresh": {"coverage": {"value": value}}}}
        cells.append(again)
    paper[0] -= 0.1
    lonely = {"concept": "e", "seed": 0, "method": "paper", "scores": {"fresh": {"coverage": {"value": 9.0}}}}
    bench.tables_2d_table.print_differences("minus coupled", [*cells, lonely], "fresh")
    printed = capsys.readouterr().out.splitlines()[-1]
    known = stats.ttest_rel(paper, coupled).confidence_interval()
    assert printed == f"| paper | 4 | 5 | {(known.low + known.high) / 2:+.2f} ± {(known.high - known.low) / 2:.2f} |"


def test_published_cells_are_read_as_they_were_written(bench, tmp_path):
    table = bench.tables_2d_table
    about = {"concept": "bird", "method": "words", "references": 20, "setting": "", "value": 0.0, "pictures": 8}
    scores = {"fresh": {"iv": {"value": 2.5, "error": 0.25, "degrees": 7}, "vendi": {"value": 3.0, "error": None}}}
    cells = [about | {"seed": seed, "steps": steps, "scores": scores} for seed, steps in ((0, None), (1, 100))]
    table.write_csv(tmp_path / "cells.csv", cells)
    found = table.read_csv(tmp_path / "cells.csv")
    scores["fresh"]["vendi"]["degrees"] = 7  # which is what nothing is done with
    assert found == cells
    whole = cells[0] | {"setting": "prompts", "value": 4}
    table.write_csv(tmp_path / "cells.csv", [whole])
    assert [table._key(one) for one in table.read_csv(tmp_path / "cells.csv")] == [table._key(whole)]


def test_seeds_of_a_family_are_one_cell(bench):
    row = {"error": 0.1, "degrees": 7}
    cells = [{"concept": c, "method": "words", "seed": s, "scores": {"fresh": {"iv": row | {"value": v}}}}
             for c, s, v in (("a", 0, 1.0), ("a", 1, 2.0), ("b", 0, 5.0))]  # fmt: skip
    first, second = bench.tables_2d_table.over_seeds(cells)
    assert first["scores"]["fresh"]["iv"]["value"] == 1.5 and second["scores"]["fresh"]["iv"]["value"] == 5.0
    assert first["scores"]["fresh"]["iv"]["error"] == pytest.approx(0.1 / 2**0.5)
