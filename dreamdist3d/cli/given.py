"""Settings on a command line: what is left out keeps the value it would have."""

from typing import Any


def given(settings: object) -> dict[str, Any]:
    """The fields of a dataclass of options that were given, by name."""
    return {name: value for name, value in vars(settings).items() if value is not None}
