"""The checkout: found, checked, remembered, and never touched."""

import shutil
import sys
from pathlib import Path

import pytest

from dreamdist3d.cli import main
from dreamdist3d.errors import UserError
from dreamdist3d.trellis import checkout
from dreamdist3d.trellis.checkout import find_home, import_from, install, missing_packages, uninstall


def test_a_checkout_is_remembered_and_forgotten(home, capsys):
    with pytest.raises(UserError, match="trellis install"):
        find_home()
    assert main(["trellis", "install", str(home)]) == 0
    told = capsys.readouterr().out
    assert str(home) in told and "spconv is not installed" in told and "nvdiffrast: NVIDIA" in told
    assert find_home() == home.resolve()
    assert "Forgot" in uninstall() and "Nothing to do" in uninstall()


def test_the_variable_counts_more(home, monkeypatch, tmp_path):
    install(home)
    monkeypatch.setenv("TRELLIS_HOME", str(tmp_path))
    with pytest.raises(UserError, match=f"{tmp_path} is no checkout"):
        find_home()


def test_a_checkout_without_its_submodule_says_how_to_get_it(tmp_path):
    file = tmp_path / "trellis" / "pipelines" / "trellis_text_to_3d.py"
    file.parent.mkdir(parents=True)
    file.touch()
    with pytest.raises(UserError, match="git submodule update"):
        install(tmp_path)


def test_an_old_submodule_under_another_licence_is_told(home, tmp_path):
    old = tmp_path / "old"
    shutil.copytree(home, old)
    licence = old / "trellis" / "representations" / "mesh" / "flexicubes" / "LICENSE.txt"
    for text, is_told in (("used or intended for use non-commercially", True), ("Apache License", False)):
        licence.write_text(text)
        assert any("before April 2025" in line for line in install(old)) is is_told


def test_a_damaged_memory_is_as_none(home, tmp_path):
    path = tmp_path / "config" / "dreamdist3d" / "trellis.json"
    path.parent.mkdir(parents=True)
    path.write_text("[3]")
    with pytest.raises(UserError, match="trellis install"):
        find_home()


def test_what_cannot_be_imported_is_named_with_how_to_get_it(home, tmp_path):
    """A checkout whose code needs what is not here."""
    package = tmp_path / "trellis"
    package.mkdir()
    (package / "__init__.py").write_text("import spconv_that_is_not_here")
    with pytest.raises(UserError, match="spconv_that_is_not_here.*Missing here are .*spconv: its setup.sh"):
        import_from(tmp_path, "trellis")


def test_another_package_of_that_name_is_told(home, monkeypatch, tmp_path):
    (tmp_path / "trellis").mkdir()
    (tmp_path / "trellis" / "__init__.py").touch()
    monkeypatch.syspath_prepend(tmp_path)
    assert import_from(tmp_path, "trellis")
    with pytest.raises(UserError, match="stands before the checkout"):
        import_from(home, "trellis")


def test_xformers_is_as_good_as_flash_attention(monkeypatch):
    monkeypatch.setitem(sys.modules, "flash_attn", None)
    monkeypatch.delitem(sys.modules, "flash_attn")
    monkeypatch.setenv("ATTN_BACKEND", "xformers")
    assert "flash_attn" not in missing_packages() and "xformers" in missing_packages()


def test_nothing_of_it_is_in_this_package() -> None:
    """No import of TRELLIS or its parts but by name, from the checkout."""
    root = Path(checkout.__file__).parents[1]
    for path in root.rglob("*.py"):
        text = path.read_text()
        assert "\nimport trellis" not in text and "\nfrom trellis" not in text and "import nvdiffrast" not in text
