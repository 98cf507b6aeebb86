"""The sound of somebody else on a line: neither the answer nor in the agent's voice."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final

from pipecat.frames.frames import Frame, OutputAudioRawFrame

from calls.line import CallerLine
from processors.holding.clip import SAMPLE_BYTES

BEHIND_S: Final = 0.4  # on the line: what comes later is dropped, or two who talk fall apart


class WaitingSound(OutputAudioRawFrame):
    """A tone for somebody who waits, or the voice of the person at the other end."""


class OtherSound:
    """Puts such sound onto a line."""

    def __init__(
        self,
        line: CallerLine,
        *,
        push: Callable[[Frame], Awaitable[None]],
        clock: Callable[[], float],
    ) -> None:
        self.rate_hz = 0
        self._line = line
        self._push = push
        self._now = clock

    async def put(self, pcm: bytes) -> None:
        """Put 16-bit mono at `rate_hz` behind what is on the line."""
        if pcm:
            await self._push(WaitingSound(pcm, self.rate_hz, 1))
            self._line.add(len(pcm) / SAMPLE_BYTES / self.rate_hz, self._now())

    async def put_soon(self, pcm: bytes) -> None:
        """Put it behind what is on the line, unless it would be heard too late."""
        if self._line.queued_s(self._now()) <= BEHIND_S:
            await self.put(pcm)


async def until_heard(line: CallerLine, clock: Callable[[], float]) -> None:
    """Return once all that is on a line was heard, by our own reckoning."""
    while (left_s := line.queued_s(clock())) > 0:  # noqa: ASYNC110 - a line has no event
        await asyncio.sleep(left_s)
