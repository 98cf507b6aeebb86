"""What a carrier's webhooks and its media socket share: whose call a stream is, new or going on."""

import asyncio
import secrets
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from enum import Enum
from functools import partial
from string import hexdigits
from typing import Any, Final

from fastapi import WebSocket

from bot.clock import Clock
from bot.server.carrier_door import DoorFrame, OneAtATime
from bot.workers.pool import HeldSeat, KeyValues, NoSeat, WorkerPool
from bot.workers.seats import DRAINING
from calls.events import CallRefused
from calls.handover import Handover
from transports.media_stream.leg import CarriedCall, StreamLeg
from transports.media_stream.line import LinePatience
from transports.media_stream.messages import POLICY, Refusal, Started

LIFE_S: Final = 60.0  # Twilio opens the stream within seconds of the TwiML
KNOWN_S: Final = 2 * LIFE_S  # for so long a token that came too late is told from a wrong one
TOKEN_BYTES: Final = 32
_DIGITS: Final = frozenset(hexdigits.lower())


@dataclass(frozen=True, slots=True, kw_only=True)
class Ticket:
    """What the webhook said of the call that will open a stream."""

    call_sid: str
    caller: str
    called: str
    seat: int = 0  # in the house, held for the call
    goes_on: bool = False  # the call is here already, and has lost its stream
    outbound: bool = False  # we called
    dial_id: str = ""  # our own id of that dial


class Tokens:
    """Hands out tokens and takes each one back once."""

    def __init__(self, shelf: KeyValues) -> None:
        self._shelf = shelf

    async def issue(self, ticket: Ticket, *, now: float, for_s: float = LIFE_S) -> str:
        """Return a new token for `ticket`."""
        token = secrets.token_hex(TOKEN_BYTES)  # Plivo passes on letters and digits alone
        kept = asdict(ticket) | {"until": now + for_s}
        await self._shelf.keep(_place(token), kept, for_s=KNOWN_S)
        return token

    async def redeem(self, token: str, *, call_sid: str, now: float) -> Ticket | str:
        """Return the ticket of a token, which is used up by it, or why it is not good.

        A token shown for another call is used up too: somebody else has seen it. What has not a
        token's form is not looked for: it might name something else that is kept of a call.
        """
        if not token:
            return "token_missing"
        kept = await self._shelf.take(_place(token)) if _is_token(token) else None
        if kept is None:
            return "token_unknown_or_used"
        if now >= kept.pop("until"):
            return "token_expired"
        ticket = Ticket(**kept)
        return ticket if ticket.call_sid == call_sid else "token_of_another_call"


def _is_token(text: str) -> bool:
    return len(text) == 2 * TOKEN_BYTES and _DIGITS.issuperset(text)


def _place(token: str) -> str:
    return f"twilio {token}"


# Calls whose stream may die before they end: where each is, and what is kept of it for the house.
#
# Everything that another process needs to take a call up stands in `Kept`.

CALL_S: Final = 4 * 3600.0  # Twilio's own limit of a call
MOST_BEGINNINGS: Final = 3  # a stream that dies before there is a call is tried so often


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """What the house knows of a call until the agent has ended it."""

    call_sid: str
    beginnings: int = 1  # how often a stream was asked for that was to begin a conversation
    dial_id: str = ""  # our own, of a call that we placed
    news_id: str = ""  # of the carrier's news for which a stream was last asked for


@dataclass(frozen=True, slots=True, kw_only=True)
class Whereabouts:
    """Where a call is whose stream is over.

    Attributes:
        worker: The name of the process that has it; empty: this one, it is alone.
        goes_on: It waits for another stream; False: it has ended.
    """

    worker: str
    goes_on: bool


