"""The state that both directions of a media stream share."""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, MutableMapping
from dataclasses import dataclass
from typing import Any, Final

from fastapi import WebSocket
from starlette.websockets import WebSocketDisconnect, WebSocketState

from calls.entry import Emit
from calls.events import InputRefused
from transports.media_stream.stream import Stream
from transports.owed_sound import SentSound


class Marks:
    """Counts the audio that the far end reports as played.

    A mark goes out after every `EVERY_S` of audio and after the end of an utterance; its echo means
    that the audio before it was played. `clear` makes the far end echo all pending marks at once,
    whether played or not: those are dropped when we send the `clear`. Audio that was played but not
    yet echoed at that moment is not counted: never more than the caller heard.
    """

    EVERY_S: Final = 0.2
    MAX_PENDING: Final = 512  # 100 s of audio unplayed; later audio has no marks

    def __init__(self) -> None:
        self.played_s = 0.0
        self._unmarked_s = 0.0
        self._pending: deque[tuple[str, float]] = deque()
        self._count = 0

    @property
    def all_played(self) -> bool:
        """Whether all marked audio has been played."""
        return not self._pending

    def sent(self, audio_s: float) -> str | None:
        """Count audio as sent; return the mark to send after it, if any."""
        self._unmarked_s += audio_s
        return self.close() if self._unmarked_s >= self.EVERY_S else None

    def close(self) -> str | None:
        """Return a mark for the audio sent since the last one, if there was any."""
        if self._unmarked_s <= 0 or len(self._pending) >= self.MAX_PENDING:
            return None
        self._count += 1
        name = f"h{self._count}"
        self._pending.append((name, self._unmarked_s))
        self._unmarked_s = 0.0
        return name

    @property
    def last_pending(self) -> str | None:
        """The newest mark without an echo, or `None`."""
        return self._pending[-1][0] if self._pending else None

    def pending(self, name: str) -> bool:
        """Return whether a mark is still unechoed."""
        return any(name == mark for mark, _ in self._pending)

    def echoed(self, name: str) -> float:
        """Count everything up to this mark as played, and return its length in seconds.

        Names of dropped marks do nothing.
        """
        before_s = self.played_s
        if self.pending(name):  # one look-up only: each searches up to 512 marks
            echoed = ""
            while echoed != name:
                echoed, audio_s = self._pending.popleft()
                self.played_s += audio_s
        return self.played_s - before_s

    def cleared(self) -> None:
        """Drop everything that is not known to be played."""
        self._pending.clear()
        self._unmarked_s = 0.0


STALLED_S: Final = 5.0  # media arrives every 20 ms, also in silence: without any the line is dead
MAX_KINDS: Final = 32  # of refused messages; a carrier's error codes are kinds of their own
CLOSE_S: Final = 1.0  # for the far end to answer our close; a dead one never does
HUNG_UP: Final = "caller_hung_up"
ENDED: Final = "line_ended"  # at the carrier, by neither side: in its console, or at its own limit
LOST: Final = "connection_lost"
STALLED: Final = "stalled"
NORMAL: Final = 1000  # RFC 6455, 7.4.1


@dataclass(frozen=True, slots=True, kw_only=True)
class LinePatience:
    """How long to wait for a line.

    Attributes:
        stalled_s: A line without messages for this time is dead.
        returns_within_s: How long a call whose stream died may wait for another; 0 for no wait.
    """

    stalled_s: float = STALLED_S
    returns_within_s: float = 0.0


class StreamSocket:
    """One stream of a call, read until it is over or was given up.

    Attributes:
        websocket: Accepted; this is its only reader.
        over: Set when reading has ended.
    """

    def __init__(self, websocket: WebSocket) -> None:
        self.websocket = websocket
        self.over = asyncio.Event()
        self._receiving: asyncio.Timeout | None = None
        self._given_up = False

    async def receive(self) -> MutableMapping[str, Any]:
        """Return the next message; raises `TimeoutError` if the stream was given up."""
        if self._given_up:
            raise TimeoutError
        try:
            async with asyncio.timeout(None) as self._receiving:
                return await self.websocket.receive()
        finally:
            self._receiving = None

    def give_up(self) -> None:
        """Stop reading."""
        self._given_up = True
        if self._receiving is not None:
            self._receiving.reschedule(asyncio.get_running_loop().time())


class Absence:
    """How long to wait for a caller without a stream.

    Attributes:
        away_s: How long a transferred caller may stay away; 0 if not transferred.
    """

    def __init__(self) -> None:
        self.away_s = 0.0
        self._waiting: asyncio.Timeout | None = None

    def hand_on(self, away_s: float) -> None:
        """Allow the caller to be away for this time, even if the stream is already lost.

        A transferred caller has no stream to us; it returns when the caller does.
        """
        self.away_s = away_s
        if self._waiting is None or self._waiting.expired():
            return
        back_by = asyncio.get_running_loop().time() + away_s
        self._waiting.reschedule(max(back_by, self._waiting.when() or 0.0))

    async def ends(self, back: asyncio.Event, *, within_s: float) -> bool:
        """Wait until the caller is back; return False if the allowed time passes first."""
        try:
            async with asyncio.timeout(within_s) as self._waiting:
                await back.wait()
        except TimeoutError:
            return False
        finally:
            self._waiting = None
        return True


