"""The errors a user is meant to read."""


class UserError(Exception):
    """A mistake or a lack that the user can mend: one line that says what is wrong, where, and what to do.

    The command line prints it without a traceback and ends with `exit_code`.
    """

    exit_code = 2


class Stopped(UserError):
    """Work ended early on Ctrl-C or SIGTERM; what was made is kept, and the message says how to go on."""

    exit_code = 130
