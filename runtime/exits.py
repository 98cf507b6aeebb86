"""How a command ends: the exceptions that become one line on stderr and an exit code."""

from typing import Final

DONE: Final = 0
FAILED: Final = 1
BAD_USAGE: Final = 2


class UsageError(Exception):
    """An error in what the user typed or configured; one line, exit code 2."""

    code = BAD_USAGE


class CommandError(Exception):
    """The command ran and failed; one line, exit code 1."""

    code = FAILED
