"""The order in which our side of a media stream pushes on what it was given."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final

from pipecat.frames.frames import (
    EndFrame,
    Frame,
    InterruptionFrame,
    OutputAudioRawFrame,
    StartFrame,
    SystemFrame,
    TTSTextFrame,
)

from transports.media_stream.line import StreamLine
from transports.unheard import Unheard

PLAYED_OUT_S: Final = 2.0  # how long the last words may take from our socket to the ear


class HeardOrder:
    """Pushes frames on in order: words, and what follows them, when their sound was heard.

    Attributes:
        unheard: What waits.
    """

    def __init__(
        self,
        line: StreamLine,
        *,
        push: Callable[[Frame], Awaitable[None]],
        dry_at: Callable[[], float],
        played: Callable[[float], None],
    ) -> None:
        """Prepare.

        Args:
            line: The far end says there what it has played.
            push: Pushes a frame on.
            dry_at: Returns when the far end will have played what it was sent.
            played: Gets the seconds that it has played more.
        """
        self.unheard = Unheard()
        self._line = line
        self._push = push
        self._dry_at = dry_at
        self._played = played
        self._in_order = asyncio.Lock()  # held while what came through the line's queue is pushed

    async def push(self, frame: Frame) -> None:
        """Push a frame on, or keep it until the sound before it was heard."""
        async with self._in_order:
            if isinstance(frame, InterruptionFrame):
                await self._push_heard()
                self.unheard.drop()
            mark = self._mark_before(frame)
            if mark is not None:
                self.unheard.keep(frame, mark, self._dry_at() + PLAYED_OUT_S)
            else:
                await self._push(frame)

    async def note_played(self, more_s: float) -> None:
        """Note how much more the far end has played; push on what need not wait any longer."""
        if more_s > 0:
            self.unheard.given_up = False
            self._played(more_s)
        if self.unheard.last_mark is not None:
            async with self._in_order:
                await self._push_heard()

    async def push_rest(self) -> None:
        """Push on all that still waits, but no words to a caller who did not hear them."""
        async with self._in_order:
            for waiting in self.unheard.rest(words=not self._line.over):
                await self._push(waiting)

    def _mark_before(self, frame: Frame) -> str | None:
        """Return the mark that a frame waits for; None: it goes on at once."""
        if isinstance(frame, SystemFrame | OutputAudioRawFrame | EndFrame | StartFrame):
            return None
        if isinstance(frame, TTSTextFrame) and not self.unheard.given_up:
            return self._line.marks.last_pending or self.unheard.last_mark
        return self.unheard.last_mark

    async def _push_heard(self) -> None:
        """Push on what was heard, or is waited for no longer."""
        now = self._line.clock() if self._line.up.is_set() else 0.0  # without a line none echoes
        for frame in self.unheard.heard(self._line.marks.pending, now):
            await self._push(frame)
        if self.unheard.given_up:
            self._line.refused("mark_not_echoed")
