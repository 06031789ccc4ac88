"""A user's mistake inside threestudio: one line, as in dreamdist3d's own commands."""

from collections.abc import Iterator
from contextlib import contextmanager

from dreamdist3d.errors import UserError


@contextmanager
def one_line_errors() -> Iterator[None]:
    """End the program with one line for a mistake the user can mend; launch.py shows tracebacks for the rest."""
    try:
        yield
    except UserError as error:
        raise SystemExit(f"error: {' '.join(str(error).split())}") from None
