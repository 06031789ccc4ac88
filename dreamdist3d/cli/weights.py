"""Commands about weights and the machine they are to run on."""

from pathlib import Path

from tyro.conf import Positional
from tyro.extras import SubcommandApp

from dreamdist3d.choices import Prediction

backbones = SubcommandApp()

_MARKS = {True: "[green]ok[/]  ", False: "[red]NO[/]  ", None: "[yellow]-[/]   "}
_STATES = {
    "absent": "no",
    "packaged": "yes",
    "verified": "yes, SHA-256 verified",
    "unverified": "yes, no hash known",
    "damaged": "[red]yes, but not as published[/]",
}


@backbones.command(name="list")
def backbones_list() -> None:
    """Show the weights that are known by name: what for, size, licence, from where, here or not, verified or not."""
    from itertools import groupby

    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table

    from dreamdist3d.backbones.survey import survey

    listed = survey()
    table = Table("name, and from where in this order", "size", "here", box=SIMPLE_HEAD)
    # A name that is cut off cannot be looked up.
    table.columns[0].min_width = 2 + max(len(entry.origin) for entry in listed)
    for name, entries in groupby(listed, key=lambda entry: entry.name):
        for position, entry in enumerate(entries):
            if position == 0:
                table.add_row(f"[bold]{name}[/]: {entry.purpose}; licence {entry.licence}")
            table.add_row(f"  {entry.origin}", _size(entry.size_gb), _STATES[entry.state])
    Console().print(table)
    for entry in listed:
        if entry.path and entry.state != "packaged":
            print(f"{entry.name} is in {entry.path}")
    print("Anything else: system.backbone=/path, --backbone /path, to a model folder or a checkpoint file.")


@backbones.command(name="convert")
def backbones_convert(
    source: Positional[Path],
    out: Positional[Path],
    half: bool = False,
    views: int = 4,
    prediction: Prediction = "epsilon",
) -> None:
    """Write an original checkpoint, or MVDream's own folder layout, as a plain diffusers folder.

    Args:
        source: a .pt, .ckpt or .safetensors file of Stable Diffusion 1.x, 2.x or MVDream, or a folder laid out as
            ashawkey/mvdream-sd2.1-diffusers.
        out: the folder to write.
        half: float16 weights, half the size.
        views: that a multi-view model denoises together.
        prediction: v_prediction for Stable Diffusion 2.x at 768 pixels.
    """
    from dreamdist3d.backbones import convert_checkpoint

    print(convert_checkpoint(source, out, half, views, prediction))


def doctor(licences: bool = False) -> None:
    """Look at this machine: what is installed, which weights are here, which roads can be walked.

    Ends with 0 if the miniature road can be walked, else with 1.

    Args:
        licences: show the terms of weights, engines and packages instead, as assets' records name them.
    """
    if licences:
        _show_licences()
        return
    from itertools import groupby

    from rich.console import Console
    from rich.markup import escape

    from dreamdist3d.doctor import examine, verdict

    console = Console(highlight=False, soft_wrap=True)
    findings = examine()
    for section, members in groupby(findings, key=lambda finding: finding.section):
        console.print(f"[bold]{section}[/]")
        for finding in members:
            console.print(f"  {_MARKS[finding.ok]}{finding.name:<16} {escape(finding.detail)}")
    result = verdict(findings)
    for road, lack in (("mini road", result.mini), ("full road", result.full)):
        said = f"{lack.name}: {lack.detail}; next step: {lack.remedy}" if lack else "ready"
        console.print(f"[bold]{road}[/]: {escape(said)}")
    if result.mini:
        raise SystemExit(1)


def _show_licences() -> None:
    from importlib.util import find_spec

    from rich.console import Console
    from rich.markup import escape

    from dreamdist3d.doctor import licences

    console = Console(highlight=False, soft_wrap=True)
    for place, parts in licences().items():
        console.print(f"[bold]{escape(place)}[/]")
        for terms in parts:
            color = {"non-commercial": "red", "copyleft": "yellow", "uses": "yellow"}.get(terms.limit, "none")
            here = " [installed]" if terms.package and terms.role and find_spec(terms.package) else ""
            role = f" - {terms.role}" if terms.role else ""
            console.print(f"  [{color}]{escape(str(terms))}[/]{escape(role + here)}")


def _size(gigabytes: float) -> str:
    return f"{gigabytes:.1f} GB" if gigabytes >= 1 else f"{gigabytes * 1000:.0f} MB"
