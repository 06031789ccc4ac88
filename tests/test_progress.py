import re

from dreamdist3d import progress
from dreamdist3d.progress import bar


def test_a_log_gets_lines_with_steps_time_left_and_the_note(capsys, monkeypatch):
    clock = iter(range(0, 1000, 10))
    monkeypatch.setattr(progress.time, "monotonic", lambda: next(clock))
    with bar("lift", total=5, done=1) as running:
        running.advance("loss 2")
        running.advance()
        running.advance("loss 1", steps=2)
    lines = capsys.readouterr().err.splitlines()
    assert lines == ["lift 2/5, 30 s left, loss 2", "lift 3/5, 20 s left, loss 2", "lift 5/5, 0 s left, loss 1"]


def test_a_quick_log_gets_only_its_last_line(capsys):
    with bar("lift", total=3) as running:
        for _ in range(3):
            running.advance()
    assert re.fullmatch(r"lift 3/3, 0 s left, \n", capsys.readouterr().err)


def test_a_process_that_is_not_shown_keeps_silent(capsys):
    with bar("lift", total=1, shown=False) as running:
        running.advance("done")
    assert capsys.readouterr().err == ""
