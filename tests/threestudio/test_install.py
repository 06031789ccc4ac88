"""Putting the extension into a checkout, and taking it out again."""

import os
from pathlib import Path

import pytest

from dreamdist3d.cli import main
from dreamdist3d.errors import UserError
from dreamdist3d.threestudio.install import NAME, extension_folder, install, uninstall


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """What makes a folder a checkout of threestudio."""
    for name in ("threestudio", "custom"):
        (tmp_path / "ts" / name).mkdir(parents=True)
    for name in ("launch.py", "threestudio/__init__.py"):
        (tmp_path / "ts" / name).touch()
    return tmp_path / "ts"


def test_it_is_linked_and_taken_out_again(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    target = home / "custom" / NAME
    assert main(["threestudio", "install", str(home)]) == 0
    assert target.is_symlink() and target.resolve() == extension_folder()
    assert (target / "configs" / "mvdream.yaml").is_file()
    assert "Linked" in capsys.readouterr().out
    assert "already linked" in install(home)
    assert main(["threestudio", "uninstall", str(home)]) == 0
    assert not os.path.lexists(target) and (extension_folder() / "__init__.py").is_file()
    assert "Removed" in capsys.readouterr().out
    assert "Nothing to do" in uninstall(home)


def test_it_can_be_copied_and_a_copy_renewed(home: Path) -> None:
    target = home / "custom" / NAME
    install(home)
    assert "in place of" in install(home, copy=True)
    assert not target.is_symlink() and not list(target.rglob("__pycache__"))
    (target / "guidance.py").write_text("old")
    install(home, copy=True)
    assert (target / "guidance.py").read_bytes() == (extension_folder() / "guidance.py").read_bytes()
    uninstall(home)
    assert not target.exists()


def test_a_copy_that_broke_off_can_be_renewed(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full_disk(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as broken:
        broken.setattr("shutil.copytree", full_disk)
        with pytest.raises(UserError, match="No space left on device"):
            install(home, copy=True)
    assert "Linked" in install(home)


def test_a_link_that_leads_nowhere_is_replaced(home: Path) -> None:
    (home / "custom" / NAME).symlink_to(home / "gone")
    assert "in place of" in install(home)
    assert (home / "custom" / NAME / "__init__.py").is_file()


def test_what_somebody_else_put_there_is_left_alone(home: Path) -> None:
    own = home / "custom" / NAME
    own.mkdir()
    (own / "mine.py").touch()
    for change in (install, uninstall):
        with pytest.raises(UserError, match="move it away yourself"):
            change(home)
    assert (own / "mine.py").exists()


def test_no_links_here_names_the_copy(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError(1, "Operation not permitted")

    monkeypatch.setattr(Path, "symlink_to", refuse)
    with pytest.raises(UserError, match="--copy"):
        install(home)


def test_a_folder_that_is_no_checkout_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["threestudio", "install", str(tmp_path)]) == 2
    assert "is no checkout of threestudio" in capsys.readouterr().err