class Returns:
    """The calls of this process, and the way to those of the others."""

    def __init__(self, pool: WorkerPool, carrier: str = "twilio") -> None:
        """Answer what the house's other processes ask of a carrier's calls."""
        self._pool = pool
        self._question = f"{carrier} call"
        self._legs: dict[str, StreamLeg] = {}
        pool.peers.answer(self._question, self._answer)

    @contextmanager
    def held(self, leg: StreamLeg) -> Iterator[None]:
        """Have the leg found while the block runs."""
        call_sid = leg.facts.call_ref
        self._legs[call_sid] = leg
        try:
            yield
        finally:
            if self._legs.get(call_sid) is leg:
                del self._legs[call_sid]

    def here(self, call_sid: str) -> StreamLeg | None:
        """Return the leg of a call of this process that may go on."""
        leg = self._legs.get(call_sid)
        return leg if leg is not None and leg.may_come_back else None

    async def find(
        self, call_sid: str, *, over: bool = False, handed_on: Handover | None = None
    ) -> Whereabouts | None:
        """Return where in the house a call is; None: nowhere.

        Args:
            call_sid: Whose.
            over: The carrier says that the call has ended, which whoever has it is told.
            handed_on: What it says to have come of handing the caller on, likewise.
        """
        said = await self._pool.peers.ask_all(
            self._question, call_sid=call_sid, over=over, handed_on=handed_on
        )
        found = [Whereabouts(**answered) for answered in said if answered]
        return found[0] if found else None

    async def keep(self, kept: Kept) -> None:
        """Note a call for which a stream is asked."""
        await self._pool.shelf.keep(self._place(kept.call_sid), asdict(kept), for_s=CALL_S)

    async def forget(self, call_sid: str) -> Kept | None:
        """Forget a call, and return what was known of it."""
        kept = await self._pool.shelf.take(self._place(call_sid))
        return Kept(**kept) if kept else None

    async def _answer(self, asked: Mapping[str, Any]) -> Mapping[str, Any] | None:
        leg = self._legs.get(asked["call_sid"])
        if leg is None:
            return None
        if asked["handed_on"]:
            leg.handed_on(asked["handed_on"])
        if asked["over"]:
            await leg.carrier_ended()
        return asdict(Whereabouts(worker=self._pool.name, goes_on=leg.may_come_back))

    def _place(self, call_sid: str) -> str:
        return f"{self._question} {call_sid}"


# In a full house a call that has lost its worker has no seat until another one is ready. Chosen:
# carriers wait 10 s for what we answer, and longer.
SEAT_S: Final = 8.0
LOOK_S: Final = 0.25  # between two looks for one


@dataclass(frozen=True, slots=True, kw_only=True)
class AdmittedStream:
    """A stream that belongs to a call of ours.

    Attributes:
        call: Whose it is.
        seat: In the house, held for the call.
        taker: Who has been waiting for it and takes it until it is over, such as the leg of a call
            that has lost its stream; None: a call begins with it.
    """

    call: CarriedCall
    seat: int
    taker: Callable[[WebSocket], Awaitable[None]] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamPass:
    """What lets one stream in, and where: empty for any worker."""

    token: str
    worker: str = ""


class TurnedAway(Enum):
    """Why no stream, or no other one, of a call is let in."""

    OVER = "over"
    NO_SEAT = "no_seat"
    LEAVING = "leaving"  # we are about to end; another machine may take the call
    GOES_ON = "goes_on"  # it is here already: the carrier has told of it again


