"""What both directions of one media stream share."""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, MutableMapping
from dataclasses import dataclass
from typing import Any, Final

from fastapi import WebSocket
from starlette.websockets import WebSocketDisconnect, WebSocketState

from calls.entry import Tell
from calls.events import InputRefused
from transports.media_stream.stream import Stream
from transports.owed_sound import SentSound


class Marks:
    """Counts what the far end says it has played.

    A mark goes out behind every `EVERY_S` of audio and behind the last of an utterance; its echo
    says that the audio before it was played. `clear` makes the far end echo all pending marks at
    once, which says nothing of having been played: those are forgotten when we send the `clear`.
    What was played but not yet echoed at that moment is not counted: never more than was heard.
    """

    EVERY_S: Final = 0.2
    MAX_PENDING: Final = 512  # 100 s of audio unplayed; then audio goes on, unmarked

    def __init__(self) -> None:
        self.played_s = 0.0
        self._unmarked_s = 0.0
        self._pending: deque[tuple[str, float]] = deque()
        self._count = 0

    @property
    def all_played(self) -> bool:
        """Whether nothing that was marked is still to be played."""
        return not self._pending

    def sent(self, audio_s: float) -> str | None:
        """Count audio as sent; return the name of the mark that is due behind it, if any."""
        self._unmarked_s += audio_s
        return self.close() if self._unmarked_s >= self.EVERY_S else None

    def close(self) -> str | None:
        """Return the name of a mark for the audio sent since the last one, if there was any."""
        if self._unmarked_s <= 0 or len(self._pending) >= self.MAX_PENDING:
            return None
        self._count += 1
        name = f"h{self._count}"
        self._pending.append((name, self._unmarked_s))
        self._unmarked_s = 0.0
        return name

    @property
    def last_pending(self) -> str | None:
        """The newest mark that is not echoed yet, or None."""
        return self._pending[-1][0] if self._pending else None

    def pending(self, name: str) -> bool:
        """Say whether a mark is still to be echoed."""
        return any(name == each for each, _ in self._pending)

    def echoed(self, name: str) -> float:
        """Count everything up to this mark as played, and return how much that is, in seconds.

        Names of forgotten marks do nothing.
        """
        before_s = self.played_s
        if self.pending(name):  # asked once: 512 of them are looked through each time
            echoed = ""
            while echoed != name:
                echoed, audio_s = self._pending.popleft()
                self.played_s += audio_s
        return self.played_s - before_s

    def cleared(self) -> None:
        """Forget what is not known to be played."""
        self._pending.clear()
        self._unmarked_s = 0.0


STALLED_S: Final = 5.0  # media comes every 20 ms, also in silence: without any the line is dead
MOST_KINDS: Final = 32  # of what is refused; a carrier's error codes are kinds of their own
CLOSE_S: Final = 1.0  # for the far end to answer our close; a dead one never does
HUNG_UP: Final = "caller_hung_up"
LOST: Final = "connection_lost"
STALLED: Final = "stalled"
NORMAL: Final = 1000  # RFC 6455, 7.4.1


@dataclass(frozen=True, slots=True, kw_only=True)
class LinePatience:
    """How long a line is waited for.

    Attributes:
        stalled_s: A line that brings nothing for so long is dead.
        returns_within_s: So long a call whose stream died may wait for another one; 0: not at all.
    """

    stalled_s: float = STALLED_S
    returns_within_s: float = 0.0


class StreamSocket:
    """One stream of a call, read until it is over or was given up.

    Attributes:
        websocket: Accepted; nothing else reads it.
        over: Set when nobody reads it any more.
    """

    def __init__(self, websocket: WebSocket) -> None:
        self.websocket = websocket
        self.over = asyncio.Event()
        self._receiving: asyncio.Timeout | None = None
        self._given_up = False

    async def receive(self) -> MutableMapping[str, Any]:
        """Return what comes next; raises `TimeoutError` when it was given up."""
        if self._given_up:
            raise TimeoutError
        try:
            async with asyncio.timeout(None) as self._receiving:
                return await self.websocket.receive()
        finally:
            self._receiving = None

    def give_up(self) -> None:
        """Read it no more: nothing comes of it."""
        self._given_up = True
        if self._receiving is not None:
            self._receiving.reschedule(asyncio.get_running_loop().time())


