"""Who may import whom: the picture in docs/extending.md, held against the code."""

import ast
import functools
import re
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]
ABOVE = {"__main__"}  # entry points, which nothing imports


@functools.cache
def drawn() -> dict[str, set[str]]:
    """The arrows of the picture."""
    picture = re.search(r"```mermaid\n(.*?)```", (ROOT / "docs" / "extending.md").read_text(), re.DOTALL)[1]
    arrows: dict[str, set[str]] = {}
    for start, end in re.findall(r'(\w+)(?:\["[^"]*"\])? --> (\w+)', picture):
        arrows.setdefault(start, set()).add(end)
    return arrows


def reachable(room: str, arrows: dict[str, set[str]]) -> set[str]:
    """All rooms at the end of a path of arrows."""
    found: set[str] = set()
    waiting = [room]
    while waiting:
        for end in arrows.get(waiting.pop(), set()) - found:
            found.add(end)
            waiting.append(end)
    return found


def imports() -> Iterator[tuple[Path, str, str]]:
    """A file, its room, and a room that it imports, wherever in the file."""
    extensions = ("comfyui_ext", "threestudio_ext")
    for base, above in (("dreamdist3d", ""), ("eval", "eval"), *((name, name) for name in extensions)):
        for path in (ROOT / base).rglob("*.py"):
            own = above or path.relative_to(ROOT / base).with_suffix("").parts[0]
            for node in ast.walk(ast.parse(path.read_text())):
                names = [node.module or ""] if isinstance(node, ast.ImportFrom) else []
                names += [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
                for name in names:
                    parts = name.split(".")
                    if parts[0] == "dreamdist3d" and len(parts) > 1 and own not in (*ABOVE, "__init__"):
                        yield path, room(own), room(parts[1])


def room(name: str) -> str:
    """Files beside the rooms that the picture does not show by name are its base."""
    is_file = (ROOT / "dreamdist3d" / f"{name}.py").exists()
    return "base" if is_file and name not in drawn() else name


def test_no_import_goes_where_the_picture_has_no_arrow() -> None:
    allowed = {start: reachable(start, drawn()) for start in drawn()}
    wrong = {
        f"{path.relative_to(ROOT)} imports {to}"
        for path, own, to in imports()
        if to != own and to not in allowed.get(own, ())
    }
    assert not wrong


def test_every_arrow_is_walked_and_none_leads_in_a_circle() -> None:
    arrows, walked = drawn(), {(own, to) for _, own, to in imports()}
    assert all(start not in reachable(start, arrows) for start in arrows)
    assert {own for own, _ in walked} <= {*arrows, "base"}
    unused = {(start, end) for start, ends in arrows.items() for end in ends} - walked
    assert not unused
