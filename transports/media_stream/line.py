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

    A mark is sent after every `EVERY_S` of audio and after each utterance; its echo means that the
    audio before it was played. A `clear` makes the far end echo all pending marks at once, whether
    their audio was played or not. So we forget these marks when we send the `clear`. Audio that was
    played but not echoed by then is not counted, so the count never exceeds what the caller heard.
    """

    EVERY_S: Final = 0.2
    MAX_PENDING: Final = 512  # for 100 s of unplayed audio; later audio gets no marks

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
        """Record that audio is sent; return the mark to send after it, `None` if none is due."""
        self._unmarked_s += audio_s
        return self.close() if self._unmarked_s >= self.EVERY_S else None

    def close(self) -> str | None:
        """Return a mark for the audio since the last mark; `None` without audio or on too many."""
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
        """Return whether a mark was not echoed yet."""
        return any(name == mark for mark, _ in self._pending)

    def echoed(self, name: str) -> float:
        """Count the audio up to a mark as played, and return its length in seconds.

        A mark that was forgotten is ignored.
        """
        before_s = self.played_s
        if self.pending(name):  # only one look-up, because it searches up to 512 marks
            echoed = ""
            while echoed != name:
                echoed, audio_s = self._pending.popleft()
                self.played_s += audio_s
        return self.played_s - before_s

    def cleared(self) -> None:
        """Forget all pending marks, and the audio without a mark."""
        self._pending.clear()
        self._unmarked_s = 0.0


STALLED_S: Final = 5.0  # media arrives every 20 ms, also in silence; without any, the line is dead
MAX_KINDS: Final = 32  # of refused messages; each error code of a carrier is a kind of its own
CLOSE_LINE_S: Final = 1.0  # for the far end to answer our close; a dead one never does
HUNG_UP: Final = "caller_hung_up"
ENDED: Final = "line_ended"  # by the carrier: in its console, or at its own time limit
LOST: Final = "connection_lost"
STALLED: Final = "stalled"
NORMAL: Final = 1000  # RFC 6455, 7.4.1


@dataclass(frozen=True, slots=True, kw_only=True)
class LinePatience:
    """How long to wait for a line.

    Attributes:
        stalled_s: After this time without media, a stream counts as lost.
        returns_within_s: How long a call that lost its stream waits for another; 0 for no wait.
    """

    stalled_s: float = STALLED_S
    returns_within_s: float = 0.0


class StreamSocket:
    """One stream of a call, read until it ends or `stop_reading` is called.

    Attributes:
        websocket: The accepted socket; only this class reads it.
        ended: Set when reading has ended.
    """

    def __init__(self, websocket: WebSocket) -> None:
        self.websocket = websocket
        self.ended = asyncio.Event()
        self._receiving: asyncio.Timeout | None = None
        self._stopped = False

    async def receive(self) -> MutableMapping[str, Any]:
        """Wait for the next message and return it; raise `TimeoutError` after `stop_reading`."""
        if self._stopped:
            raise TimeoutError
        try:
            async with asyncio.timeout(None) as self._receiving:
                return await self.websocket.receive()
        finally:
            self._receiving = None

    def stop_reading(self) -> None:
        """Make `receive` raise, now and later: the stream counts as lost."""
        self._stopped = True
        if self._receiving is not None:
            self._receiving.reschedule(asyncio.get_running_loop().time())


class Absence:
    """Waits for a caller without a stream.

    Attributes:
        away_s: How long a caller in a transfer may have no stream; 0 without a transfer.
    """

    def __init__(self) -> None:
        self.away_s = 0.0
        self._waiting: asyncio.Timeout | None = None

    def allow(self, away_s: float) -> None:
        """Allow a caller in a transfer to have no stream for this time; extend a wait in progress.

        The caller gets a stream again if the transfer fails.
        """
        self.away_s = away_s
        if self._waiting is None or self._waiting.expired():
            return
        back_by = asyncio.get_running_loop().time() + away_s
        self._waiting.reschedule(max(back_by, self._waiting.when() or 0.0))

    async def wait_until_back(self, back: asyncio.Event, *, within_s: float) -> bool:
        """Wait until the caller is back; return False after `within_s`, which `allow` extends."""
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

    If a stream is lost although the call has not ended, another stream may replace it. Until then,
    for at most `returns_within_s`, nothing is sent or received.

    Attributes:
        socket: The current stream, or the lost one.
        stream: The stream's dialect, id and codecs.
        up: Set while there is a stream, and when there will be none again.
        absence: Waits for a caller without a stream.
        sent: Audio that another stream would have to play first.
        quiet: Set while all marked audio has been played.
        emit: Publishes events about refused messages.
        on_played: Called with the additional seconds that the far end has played.
        emit_gone: Called once with the reason when the far end is gone; must not wait for the end
            of the call. `None` before a call begins on the line.
        gone_reason: Why the far end is gone, or we left; `None` until then.
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
        """Begin with the stream up, no marks and no audio sent; no message is read or sent."""
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
        self.gone_reason: str | None = None
        self._lost_at = 0.0
        self._gone_emitted = False
        self._refused_kinds: set[str] = set()

    async def echoed(self, name: str) -> None:
        """Record that a mark was echoed: the audio before it was played; ignore an unknown one."""
        self.sent.echoed(name)
        await self.played(self.marks.echoed(name))
        if self.marks.all_played:
            self.quiet.set()

    def cleared(self) -> None:
        """Record that the far end dropped its unplayed audio."""
        self.marks.cleared()
        self.sent.clear()
        self.quiet.set()

    async def wait_for_return(self, lost: StreamSocket, reason: str) -> bool:
        """Wait for another stream in place of a lost one; return False if the call must end.

        Clears `up`, closes the lost socket, and waits for `restore`. After False, `gone` must
        follow, because writers still wait for `up`.

        Args:
            lost: The lost stream.
            reason: Why it ended. A call that was hung up gets no other stream, except in a
                transfer, during which the carrier takes the stream away.
        """
        if self.socket is not lost:  # another stream has already replaced it
            return True
        wait_s = self.returns_within_s if reason in {LOST, STALLED} else 0.0
        wait_s = max(wait_s, self.absence.away_s)
        if self.over or not wait_s:
            return False
        self.up.clear()
        self._lost_at = self.clock()
        # Tells a far end that was only silent that this stream is over.
        await close(lost.websocket, NORMAL)
        return await self.absence.wait_until_back(self.up, within_s=wait_s) and not self.over

    def renew(self, websocket: WebSocket, stream_id: str) -> None:
        """Switch to another stream, and mark the former as ended; `restore` must follow."""
        if self.up.is_set():
            self._lost_at = self.clock()
        self.socket.ended.set()
        self.socket = StreamSocket(websocket)
        self.stream.renew(stream_id)

    def restore(self) -> float:
        """Set `up`, so that writers go on; return how long the line was lost, in seconds."""
        self.up.set()
        return self.clock() - self._lost_at

    async def played(self, more_s: float = 0.0) -> None:
        """Call `on_played` with the additional seconds that the far end has played."""
        if self.on_played is not None:
            await self.on_played(more_s)

    async def gone(self, reason: str) -> None:
        """Record that the far end is gone, release all waits, and call `emit_gone` once.

        The first reason counts.
        """
        if self.gone_reason is None:
            self.gone_reason = reason
            self.quiet.set()
            self.up.set()
        if not self._gone_emitted and self.emit_gone is not None:
            self._gone_emitted = True
            await self.emit_gone(self.gone_reason)

    @property
    def may_come_back(self) -> bool:
        """Whether another stream may replace a lost one."""
        return max(self.returns_within_s, self.absence.away_s) > 0 and not self.over

    @property
    def over(self) -> bool:
        """Whether the line has ended, so that audio does not reach the caller any more."""
        return self.gone_reason is not None

    def leave(self) -> None:
        """End the line from our side, without calling `emit_gone`."""
        self.gone_reason = self.gone_reason or "we_hung_up"
        self._gone_emitted = True
        self.quiet.set()
        self.up.set()

    def refused(self, reason: str) -> None:
        """Publish that a message was refused, once for each kind, and for `MAX_KINDS` at most."""
        if reason not in self._refused_kinds and len(self._refused_kinds) < MAX_KINDS:
            self._refused_kinds.add(reason)
            self.emit(InputRefused(transport=self.stream.dialect.carrier, reason=reason))


async def close(websocket: WebSocket, code: int) -> None:
    """Close a socket within `CLOSE_LINE_S`; one that is closed or gone is left as it is."""
    if WebSocketState.DISCONNECTED in (websocket.application_state, websocket.client_state):
        return
    try:
        async with asyncio.timeout(CLOSE_LINE_S):
            await websocket.close(code)
    except (TimeoutError, WebSocketDisconnect, RuntimeError):
        return  # the far end is gone
