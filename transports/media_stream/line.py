"""What both directions of one media stream share."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final

from fastapi import WebSocket
from starlette.websockets import WebSocketDisconnect, WebSocketState

from calls.entry import Tell
from calls.events import InputRefused
from transports.media_stream.marks import Marks
from transports.media_stream.stream import Stream

STALLED_S: Final = 5.0  # media comes every 20 ms, also in silence: without any the line is dead
CLOSE_S: Final = 1.0  # for the far end to answer our close; a dead one never does
HUNG_UP: Final = "caller_hung_up"
NORMAL: Final = 1000  # RFC 6455, 7.4.1


class StreamLine:
    """One stream's socket, its marks, and whether the far end is still there.

    Attributes:
        stream: Its carrier's dialect, its name, its codecs.
        quiet: Set while nothing that was marked is still to be played.
        tell: Is told of what was refused.
        on_played: Gets the seconds that the far end has played more, and is asked now and then.
        tell_gone: Passes on, once, why the far end has gone; does not wait for what follows.
    """

    def __init__(
        self,
        websocket: WebSocket,
        stream: Stream,
        *,
        tell: Tell,
        clock: Callable[[], float],
        stalled_s: float = STALLED_S,
    ) -> None:
        self.websocket = websocket
        self.stream = stream
        self.tell = tell
        self.clock = clock
        self.stalled_s = stalled_s
        self.tell_gone: Callable[[str], Awaitable[None]] | None = None
        self.on_played: Callable[[float], Awaitable[None]] | None = None
        self.marks = Marks()
        self.quiet = asyncio.Event()
        self.quiet.set()
        self._gone_for: str | None = None
        self._told: set[str] = set()

    async def played(self, more_s: float = 0.0) -> None:
        """Pass on how much more the far end has played."""
        if self.on_played is not None:
            await self.on_played(more_s)

    async def gone(self, reason: str) -> None:
        """Tell the call, once, that the far end has gone."""
        if self._gone_for is not None:
            return
        self._gone_for = reason
        self.quiet.set()
        if self.tell_gone is not None:
            await self.tell_gone(reason)

    @property
    def over(self) -> bool:
        """Whether nothing that is sent reaches the caller any more."""
        return self._gone_for is not None

    @property
    def caller_hung_up(self) -> bool:
        """Whether the carrier said that the call is over."""
        return self._gone_for == HUNG_UP

    def leave(self) -> None:
        """Say nothing of a far end that goes because we hang up."""
        self._gone_for = self._gone_for or "we_hung_up"
        self.quiet.set()

    def refused(self, reason: str) -> None:
        """Tell that something was not taken; a kind is told once a call, however often it comes."""
        if reason not in self._told:
            self._told.add(reason)
            self.tell(InputRefused(transport=self.stream.dialect.carrier, reason=reason))


async def close(websocket: WebSocket, code: int) -> None:
    """Close a socket, be it open, half closed or long gone, in bounded time."""
    if WebSocketState.DISCONNECTED in (websocket.application_state, websocket.client_state):
        return
    try:
        async with asyncio.timeout(CLOSE_S):
            await websocket.close(code)
    except (TimeoutError, WebSocketDisconnect, RuntimeError):
        return  # there is nobody left to say goodbye to
