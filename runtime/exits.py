"""How a command ends: the exceptions that become one line on stderr and an exit code."""

import importlib.util
import shlex
import sys
from typing import Final

DONE: Final = 0
FAILED: Final = 1
BAD_USAGE: Final = 2
MAX_TEXT: Final = 500  # characters of an error (chosen)


def install_command(*arguments: str) -> str:
    """Return the shell command that installs packages into the environment of this program.

    It is one of `uv` if the environment has no pip.
    """
    python = shlex.quote(sys.executable)
    wanted = " ".join(f'"{item}"' if "[" in item else item for item in arguments)
    if importlib.util.find_spec("pip") is None:
        return f"uv pip install {wanted} --python {python}"
    return f"{python} -m pip install {wanted}"


def error_text(error: BaseException) -> str:
    """Return what an error says, in one line of limited length; its name if it says nothing.

    An error of an owner's code may even raise when it is read.
    """
    try:
        text = " ".join(str(error).split())
    except Exception:  # noqa: BLE001 - the owner's code
        text = ""
    return text[:MAX_TEXT] or type(error).__name__


class UsageError(Exception):
    """An error in what the user typed or configured; one line, exit code 2."""

    code = BAD_USAGE


class CommandError(Exception):
    """The command ran and failed; one line, exit code 1."""

    code = FAILED