class StreamTokens:
    """Gives out one token for each stream that a carrier is asked to open, and takes it back."""

    def __init__(self, frame: DoorFrame, carrier: str, patience: LinePatience) -> None:
        """Serve one carrier's calls."""
        self.patience = patience
        self.returns = Returns(frame.pool, carrier)
        self._frame = frame
        self._carrier = carrier
        self._tokens = Tokens(frame.pool.shelf)
        self._one_at_a_time = OneAtATime(frame.pool.peers)

    async def begin(self, call: CarriedCall) -> StreamPass | TurnedAway:
        """Hold a seat for a call and return what lets its stream in, or why it is not let in.

        A carrier that asks again about a call that is here gets no second conversation: the next
        stream takes the place of the one before.
        """
        found = await self.returns.find(call.call_ref)
        if found is not None:
            return await self._go_on(call, found)
        return await self._begin(call, Kept(call_sid=call.call_ref, dial_id=call.dial_id))

    async def follow(
        self,
        call: CarriedCall,
        *,
        over: bool = False,
        handed_on: Handover | None = None,
        news_id: str = "",
    ) -> StreamPass | TurnedAway:
        """Return what lets another stream of a call in whose stream is over, or why none is.

        A call that goes on gets another stream where it is. One that never began, or whose process
        is gone, begins anew. What the agent or the caller has ended is over.

        Args:
            call: Whose stream it was.
            over: The carrier says that the call has ended.
            handed_on: What it says to have come of handing the caller on.
            news_id: Of the carrier's news, where it may come again: one loss counts once.
        """
        found = await self.returns.find(call.call_ref, over=over, handed_on=handed_on)
        if found is not None and found.goes_on:
            return await self._go_on(call, found)
        # Another process may be told of the same loss now: it must not find the call forgotten.
        async with self._one_at_a_time.turn(f"{self._carrier} loss {call.call_ref}"):
            kept = await self.returns.forget(call.call_ref)
            if over or found is not None or kept is None:
                return TurnedAway.OVER
            return await self._begin_anew(call, kept, news_id)

    async def end(self, call_ref: str) -> None:
        """Note that a call is over, by the carrier's word."""
        await self.returns.find(call_ref, over=True)
        await self.returns.forget(call_ref)

    async def give_up(self, call_ref: str) -> Kept | None:
        """Forget a call that gets no stream, and return what was known of it.

        None: it is here, or it is over; also when the agent has ended it and its caller now talks
        with somebody else.
        """
        if await self.returns.find(call_ref) is not None:
            return None
        return await self.returns.forget(call_ref)

    async def admit(self, started: Started, token: str) -> AdmittedStream | Refusal:
        """Say whose stream begins so: its token was given to the carrier for one call."""
        ticket = await self._tokens.redeem(
            token, call_sid=started.call_sid, now=self._frame.clock()
        )
        if isinstance(ticket, str):
            return Refusal(reason=ticket, close_code=POLICY)
        call = CarriedCall(
            call_ref=ticket.call_sid,
            caller=ticket.caller,
            called=ticket.called,
            direction="outbound" if ticket.outbound else "inbound",
            dial_id=ticket.dial_id,
        )
        if not ticket.goes_on and await self.returns.find(ticket.call_sid) is None:
            return AdmittedStream(call=call, seat=ticket.seat)
        leg = self.returns.here(ticket.call_sid)
        if leg is None:
            return Refusal(reason="call_is_over", close_code=POLICY)
        resume = partial(leg.resume, stream_id=started.stream_sid)
        return AdmittedStream(call=call, seat=ticket.seat, taker=resume)

    async def _go_on(self, call: CarriedCall, found: Whereabouts) -> StreamPass | TurnedAway:
        if not found.goes_on:
            return TurnedAway.GOES_ON
        ticket = replace(_ticket(call), goes_on=True)
        # Zero: it goes on only because the carrier had been asked to hand its caller on.
        for_s = self.patience.returns_within_s or LIFE_S
        token = await self._tokens.issue(ticket, now=self._frame.clock(), for_s=for_s)
        return StreamPass(token=token, worker=found.worker)

    async def _begin_anew(
        self, call: CarriedCall, kept: Kept, news_id: str
    ) -> StreamPass | TurnedAway:
        if not news_id or news_id != kept.news_id:
            kept = replace(kept, beginnings=kept.beginnings + 1, news_id=news_id)
        if kept.beginnings > MOST_BEGINNINGS:
            return TurnedAway.OVER
        await self.returns.keep(kept)  # for other news of the same loss, while a seat is waited for
        given = await self._begin(call, kept, within_s=SEAT_S)
        if not isinstance(given, StreamPass):
            await self.returns.forget(call.call_ref)
        return given

    async def _begin(
        self, call: CarriedCall, kept: Kept, *, within_s: float = 0.0
    ) -> StreamPass | TurnedAway:
        pool, clock = self._frame.pool, self._frame.clock
        admitted = await seat_for(call.call_ref, pool, clock, within_s=within_s)
        if not isinstance(admitted, HeldSeat):
            if await self.returns.find(call.call_ref) is not None:
                return TurnedAway.GOES_ON  # perhaps on the very seat that is missing
            self._frame.tell(CallRefused(transport=self._carrier, reason=admitted.reason))
            leaving = admitted.reason == DRAINING and call.direction == "inbound"
            return TurnedAway.LEAVING if leaving else TurnedAway.NO_SEAT
        await self.returns.keep(kept)
        ticket = replace(_ticket(call), seat=admitted.seat, dial_id=kept.dial_id)
        token = await self._tokens.issue(ticket, now=self._frame.clock(), for_s=LIFE_S)
        return StreamPass(token=token)


def _ticket(call: CarriedCall) -> Ticket:
    return Ticket(
        call_sid=call.call_ref,
        caller=call.caller,
        called=call.called,
        outbound=call.direction == "outbound",
    )


async def seat_for(
    call_ref: str, pool: WorkerPool, clock: Clock, *, within_s: float
) -> HeldSeat | NoSeat:
    """Hold a seat for a call; one that is in progress waits for it so long."""
    until = clock() + within_s
    while True:
        admitted = await pool.admit(call_ref)
        if isinstance(admitted, HeldSeat) or admitted.reason == DRAINING or clock() >= until:
            return admitted
        await asyncio.sleep(LOOK_S)
