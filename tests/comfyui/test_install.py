"""Putting the nodes into a ComfyUI, and taking them out again."""

import json
import os
import re

import pytest

from dreamdist3d.cli import main
from dreamdist3d.comfyui.install import NAME, extension_folder, install
from dreamdist3d.errors import UserError


@pytest.fixture
def home(tmp_path):
    """What makes a folder a ComfyUI."""
    (tmp_path / "comfy").mkdir()
    (tmp_path / "custom_nodes").mkdir()
    for name in ("main.py", "comfy/sd1_clip.py"):
        (tmp_path / name).touch()
    return tmp_path


def test_they_are_linked_and_taken_out_again(home, capsys):
    target = home / "custom_nodes" / NAME
    assert main(["comfyui", "install", str(home)]) == 0
    assert target.is_symlink() and target.resolve() == extension_folder() and (target / "nodes.py").is_file()
    assert "already linked" in install(home)
    assert main(["comfyui", "install", str(home), "--copy"]) == 0
    assert not target.is_symlink() and (target / "example_workflows" / "draws.json").is_file()
    assert main(["comfyui", "uninstall", str(home)]) == 0
    assert not os.path.lexists(target) and (extension_folder() / "__init__.py").is_file()
    assert "Removed" in capsys.readouterr().out


def test_other_folders_are_refused(tmp_path):
    with pytest.raises(UserError, match="no folder of ComfyUI: main.py"):
        install(tmp_path)


def test_somebody_else_s_nodes_stay(home):
    (home / "custom_nodes" / NAME).mkdir()
    with pytest.raises(UserError, match="was not put there by `dreamdist3d comfyui install`"):
        install(home)


def test_the_example_joins_what_exists():
    """Every link of the graph leads to a node, and every node of ours has the inputs that it takes."""
    graph = json.loads((extension_folder() / "example_workflows" / "draws.json").read_text())
    source = (extension_folder() / "nodes.py").read_text()
    for node in graph.values():
        for value in node["inputs"].values():
            assert not isinstance(value, list) or value[0] in graph
        if node["class_type"].startswith("Dreamdist"):
            assert node["class_type"] in source
            assert all(re.search(rf'"{name}": \(', source) for name in node["inputs"])


def test_nothing_of_comfyui_is_imported_but_in_the_extension():
    import dreamdist3d.comfyui

    (room,) = dreamdist3d.comfyui.__path__
    for name in os.listdir(room):
        if name.endswith(".py"):
            with open(os.path.join(room, name)) as file:
                assert not re.search(r"^\s*(import|from) (comfy|folder_paths|nodes)\b", file.read(), re.MULTILINE)
