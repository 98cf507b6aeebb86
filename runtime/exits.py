"""How a command ends: the exceptions that become one line on stderr and an exit code."""

import importlib.util
import shlex
import sys
from typing import Final

DONE: Final = 0
FAILED: Final = 1
BAD_USAGE: Final = 2


def install_command(*arguments: str) -> str:
    """Return the command that installs packages into the environment of this program."""
    python = shlex.quote(sys.executable)
    wanted = " ".join(f'"{item}"' if "[" in item else item for item in arguments)
    if importlib.util.find_spec("pip") is None:
        return f"uv pip install {wanted} --python {python}"
    return f"{python} -m pip install {wanted}"


class UsageError(Exception):
    """An error in what the user typed or configured; one line, exit code 2."""

    code = BAD_USAGE


class CommandError(Exception):
    """The command ran and failed; one line, exit code 1."""

    code = FAILED
