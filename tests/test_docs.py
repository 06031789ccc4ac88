"""What the pages say can be typed in can be: every command is understood, every file that is linked is there."""

import functools
import re
import shlex
from dataclasses import replace
from pathlib import Path

import pytest
from tyro.conf import FlagCreatePairsOff
from tyro.extras import SubcommandApp

from dreamdist3d.cli import app
from dreamdist3d.config import load_config

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


def typed_in(page: Path) -> list[list[str]]:
    """The words of every `dreamdist3d ...` in the page's shell blocks that leaves nothing out."""
    blocks = re.findall(r"^```sh\n(.*?)^```", page.read_text(), flags=re.MULTILINE | re.DOTALL)
    lines = "\n".join(blocks).replace("\\\n", " ").splitlines()
    found = [shlex.split(line, comments=True) for line in lines]
    found = [words[words.index("dreamdist3d") + 1 :] for words in found if "dreamdist3d" in words[:2]]
    return [words for words in found if "..." not in words]


def without_work(commands: SubcommandApp) -> SubcommandApp:
    """The same commands with the same options, which do nothing."""
    idle = SubcommandApp()
    for name, spec in commands._subcommands.items():
        target = spec.target
        if isinstance(target, SubcommandApp):
            target = without_work(target)
        else:
            target = functools.wraps(target)(lambda *_, **__: None)
        idle._subcommands[name] = replace(spec, target=target)
    return idle


COMMANDS = [(page.name, words) for page in PAGES for words in typed_in(page)]


@pytest.mark.parametrize(
    ("page", "words"), COMMANDS, ids=[f"{page}: {' '.join(words)}"[:70] for page, words in COMMANDS]
)
def test_a_command_in_the_docs_is_one(page: str, words: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    without_work(app).cli(prog="dreamdist3d", args=words, config=(FlagCreatePairsOff,))
    if "--config" in words and words[0] in {"launch", "batch"}:
        load_config(words[words.index("--config") + 1], [word for word in words if re.match(r"[a-z_.0-9]+=", word)])


def test_most_pages_have_commands() -> None:
    assert len(COMMANDS) > 30 and len({page for page, _ in COMMANDS}) >= 7


@pytest.mark.parametrize("page", PAGES, ids=[page.name for page in PAGES])
def test_links_to_files_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", page.read_text()):
        assert "://" in target or (page.parent / target).exists(), target


def test_the_code_on_the_page_for_those_who_extend_it_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from dreamdist3d.mesh.package import presets

    monkeypatch.chdir(ROOT)
    monkeypatch.setattr(presets, "PRESETS", dict(presets.PRESETS))
    blocks = re.findall(
        r"^```python\n(.*?)^```", (ROOT / "docs" / "extending.md").read_text(), re.MULTILINE | re.DOTALL
    )
    assert len(blocks) == 4
    for block in blocks:
        exec(compile(block, "docs/extending.md", "exec"), {"work": tmp_path})
    assert (tmp_path / "ckpts" / "last.ckpt").is_file()