class StreamLine:
    """A call's stream, its marks, and whether the far end is still there.

    A stream that is lost without an end of the call may be followed by another. Until then, for at
    most `returns_within_s`, nothing is sent or received.

    Attributes:
        socket: The current stream, or the lost one.
        stream: Its carrier's dialect, its name, its codecs.
        up: Set while there is a stream, or when there will be none any more.
        absence: Of a caller whose stream is over.
        sent: Sound that another stream would have to play first.
        quiet: Set while all marked audio has been played.
        emit: Takes events about refused messages.
        on_played: Gets the additional seconds that the far end has played.
        emit_gone: Reports once why the far end is gone, without waiting for the consequences.
            `None`
            if there is no listener yet, as before a call begins on the line.
        gone_for: Why nothing that is sent reaches the caller any more; `None` if it does.
    """

    def __init__(
        self,
        websocket: WebSocket,
        stream: Stream,
        *,
        emit: Emit,
        clock: Callable[[], float],
        patience: LinePatience,
    ) -> None:
        self.socket = StreamSocket(websocket)
        self.stream = stream
        self.emit = emit
        self.clock = clock
        self.stalled_s = patience.stalled_s
        self.returns_within_s = patience.returns_within_s
        self.emit_gone: Callable[[str], Awaitable[None]] | None = None
        self.on_played: Callable[[float], Awaitable[None]] | None = None
        self.marks = Marks()
        self.quiet = asyncio.Event()
        self.quiet.set()
        self.sent = SentSound(rate_hz=stream.rate_hz)
        self.up = asyncio.Event()
        self.up.set()
        self.absence = Absence()
        self.gone_for: str | None = None
        self._lost_at = 0.0
        self._told_gone = False
        self._told: set[str] = set()

    async def echoed(self, name: str) -> None:
        """Process a mark's echo: everything before it was played."""
        self.sent.echoed(name)
        await self.played(self.marks.echoed(name))
        if self.marks.all_played:
            self.quiet.set()

    def cleared(self) -> None:
        """Record that the far end dropped its unplayed audio."""
        self.marks.cleared()
        self.sent.clear()
        self.quiet.set()

    async def comes_back(self, lost: StreamSocket, reason: str) -> bool:
        """Wait for another stream in place of a lost one; return False if none comes."""
        if self.socket is not lost:
            return True
        lasts_s = self.returns_within_s if reason in {LOST, STALLED} else 0.0
        lasts_s = max(lasts_s, self.absence.away_s)
        if self.over or not lasts_s:
            return False
        self.up.clear()
        self._lost_at = self.clock()
        # Tells a far end that only fell silent that this stream is over.
        await close(lost.websocket, NORMAL)
        return await self.absence.ends(self.up, within_s=lasts_s) and not self.over

    def renew(self, websocket: WebSocket, stream_id: str) -> None:
        """Switch to another stream; nothing is sent there before `restore`."""
        if self.up.is_set():
            self._lost_at = self.clock()
        self.socket.over.set()
        self.socket = StreamSocket(websocket)
        self.stream.renew(stream_id)

    def restore(self) -> float:
        """Let sound pass again; return the seconds without it."""
        self.up.set()
        return self.clock() - self._lost_at

    async def played(self, more_s: float = 0.0) -> None:
        """Report how much more the far end has played."""
        if self.on_played is not None:
            await self.on_played(more_s)

    async def gone(self, reason: str) -> None:
        """Tell the call once that the far end is gone; again if it had no listener yet."""
        if self.gone_for is None:
            self.gone_for = reason
            self.quiet.set()
            self.up.set()
        if not self._told_gone and self.emit_gone is not None:
            self._told_gone = True
            await self.emit_gone(self.gone_for)

    @property
    def may_come_back(self) -> bool:
        """Whether a lost stream may be followed by another."""
        return max(self.returns_within_s, self.absence.away_s) > 0 and not self.over

    @property
    def over(self) -> bool:
        """Whether nothing that is sent reaches the caller any more."""
        return self.gone_for is not None

    def leave(self) -> None:
        """Stop reporting that the far end is gone: we are hanging up."""
        self.gone_for = self.gone_for or "we_hung_up"
        self._told_gone = True
        self.quiet.set()
        self.up.set()

    def refused(self, reason: str) -> None:
        """Report a refused message, once for each kind and call."""
        if reason not in self._told and len(self._told) < MAX_KINDS:
            self._told.add(reason)
            self.emit(InputRefused(transport=self.stream.dialect.carrier, reason=reason))


async def close(websocket: WebSocket, code: int) -> None:
    """Close a socket in bounded time, whether open, half closed or long gone."""
    if WebSocketState.DISCONNECTED in (websocket.application_state, websocket.client_state):
        return
    try:
        async with asyncio.timeout(CLOSE_S):
            await websocket.close(code)
    except (TimeoutError, WebSocketDisconnect, RuntimeError):
        return  # the far end is gone
