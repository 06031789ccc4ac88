"""Files that outlive a process."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from dreamdist3d.errors import UserError, clipped, is_out_of_memory, one_line, shown
from dreamdist3d.files import read_json, remove_unfinished, safe_name, sweep, write_atomic, write_text


def hidden(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir() if path.name.startswith(".")]


def killed_while_writing(path: Path) -> None:
    code = (
        "import os, sys; from pathlib import Path; from dreamdist3d.files import write_atomic\n"
        "write_atomic(Path(sys.argv[1]), lambda t: (t.write_text('half'), os.kill(os.getpid(), 9)))"
    )
    assert subprocess.run([sys.executable, "-c", code, str(path)]).returncode == -9


def test_what_a_killed_writer_left_goes_with_the_next_write_and_the_old_file_stays_till_then(tmp_path: Path) -> None:
    path = tmp_path / "model.glb"
    write_text(path, "old")
    killed_while_writing(path)
    assert path.read_text() == "old" and len(hidden(tmp_path)) == 1
    (tmp_path / ".model.glb.mine").write_text("somebody's own")
    write_text(path, "new")
    assert path.read_text() == "new" and hidden(tmp_path) == [".model.glb.mine"]


def test_a_file_that_is_being_written_is_not_taken_for_one_left_behind(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"

    def slow(temporary: Path) -> None:
        temporary.write_text("slow")
        write_text(path, "quick")  # another writer of the same file
        remove_unfinished(tmp_path)
        assert temporary.read_text() == "slow"

    write_atomic(path, slow)
    assert path.read_text() == "slow" and hidden(tmp_path) == []


def test_a_sweep_reaches_every_folder_and_refuses_links_to_folders(tmp_path: Path) -> None:
    place = tmp_path / "run" / "export" / "web"
    place.mkdir(parents=True)
    (place / ".x.glb.abc.part.glb").touch()
    (place / ".keep").touch()
    sweep(tmp_path / "run")
    assert hidden(place) == [".keep"]
    (tmp_path / "run" / "save").symlink_to(tmp_path)
    with pytest.raises(UserError, match=r"run/save is a link"):
        sweep(tmp_path / "run")


def test_a_failing_writer_leaves_nothing(tmp_path: Path) -> None:
    def fail(temporary: Path) -> None:
        raise OSError(28, "No space left on device")

    with pytest.raises(UserError, match="No space left"):
        write_atomic(tmp_path / "x" / "a.txt", fail)
    assert not list((tmp_path / "x").iterdir())


@pytest.mark.parametrize(
    "text", ["[" * 100_000, "[" * 100 + "]" * 100, '"\\ud800"', '{"a": ["\\udfff"]}', "9" * 5000, "{", "\xff"]
)
def test_no_json_ends_in_more_than_one_line(text: str, tmp_path: Path) -> None:
    path = tmp_path / "run.json"
    path.write_text(text, encoding="latin-1")
    with pytest.raises(UserError, match=r"run\.json cannot be read as JSON") as caught:
        read_json(path)
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 600


def test_json_of_a_sound_size_is_read(tmp_path: Path) -> None:
    value = {"a": [1, 2.5, None, {"b": "\N{SNOWMAN}"}]}
    (tmp_path / "x.json").write_text(json.dumps(value))
    assert read_json(tmp_path / "x.json") == value


@pytest.mark.parametrize("name", ["../../x", "/etc/passwd", "..", ".", "a/b", "\x00", "", "x" * 5000, ".hidden"])
def test_no_name_leaves_its_folder(name: str, tmp_path: Path) -> None:
    safe = safe_name(name)
    assert (tmp_path / safe).parent == tmp_path and not safe.startswith(".") and 0 < len(safe) <= 80
    (tmp_path / safe).touch()


def test_messages_stay_short() -> None:
    assert shown("a") == "'a'" and shown(10**5000) == "a int too large to show"
    assert len(shown("x" * 10_000)) < 250 and clipped("x" * 200) == "x" * 200
    assert one_line(ValueError("a\n b")) == "a b" and one_line(KeyError()) == "KeyError"
    assert len(one_line(ValueError("x" * 10_000))) < 2100


def test_lack_of_memory_is_known_by_whatever_name() -> None:
    assert is_out_of_memory(MemoryError()) and is_out_of_memory(OSError(12, os.strerror(12)))
    assert is_out_of_memory(RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 8 bytes"))
    wrapped = UserError("the model cannot be loaded")
    wrapped.__cause__ = MemoryError()
    assert is_out_of_memory(wrapped) and not is_out_of_memory(ValueError("no"))
