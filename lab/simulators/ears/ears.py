"""Speech recognition for the simulators: one worker process decodes all streams.

Decoding takes about 7 % of the audio's length, so one process can serve ten callers who all speak
at once. It is a separate process because the recogniser holds the GIL, which would block the loop.
"""

import asyncio
import contextlib
import itertools
import signal
import struct
import sys
from collections.abc import AsyncIterator, Iterable
from enum import IntEnum
from pathlib import Path
from typing import BinaryIO, Final, Self

from lab.simulators.ears.heard import HeardAudio, HearingSettings

HEADER: Final = struct.Struct("<IBI")  # stream, kind, length of the content
MAX_BYTES: Final = 1 << 24


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
    """Run the worker: read messages and write results until `commands` ends.

    As that is its stdin, the worker never outlives the lab. A message, in both directions, is a
    stream's number, a kind, a length and that many bytes.
    """
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
                    _write_results(answers, number, heard=[failed])
            case WorkerMessage.AUDIO if number in streams:
                _write_results(answers, number, heard=streams[number].hear(content))
            case WorkerMessage.FLUSH if number in streams:
                _write_results(answers, number, heard=streams[number].flush())
            case WorkerMessage.CLOSE:
                streams.pop(number, None)
            case _:
                pass  # for a stream that failed to open


def _write_results(answers: BinaryIO, number: int, *, heard: Iterable[HeardAudio]) -> None:
    """Write each result of stream `number` to the parent process, at once."""
    for result in heard:
        answers.write(message(number, WorkerMessage.HEARD, result.as_json()))
        answers.flush()


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the lab decides when to stop
    serve(sys.stdin.buffer, sys.stdout.buffer)


RESULTS_KEPT: Final = 1000  # a stream has about three a second
_ROOT: Final = Path(__file__).parents[__name__.count(".")]  # on the import path


class EarsError(Exception):
    """The stream cannot be recognised; the message gives the reason."""


class HeardResults:
    """A queue of results; if they are not fetched, the oldest are dropped."""

    def __init__(self) -> None:
        self._queue: asyncio.Queue[HeardAudio] = asyncio.Queue(RESULTS_KEPT)

    def put(self, heard: HeardAudio) -> None:
        """Queue a result; drop the oldest one if the queue is full."""
        if self._queue.full():
            self._queue.get_nowait()
        self._queue.put_nowait(heard)

    async def results(self) -> AsyncIterator[HeardAudio]:
        """Yield results as they arrive, until the consumer stops.

        Raises:
            EarsError: The stream failed, or cannot be recognised.
        """
        while True:
            heard = await self._queue.get()
            if heard.what == "failed":
                raise EarsError(heard.why)
            yield heard


class EarStream(HeardResults):
    """One caller's audio stream, recognised by the worker."""

    def __init__(self, number: int, ears: "Ears") -> None:
        super().__init__()
        self.number = number
        self._ears = ears

    async def hear(self, audio: bytes) -> None:
        """Send audio to the worker; this waits only if the worker is far behind."""
        await self._ears.send(self.number, WorkerMessage.AUDIO, audio)

    async def flush(self) -> None:
        """Request a final result now; it arrives as `flushed`."""
        await self._ears.send(self.number, WorkerMessage.FLUSH)

    async def close(self) -> None:
        """Drop the stream."""
        await self._ears.forget(self.number)


class Ears:
    """The worker process and its streams: `async with Ears() as ears`."""

    def __init__(self) -> None:
        self._numbers = itertools.count(1)
        self._streams: dict[int, EarStream] = {}
        self._process: asyncio.subprocess.Process | None = None
        self._reader: asyncio.Task[None] | None = None
        self._starting = asyncio.Lock()

    async def __aenter__(self) -> Self:
        """Start the worker."""
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        """Stop the worker."""
        await self.stop()

    async def start(self) -> None:
        """Start the worker unless it is running; it is ready after about half a second."""
        async with self._starting:
            if self._reader is not None and not self._reader.done():
                return  # the reader sees the worker's end before its exit code is known
            await self._end_worker()
            self._process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", __name__),
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                cwd=_ROOT,
                start_new_session=True,  # the worker gets no Ctrl-C; the lab ends it
                limit=MAX_BYTES,
            )
            self._reader = asyncio.get_running_loop().create_task(self._read_results(self._process))

    async def stop(self) -> None:
        """Stop the worker; open streams fail."""
        async with self._starting:
            await self._end_worker()

    async def open(self, settings: HearingSettings) -> EarStream:
        """Return a new stream; a worker that died is replaced."""
        await self.start()
        stream = EarStream(next(self._numbers), self)
        self._streams[stream.number] = stream
        await self.send(stream.number, WorkerMessage.OPEN, settings.as_json())
        return stream

    async def send(self, number: int, kind: WorkerMessage, content: bytes = b"") -> None:
        """Send a message to the worker; do nothing if the stream or the worker is gone."""
        if number not in self._streams or self._process is None or self._process.stdin is None:
            return
        with contextlib.suppress(ConnectionError):  # the reader sees the end and fails the streams
            self._process.stdin.write(message(number, kind, content))
            await self._process.stdin.drain()

    async def forget(self, number: int) -> None:
        """Close a stream."""
        await self.send(number, WorkerMessage.CLOSE)
        self._streams.pop(number, None)

    async def _read_results(self, process: asyncio.subprocess.Process) -> None:
        """Pass results to their streams; when the worker ends, fail all streams."""
        answers = process.stdout
        if answers is None:
            return
        with contextlib.suppress(asyncio.IncompleteReadError):
            while True:
                number, _, length = HEADER.unpack(await answers.readexactly(HEADER.size))
                heard = HeardAudio.from_json(await answers.readexactly(length))
                if number in self._streams:
                    self._streams[number].put(heard)
        gone = HeardAudio(what="failed", start_s=0, end_s=0, why="the recogniser's process ended")
        for stream in self._streams.values():
            stream.put(gone)
        self._streams.clear()

    async def _end_worker(self) -> None:
        """Kill the worker, and wait until its reader has failed all streams."""
        process, self._process = self._process, None
        if process is None:
            return
        with contextlib.suppress(ProcessLookupError):  # it has already ended
            process.kill()  # it has no state to save
        await process.wait()
        if process.stdin is not None:
            process.stdin.close()
        if self._reader is not None:
            await self._reader
            self._reader = None
