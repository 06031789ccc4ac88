"""The errors a user is meant to read."""

import errno

_SHOWN, _LINE = 200, 2000  # characters of a value, and of a whole message


class UserError(Exception):
    """A mistake or a lack that the user can mend: one line that says what is wrong, where, and what to do.

    The command line prints it without a traceback and ends with `exit_code`.
    """

    exit_code = 2


class Stopped(UserError):
    """Work ended early on Ctrl-C or SIGTERM; what was made is kept, and the message says how to go on."""

    exit_code = 130


def shown(value: object) -> str:
    """A value in a message: as Python writes it, at most 200 characters of it.

    Example:
        >>> shown("a" * 500)[-26:]
        'aaaa... (502 characters)'
    """
    try:
        text = repr(value)
    except (ValueError, RecursionError):  # whole numbers of thousands of digits, lists without end
        return f"a {type(value).__name__} too large to show"
    return clipped(text)


def clipped(text: str) -> str:
    """At most 200 characters of a text."""
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}... ({len(text)} characters)"


def one_line(error: BaseException) -> str:
    """What an error says, on one line of a length that can be read."""
    line = " ".join(str(error).split()) or type(error).__name__
    return line if len(line) <= _LINE else f"{line[:_LINE]}..."


def reason_of(error: Exception) -> str:
    """One line for one of many things that failed: what the user is to read, or else what kind of error it was."""
    if isinstance(error, UserError):
        return one_line(error)
    if is_out_of_memory(error):
        return "there is not enough memory for it."
    return f"it cannot be worked with ({type(error).__name__}: {one_line(error)})."


def is_out_of_memory(error: BaseException | None) -> bool:
    """Whether memory, a GPU's or the machine's, did not suffice; also where a library's error wraps that one."""
    while error is not None:
        lacks = isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError"
        lacks = lacks or (isinstance(error, OSError) and error.errno == errno.ENOMEM)
        if lacks or "allocate memory" in str(error) or "Cannot allocate" in str(error):
            return True
        error = error.__cause__ or error.__context__
    return False