class Absence:
    """How long a caller without a stream is waited for.

    Attributes:
        away_s: How long they may be with somebody else, to whom we handed them on; 0: with nobody.
    """

    def __init__(self) -> None:
        self.away_s = 0.0
        self._waiting: asyncio.Timeout | None = None

    def hand_on(self, away_s: float) -> None:
        """Let the caller be with somebody else for so long, also one whose stream is lost already.

        They have no stream of ours while somebody is rung for them: it comes when they come back.
        """
        self.away_s = away_s
        if self._waiting is None or self._waiting.expired():
            return
        back_by = asyncio.get_running_loop().time() + away_s
        self._waiting.reschedule(max(back_by, self._waiting.when() or 0.0))

    async def ends(self, back: asyncio.Event, *, within_s: float) -> bool:
        """Wait until the caller is back; False: they are not, within the time that they have."""
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

    A stream that is lost without a word of the call's end may be followed by another: until then,
    and no longer than `returns_within_s`, nothing is sent and nothing comes.

    Attributes:
        socket: The present stream, or the one that was lost.
        stream: Its carrier's dialect, its name, its codecs.
        up: Set while there is a stream, or will be none any more.
        absence: Of a caller whose stream is over.
        sent: What another stream would have to play first.
        quiet: Set while nothing that was marked is still to be played.
        tell: Is told of what was refused.
        on_played: Gets the seconds that the far end has played more, and is asked now and then.
        tell_gone: Passes on, once, why the far end has gone; does not wait for what follows. None:
            nobody would hear it yet, as before a call begins on the line.
        gone_for: Why nothing that is sent reaches the caller any more; None: it does.
    """

    def __init__(
        self,
        websocket: WebSocket,
        stream: Stream,
        *,
        tell: Tell,
        clock: Callable[[], float],
        patience: LinePatience,
    ) -> None:
        self.socket = StreamSocket(websocket)
        self.stream = stream
        self.tell = tell
        self.clock = clock
        self.stalled_s = patience.stalled_s
        self.returns_within_s = patience.returns_within_s
        self.tell_gone: Callable[[str], Awaitable[None]] | None = None
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
        """Note a mark's echo: everything before it was played."""
        self.sent.echoed(name)
        await self.played(self.marks.echoed(name))
        if self.marks.all_played:
            self.quiet.set()

    def cleared(self) -> None:
        """Note that the far end threw away what it had not played."""
        self.marks.cleared()
        self.sent.clear()
        self.quiet.set()

    async def comes_back(self, lost: StreamSocket, reason: str) -> bool:
        """Wait for another stream in place of a lost one; False: none will come."""
        if self.socket is not lost:
            return True
        lasts_s = self.returns_within_s if reason in {LOST, STALLED} else 0.0
        lasts_s = max(lasts_s, self.absence.away_s)
        if self.over or not lasts_s:
            return False
        self.up.clear()
        self._lost_at = self.clock()
        # A far end that only fell silent learns that this one is over.
        await close(lost.websocket, NORMAL)
        return await self.absence.ends(self.up, within_s=lasts_s) and not self.over

    def renew(self, websocket: WebSocket, stream_id: str) -> None:
        """Go over to another stream; nothing is sent there before `restore`."""
        if self.up.is_set():
            self._lost_at = self.clock()
        self.socket.over.set()
        self.socket = StreamSocket(websocket)
        self.stream.renew(stream_id)

    def restore(self) -> float:
        """Let sound pass again; return for how long it did not."""
        self.up.set()
        return self.clock() - self._lost_at

    async def played(self, more_s: float = 0.0) -> None:
        """Pass on how much more the far end has played."""
        if self.on_played is not None:
            await self.on_played(more_s)

    async def gone(self, reason: str) -> None:
        """Tell the call, once, that the far end has gone; again, if nobody could hear it yet."""
        if self.gone_for is None:
            self.gone_for = reason
            self.quiet.set()
            self.up.set()
        if not self._told_gone and self.tell_gone is not None:
            self._told_gone = True
            await self.tell_gone(self.gone_for)

    @property
    def may_come_back(self) -> bool:
        """Whether a stream that is lost may be followed by another."""
        return max(self.returns_within_s, self.absence.away_s) > 0 and not self.over

    @property
    def over(self) -> bool:
        """Whether nothing that is sent reaches the caller any more."""
        return self.gone_for is not None

    def leave(self) -> None:
        """Say nothing of a far end that goes because we hang up."""
        self.gone_for = self.gone_for or "we_hung_up"
        self._told_gone = True
        self.quiet.set()
        self.up.set()

    def refused(self, reason: str) -> None:
        """Tell that something was not taken; a kind is told once a call, however often it comes."""
        if reason not in self._told and len(self._told) < MOST_KINDS:
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
