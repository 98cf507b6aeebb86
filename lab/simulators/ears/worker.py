"""The recogniser's process: audio on stdin, results on stdout.

Started by `ears.py`; it ends with its stdin, so it never outlives the lab. Messages in both
directions are a stream's number, a kind, a length and that many bytes.
"""

import signal
import struct
import sys
from collections.abc import Iterable
from enum import IntEnum
from typing import BinaryIO, Final

from lab.simulators.ears.heard import HeardAudio, HearingSettings

HEADER: Final = struct.Struct("<IBI")  # stream, kind, length of the content
LONGEST_BYTES: Final = 1 << 24


class WorkerMessage(IntEnum):
    """The kinds of messages; only `HEARD` comes from the worker."""

    OPEN = 1  # settings as JSON
    AUDIO = 2
    FLUSH = 3
    CLOSE = 4
    HEARD = 5  # a `HeardAudio` as JSON


def message(stream: int, kind: WorkerMessage, content: bytes = b"") -> bytes:
    """Return one message as bytes."""
    return HEADER.pack(stream, kind, len(content)) + content


def serve(commands: BinaryIO, answers: BinaryIO) -> None:
    """Answer until `commands` ends."""
    # Imported here: the lab's own process needs the constants above but no recogniser.
    from lab.simulators.ears.hearing import Hearing  # noqa: PLC0415

    streams: dict[int, Hearing] = {}
    while len(header := commands.read(HEADER.size)) == HEADER.size:
        number, kind, length = HEADER.unpack(header)
        content = commands.read(length)
        match kind:
            case WorkerMessage.OPEN:
                try:
                    streams[number] = Hearing(HearingSettings.from_json(content))
                except ValueError as wrong:
                    failed = HeardAudio(what="failed", start_s=0, end_s=0, why=str(wrong))
                    _answer(answers, number, heard=[failed])
            case WorkerMessage.AUDIO if number in streams:
                _answer(answers, number, heard=streams[number].hear(content))
            case WorkerMessage.FLUSH if number in streams:
                _answer(answers, number, heard=streams[number].flush())
            case WorkerMessage.CLOSE:
                streams.pop(number, None)
            case _:
                pass  # for a stream that failed to open


def _answer(answers: BinaryIO, number: int, *, heard: Iterable[HeardAudio]) -> None:
    for fact in heard:
        answers.write(message(number, WorkerMessage.HEARD, fact.as_json()))
        answers.flush()


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the lab decides when to stop
    serve(sys.stdin.buffer, sys.stdout.buffer)
