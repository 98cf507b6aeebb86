"""The local recogniser's process: commands on stdin, results on stdout.

Started by `providers.sphinx_process`: one for each call, and one for the menu's words of all calls.
It ends with its stdin, so it cannot outlive its parent. A command is a kind, a length and that many
bytes; a result is a line of JSON.
"""

import json
import os
import struct
import sys
from enum import IntEnum
from typing import TYPE_CHECKING, BinaryIO, Final

from providers.sphinx_ear import Ear, SphinxResult

if TYPE_CHECKING:
    from providers.sphinx import Recogniser

HEADER: Final = struct.Struct("<BI")  # kind, length of the content


class Command(IntEnum):
    """The commands to the worker."""

    OPEN = 1  # an `Ear` as JSON; the first command, once
    AUDIO = 2
    BEGIN = 3
    FINISH = 4
    WHOLE = 5  # a complete utterance


def command(kind: Command, content: bytes = b"") -> bytes:
    """Encode a command."""
    return HEADER.pack(kind, len(content)) + content


def answer_commands(commands: BinaryIO, answers: BinaryIO) -> None:
    """Load the models, then execute commands until they end.

    The first result says whether the models were loaded. If not, nothing else is executed.
    """
    # Imported here: the calls' process needs the constants above but no recogniser.
    from providers.sphinx import Recogniser  # noqa: PLC0415

    opening = _read_command(commands)
    if opening is None:
        return
    try:
        recogniser = Recogniser(Ear(**json.loads(opening[1])))
    except (RuntimeError, ValueError, TypeError) as error:
        _write_result(answers, SphinxResult(what="failed", text=str(error)))
        return
    _write_result(answers, SphinxResult(what="ready"))
    while (request := _read_command(commands)) is not None:
        _execute_command(recogniser, *request, answers=answers)


def _execute_command(
    recogniser: "Recogniser", kind: Command, content: bytes, *, answers: BinaryIO
) -> None:
    """Execute one command of the parent, and write its results."""
    match kind:
        case Command.AUDIO:
            for result in recogniser.hear(content):
                _write_result(answers, result)
        case Command.BEGIN:
            recogniser.start_utterance()
        case Command.FINISH:
            _write_result(answers, recogniser.finish())
        case Command.WHOLE:
            _write_result(answers, recogniser.understand(content))
        case Command.OPEN:
            pass  # already open


def _read_command(commands: BinaryIO) -> tuple[Command, bytes] | None:
    """Return the next command and its content; `None` after the last one."""
    header = commands.read(HEADER.size)
    if len(header) < HEADER.size:
        return None
    kind, length = HEADER.unpack(header)
    return Command(kind), commands.read(length)


def _write_result(answers: BinaryIO, result: SphinxResult) -> None:
    """Send a result to the parent at once."""
    answers.write(result.as_json())
    answers.flush()


if __name__ == "__main__":
    # Pocketsphinx prints grammar parts that it cannot read: keep them out of the results.
    results_fd = os.dup(sys.stdout.fileno())
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    with os.fdopen(results_fd, "wb") as answers:
        answer_commands(sys.stdin.buffer, answers)
