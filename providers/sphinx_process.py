"""Starts the local recogniser's process, and sends commands to it without waiting.

Pocketsphinx holds Python's lock while it decodes (0.19 s at a time, measured), so a thread would
block every call of the process.
"""

import asyncio
import contextlib
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Final

from providers.sphinx_ear import Ear, SphinxResult
from providers.sphinx_worker import Command, command

BACKLOG_BYTES: Final = 2_000_000  # 60 s at 16 kHz; with a longer backlog it will not catch up
_ROOT: Final = Path(__file__).parents[__name__.count(".")]  # on the import path


class SphinxProcess:
    """One worker: `start`, then `send` and read `results`, then `close`."""

    def __init__(self, ear: Ear) -> None:
        self._ear = ear
        self._process: asyncio.subprocess.Process | None = None

    async def start(self) -> None:
        """Start the process; it loads its models, then decodes the audio sent meanwhile.

        Raises:
            OSError: The system cannot start a process.
        """
        self._process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", command.__module__),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            cwd=_ROOT,
            start_new_session=True,  # Ctrl-C lets calls finish; the worker must survive it
        )
        self.send(Command.OPEN, self._ear.as_json())

    def send(self, kind: Command, content: bytes = b"") -> bool:
        """Send a command without waiting.

        Returns:
            False if the command was dropped: the worker has ended, or is too far behind for audio.
        """
        stdin = self._process.stdin if self._process is not None else None
        if stdin is None or stdin.transport.is_closing():
            return False
        if kind is Command.AUDIO and stdin.transport.get_write_buffer_size() > BACKLOG_BYTES:
            return False
        stdin.write(command(kind, content))
        return True

    async def drain(self) -> None:
        """Wait until the worker has read most of the audio; not for use in a call.

        Raises:
            OSError: The worker has ended.
        """
        if self._process is not None and self._process.stdin is not None:
            await self._process.stdin.drain()

    async def results(self) -> AsyncIterator[SphinxResult]:
        """Yield the worker's results until it ends.

        None if it was not started.
        """
        stdout = self._process.stdout if self._process is not None else None
        if stdout is None:
            return
        async for line in stdout:
            yield SphinxResult.from_json(line)

    async def close(self) -> None:
        """End the worker at once; pending results are lost."""
        process, self._process = self._process, None
        if process is None:
            return
        with contextlib.suppress(ProcessLookupError):  # it has already ended
            process.kill()  # it has no state to save
        if process.stdin is not None:
            process.stdin.close()
        await process.wait()
