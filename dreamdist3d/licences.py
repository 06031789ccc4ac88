"""What an asset was made with, and under which terms: said in its record, never decided here."""

import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from importlib import metadata
from typing import Any, Literal

Limit = Literal["none", "uses", "non-commercial", "copyleft", "unknown"]


@dataclass(frozen=True)
class Terms:
    """The licence of one part, as its own page or file says it.

    Args:
        part: weights or a package, by name.
        licence: its licence's name.
        limit: what the licence restricts beyond notices: certain uses (OpenRAIL), all commerce, or the terms of what it
            is distributed with; unknown where nothing is known of it.
        role: what the part does for an asset.
        package: what it is imported as, for parts that may be installed or not.
    """

    part: str
    licence: str
    limit: Limit = "none"
    role: str = ""
    package: str | None = None

    def to_dict(self) -> dict[str, Any]:
        """Ready for an asset's record."""
        return {name: value for name, value in asdict(self).items() if name != "package" and value}

    def __str__(self) -> str:
        return f"{self.part}: {self.licence}{_MARKS[self.limit]}"


_MARKS: dict[Limit, str] = {
    "none": "",
    "uses": " (restricts uses)",
    "non-commercial": " (non-commercial)",
    "copyleft": " (copyleft)",
    "unknown": "",
}


def listed(terms: Sequence[Terms]) -> str:
    """All in one cell of a table, each part once."""
    return "; ".join(dict.fromkeys(map(str, terms)))


# Packages whose metadata gives the whole text of their licence, or nothing: its name as their licence file says it.
_NAMED = {"embreex": "BSD-2-Clause", "matplotlib": "PSF-based (matplotlib's own)"}
_LONGEST = 60


def required_packages() -> list[Terms]:
    """The packages that dreamdist3d requires, without its extras, each with the licence that its metadata states."""
    return [Terms(name, _stated(name), package=name) for name in required_names()]


def required_names() -> list[str]:
    """Names of the packages that dreamdist3d requires, without its extras."""
    try:
        requirements = metadata.requires("dreamdist3d") or []
    except metadata.PackageNotFoundError:
        return []
    return [re.split(r"[^A-Za-z0-9._-]", line, maxsplit=1)[0] for line in requirements if "extra ==" not in line]


def _stated(name: str) -> str:
    try:
        told = metadata.metadata(name)
    except metadata.PackageNotFoundError:
        return "not installed"
    classified = [
        line.rpartition(" :: ")[2] for line in told.get_all("Classifier", []) if line.startswith("License ::")
    ]
    expressions, texts = told.get_all("License-Expression", []), told.get_all("License", [])
    first = "".join(texts).strip().partition("\n")[0]
    named = (*expressions, _NAMED.get(name), *classified, first if len(first) <= _LONGEST else None)
    return next((one for one in named if one), "not stated")
