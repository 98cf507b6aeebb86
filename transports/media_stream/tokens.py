"""Stream tokens: they show which call a media stream belongs to, new or resumed, in any process."""

import asyncio
import secrets
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field, replace
from enum import Enum
from functools import partial
from string import hexdigits
from typing import Any, Final, TypeAlias

from fastapi import Response, WebSocket

from calls.events import CallRefused
from calls.handover import Handover
from runtime.clock import Clock
from transports.announcements import Announcement, WaitingCall
from transports.leg import is_taken
from transports.media_stream.leg import CarriedCall, StreamLeg
from transports.media_stream.line import LinePatience
from transports.media_stream.messages import POLICY, Refusal, Started
from transports.media_stream.webhooks import CarrierHost, fallback_response
from transports.parked import CallTakenError, Parked, ParkedCall
from transports.pool import (
    DRAINING,
    ELSEWHERE,
    HELD_S,
    SEAT_RETRY_S,
    SEAT_S,
    CallPool,
    HeldSeat,
    KeyValues,
    PoolLocks,
    read_stored,
    seat_for,
)

LIFE_S: Final = 60.0  # of a token; Twilio opens the stream within seconds of the TwiML
KNOWN_S: Final = 2 * LIFE_S  # until then, an expired token is distinguished from a wrong one
TOKEN_BYTES: Final = 32
MAX_BY_CHARS: Final = 32  # of the carrier's name for the party that ended a call
_DIGITS: Final = frozenset(hexdigits.lower())


@dataclass(frozen=True, slots=True, kw_only=True)
class Ticket:
    """A call that will open a stream, as its webhook described it."""

    call: CarriedCall
    seat: int = 0  # the seat held for the call
    goes_on: bool = False  # whether the call is in progress, and has lost its stream
    epoch: int | None = None  # of the call when the ticket was issued; `None` if not known
    until: float = field(default=0.0, compare=False)  # how long it is valid; monotonic, in seconds


class Tokens:
    """Issues one carrier's tokens; each can be redeemed once."""

    def __init__(self, key_values: KeyValues, carrier: str) -> None:
        self._key_values = key_values
        self._carrier = carrier

    async def issue(self, ticket: Ticket, *, now: float, for_s: float = LIFE_S) -> str:
        """Store `ticket` and return its new token, which is valid once within `for_s`.

        `now` is on this machine's monotonic clock, also in `redeem`.
        """
        token = secrets.token_hex(TOKEN_BYTES)  # Plivo accepts only letters and digits
        kept = asdict(replace(ticket, until=now + for_s))
        await self._key_values.keep(
            self._place_of_token(token), kept, for_s=KNOWN_S, moments=("until",)
        )
        return token

    async def redeem(self, token: str, *, call_sid: str, now: float) -> Ticket | str:
        """Return the ticket of a token, or the reason for a refusal; the token becomes invalid.

        A token that is presented for another call becomes invalid, too, because it has leaked. Text
        that does not look like a token is not looked up, because it might be another key of the
        store.
        """
        if not token:
            return "token_missing"
        place = self._place_of_token(token)
        kept = await self._key_values.take(place) if _is_token(token) else None
        ticket = read_stored(Ticket, kept)
        if ticket is None:
            return "token_unknown_or_used"
        if now >= ticket.until:
            return "token_expired"
        return ticket if ticket.call.call_ref == call_sid else "token_of_another_call"

    def _place_of_token(self, token: str) -> str:
        return f"{self._carrier} token {token}"


def _is_token(text: str) -> bool:
    return len(text) == 2 * TOKEN_BYTES and _DIGITS.issuperset(text)


CALL_S: Final = 4 * 3600.0  # Twilio's limit on the length of a call
STORE_LATE_S: Final = 8.0  # how long the store is asked for a lost call (chosen)
TAKEN_LATE_S: Final = 2.0  # while a stream waits (chosen: the store is usually back after a second)
MAX_BEGINNINGS: Final = 3  # streams for a call whose streams end before the conversation begins


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """The data that another process needs to continue a call, stored until the agent ends it."""

    call_sid: str
    beginnings: int = 1  # the number of streams requested to begin the conversation
    dial_id: str = ""  # our own id of the dial, if we placed the call
    news_id: str = ""  # the id of the webhook that last requested a stream
    lost_at: float | None = None  # since when the call waits for a seat; monotonic, in seconds


@dataclass(frozen=True, slots=True, kw_only=True)
class Whereabouts:
    """The process that has a call.

    Attributes:
        worker: The name of the process; empty if there is only this one.
        goes_on: Whether the call may continue on another stream.
        moved: Whether another process has taken the call up from this one.
    """

    worker: str
    goes_on: bool
    moved: bool = False


class StreamedCalls:
    """One carrier's calls in all processes of the pool.

    It finds the process that has a call, and stores what another process needs to begin it again.
    """

    def __init__(self, pool: CallPool, carrier: str) -> None:
        """Answer other processes that look for a call from now on."""
        self._pool = pool
        self._question = f"{carrier} call"
        self._legs: dict[str, StreamLeg] = {}
        pool.peers.answer(self._question, self._report_to_leg)

    @contextmanager
    def findable(self, leg: StreamLeg) -> Iterator[None]:
        """Let the leg's call be found while the block runs, in place of an earlier leg of it."""
        call_sid = leg.facts.call_ref
        self._legs[call_sid] = leg
        try:
            yield
        finally:
            if self._legs.get(call_sid) is leg:
                del self._legs[call_sid]

    def find_resumable(self, call_sid: str) -> StreamLeg | None:
        """Return the leg of a call that is in this process and can be resumed, or `None`."""
        leg = self._legs.get(call_sid)
        return leg if leg is not None and leg.may_come_back else None

    async def find(
        self,
        call_sid: str,
        *,
        over: bool = False,
        by: str = "",
        handed_on: Handover | None = None,
        stream_id: str = "",
    ) -> Whereabouts | None:
        """Return the process that has a call, and tell it the carrier's reports, on which it acts.

        `None` if no process that responds has it.

        Args:
            call_sid: The carrier's id of the call.
            over: Whether the carrier reports that the call has ended.
            by: Who ended it, as the carrier names it; empty if the carrier does not report it.
            handed_on: The result of a transfer, if the carrier reports one.
            stream_id: The stream that the carrier reports as ended; empty if it does not say which.
        """
        answers = await self._pool.peers.ask_all(
            self._question,
            call_sid=call_sid,
            over=over,
            by=by[:MAX_BY_CHARS],
            handed_on=handed_on,
            stream_id=stream_id,
        )
        found = [Whereabouts(**answer) for answer in answers if answer]
        return min(found, key=lambda item: item.moved, default=None)

    async def keep(self, kept: Kept) -> None:
        """Store a call before its stream is requested, in place of what is stored of it."""
        moments = () if kept.lost_at is None else ("lost_at",)
        await self._pool.key_values.keep(
            self._place_of_call(kept.call_sid), asdict(kept), for_s=CALL_S, moments=moments
        )

    async def kept(self, call_sid: str) -> Kept | None:
        """Return the stored call, `None` if there is none; raise `LookupError` on no answer."""
        return read_stored(Kept, await self._pool.key_values.read(self._place_of_call(call_sid)))

    async def forget(self, call_sid: str) -> Kept | None:
        """Delete the stored call, and return it; `None` if there was none."""
        return read_stored(Kept, await self._pool.key_values.take(self._place_of_call(call_sid)))

    async def wait_no_longer(self, call_sid: str) -> bool:
        """Record that a call does not wait for a seat any more; return whether it did, once."""
        with suppress(LookupError):
            kept = await self.kept(call_sid)
            if kept and kept.lost_at is not None and await self.forget(call_sid):
                await self.keep(replace(kept, lost_at=None))
                return True
        return False

    async def _report_to_leg(self, asked: Mapping[str, Any]) -> Mapping[str, Any] | None:
        """Answer the question of `find`: pass the carrier's reports to the leg, if it is here."""
        leg = self._legs.get(asked["call_sid"])
        if leg is None or leg.is_moved:
            return None
        if await is_taken(leg):  # it goes on in another process, which this news is not for
            stream_id = asked.get("stream_id")  # an older version does not send it
            if stream_id and stream_id not in leg.stream_ids:
                return None  # the other process had that stream, and has lost it
            return asdict(Whereabouts(worker=self._pool.name, goes_on=False, moved=True))
        if asked["handed_on"]:
            leg.note_transfer_result(asked["handed_on"])
        if asked["over"]:
            await leg.carrier_ended(asked.get("by", ""))  # an older version does not send `by`
        return asdict(Whereabouts(worker=self._pool.name, goes_on=leg.may_come_back))

    def _place_of_call(self, call_sid: str) -> str:
        return f"{self._question} {call_sid}"


@dataclass(frozen=True, slots=True, kw_only=True)
class AdmittedStream:
    """A stream that belongs to one of our calls.

    Attributes:
        call: The call.
        seat: The seat held for the call.
        taker: Runs the stream until it ends, for a leg that waits for it, such as that of a resumed
            call; `None` if the stream begins a call.
        parked: Where the state of the call is stored; `None` if that was not asked yet.
    """

    call: CarriedCall
    seat: int
    taker: Callable[[WebSocket], Awaitable[None]] | None = None
    parked: ParkedCall | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamPass:
    """The token of a stream, and the worker that it must connect to."""

    token: str
    worker: str = ""  # empty for any worker


class TurnedAway(Enum):
    """Why a call gets no stream."""

    OVER = "over"
    NO_SEAT = "no_seat"
    LEAVING = "leaving"  # the server is shutting down or full; another machine may take the call
    HELD = "held"  # the call has lost its process, and waits for a seat
    GOES_ON = "goes_on"  # the call has a stream: the carrier repeated its webhook


Instructions: TypeAlias = StreamPass | Announcement | TurnedAway
"""The instructions to a carrier about a call."""


def reply(
    given: Instructions,
    *,
    stream: Callable[[StreamPass], str],
    say: Callable[[Announcement], str],
    busy: str,
    over: str,
) -> Response:
    """Return the response to a webhook: XML with instructions, or a referral to another machine.

    Args:
        given: The decision about the call.
        stream: Returns the instructions that open a stream.
        say: Returns the instructions that say a sentence to the caller.
        busy: The instructions for a call that gets no seat, or already has a stream.
        over: The instructions for a call that has ended.
    """
    match given:
        case StreamPass():
            return xml(stream(given))
        case Announcement():
            return xml(say(given))
        case TurnedAway.LEAVING:
            return fallback_response()
        case TurnedAway.OVER:
            return xml(over)
        case TurnedAway.NO_SEAT | TurnedAway.HELD | TurnedAway.GOES_ON:
            return xml(busy)


def xml(instructions: str) -> Response:
    """Return instructions for a carrier as a response."""
    return Response(instructions, media_type="text/xml")


class StreamTokens:
    """Issues a token for each stream that a carrier is asked to open, and redeems it."""

    def __init__(self, host: CarrierHost, carrier: str, patience: LinePatience) -> None:
        """Serve one carrier's calls."""
        self.patience = patience
        self.streamed_calls = StreamedCalls(host.pool, carrier)
        self._host = host
        self._carrier = carrier
        self._tokens = Tokens(host.pool.key_values, carrier)
        self._locks = PoolLocks(host.pool.peers)
        self._parked = Parked(host.pool, carrier)

    async def hold_seat(self, call: CarriedCall) -> Instructions:
        """Hold a seat for a call; return the pass for its stream, or why it gets none.

        If the carrier repeats the webhook of a call in progress, no second conversation begins: the
        next stream replaces the previous one. A call that has lost its machine, and reaches us by
        the number's fallback URL, goes on as in `follow`.
        """
        found = await self.streamed_calls.find(call.call_ref)
        if found is not None and not found.moved:
            return await self._go_on(call, found)
        if await self._parked.holds(call.call_ref):
            return await self._follow_lost(call, news_id="")
        return await self._seat_and_store(call, Kept(call_sid=call.call_ref, dial_id=call.dial_id))

    async def follow(
        self,
        call: CarriedCall,
        *,
        over: bool = False,
        handed_on: Handover | None = None,
        news_id: str = "",
        stream_id: str = "",
    ) -> Instructions:
        """Return the pass for the next stream of a call after one has ended, or why it gets none.

        A call in progress gets its next stream in the same process. A call that never began, or
        whose process is gone, begins again. If no seat is free for `SEAT_S`, its caller is asked to
        wait, and the carrier asks again, until `HELD_S` after the loss; then a callback is stored.
        A call that the agent or the caller has ended is over.

        Args:
            call: The call.
            over: Whether the carrier reports that the call has ended.
            handed_on: The result of a transfer, if the carrier reports one.
            news_id: The id of the webhook, so that a repeated one does not count as another loss;
                empty if the carrier asks only while the call has no stream. Then a call that
                another process has taken up from this one was lost there, too.
            stream_id: The stream that has ended; empty if the carrier does not say which.
        """
        found = await self.streamed_calls.find(
            call.call_ref, over=over, handed_on=handed_on, stream_id=stream_id
        )
        is_lost = found is None or (found.moved and not news_id)
        if found is not None and (found.goes_on or (found.moved and not is_lost)):
            return await self._go_on(call, found)
        if over or not is_lost:
            await self.streamed_calls.forget(call.call_ref)
            return TurnedAway.OVER
        return await self._follow_lost(call, news_id=news_id)

    async def _follow_lost(self, call: CarriedCall, *, news_id: str) -> Instructions:
        """Begin a call again that no process has, unless the agent or the caller has ended it."""
        # Another process may get a webhook about the same loss.
        async with self._locks.hold(f"{self._carrier} loss {call.call_ref}"):
            kept = await self._find_kept(call.call_ref)
            return await self._begin_again(call, kept, news_id) if kept else TurnedAway.OVER

    async def _find_kept(self, call_ref: str) -> Kept | None:
        """Return a call's stored data; ask again while the store does not answer."""
        until = self._host.clock() + STORE_LATE_S
        while True:
            try:
                return await self.streamed_calls.kept(call_ref)
            except LookupError:
                if self._host.clock() >= until:
                    return None
            await asyncio.sleep(SEAT_RETRY_S)

    async def end(self, call_ref: str, by: str = "") -> None:
        """Pass the carrier's report of a call's end to its leg, and delete the stored call."""
        await self.streamed_calls.find(call_ref, over=True, by=by)
        await self.streamed_calls.forget(call_ref)

    async def give_up(self, call_ref: str) -> Kept | None:
        """Delete and return the stored data of a call that gets no stream.

        Returns:
            `None` if a process has the call, or if the agent has ended it, even if the caller is
            now talking to a person.
        """
        if await self.streamed_calls.find(call_ref) is not None:
            return None
        return await self.streamed_calls.forget(call_ref)

    async def admit(self, started: Started, token: str) -> AdmittedStream | Refusal:
        """Use up a new stream's token; return its call, or why the stream is refused.

        A stream that begins a call takes its stored state, so that no other process may store it
        any more (`parked`). That of a call in this process replaces the previous one (`taker`).
        """
        now = self._host.clock()
        ticket = await self._tokens.redeem(token, call_sid=started.call_sid, now=now)
        if isinstance(ticket, str):
            return Refusal(reason=ticket, close_code=POLICY)
        call = ticket.call
        found = None if ticket.goes_on else await self.streamed_calls.find(call.call_ref)
        if not ticket.goes_on and (found is None or found.moved):
            try:
                parked = await _take_up(self._parked, ticket, self._host.clock)
            except CallTakenError:
                return Refusal(reason="token_of_an_old_epoch", close_code=POLICY)
            return AdmittedStream(call=call, seat=ticket.seat, parked=parked)
        leg = self.streamed_calls.find_resumable(call.call_ref)
        if leg is None or await is_taken(leg):
            return Refusal(reason="call_is_over", close_code=POLICY)
        resume = partial(leg.resume, stream_id=started.stream_sid)
        return AdmittedStream(call=call, seat=ticket.seat, taker=resume)

    async def _go_on(self, call: CarriedCall, found: Whereabouts) -> StreamPass | TurnedAway:
        """Return the pass for the next stream of a call in progress; `GOES_ON` if it gets none."""
        if not found.goes_on:
            return TurnedAway.GOES_ON
        ticket = Ticket(call=call, goes_on=True)
        # If `returns_within_s` is 0, the call waits for a stream only because the caller is being
        # transferred.
        for_s = self.patience.returns_within_s or LIFE_S
        token = await self._tokens.issue(ticket, now=self._host.clock(), for_s=for_s)
        return StreamPass(token=token, worker=found.worker)

    async def _begin_again(self, call: CarriedCall, kept: Kept, news_id: str) -> Instructions:
        """Begin a call again, up to `MAX_BEGINNINGS` times; a repeated webhook does not count."""
        lost_at = self._host.clock() if kept.lost_at is None else kept.lost_at
        before = replace(kept, lost_at=lost_at)
        if not news_id or news_id != kept.news_id:
            kept = replace(kept, beginnings=kept.beginnings + 1, news_id=news_id)
        if kept.beginnings > MAX_BEGINNINGS:
            await self.streamed_calls.forget(call.call_ref)
            return TurnedAway.OVER
        # During the wait for a seat, other webhooks about this loss must find the stored call.
        await self.streamed_calls.keep(replace(kept, lost_at=lost_at))
        given = await self._seat_and_store(call, replace(kept, lost_at=None), within_s=SEAT_S)
        if given is TurnedAway.LEAVING:
            await self.streamed_calls.keep(before)  # another machine begins it again
        elif given is TurnedAway.HELD:
            return await self._ask_to_wait(call, before)
        elif given is TurnedAway.NO_SEAT:
            await self.streamed_calls.forget(call.call_ref)
        return given

    async def _ask_to_wait(self, call: CarriedCall, kept: Kept) -> Instructions:
        """Ask the caller of a lost call to wait; after `HELD_S`, store a callback instead.

        Until then, the call stays stored.
        """
        answers, state = self._host.waiting, await self._parked.look(call.call_ref)
        if answers is None or kept.lost_at is None:
            return TurnedAway.NO_SEAT
        waiting = WaitingCall(
            call_id=state.call_id if state else f"{self._carrier} {call.call_ref}",
            number=call.other_party,
            language=state.language if state else "",
        )
        if self._host.clock() - kept.lost_at < HELD_S:
            await self.streamed_calls.keep(kept)
            return answers.wait(waiting)
        await self.streamed_calls.forget(call.call_ref)
        self._host.emit(CallRefused(transport=self._carrier, reason="full"))
        return await answers.call_back(waiting)

    async def _seat_and_store(
        self, call: CarriedCall, kept: Kept, *, within_s: float = 0.0
    ) -> StreamPass | TurnedAway:
        """Hold a seat and store the call; return the pass for its stream, or why it gets none.

        `within_s` is how long to wait for a seat; above 0, the call is one that was lost.
        """
        pool, clock = self._host.pool, self._host.clock
        admitted = await seat_for(call.call_ref, pool, clock, within_s=within_s)
        if not isinstance(admitted, HeldSeat):
            if await self.streamed_calls.find(call.call_ref) is not None:
                return TurnedAway.GOES_ON  # the call may itself have the seat that is missing
            goes_on = bool(self._host.machine and within_s)  # another machine may have a seat
            may_leave = goes_on or call.direction == "inbound"
            if may_leave and admitted.reason == ELSEWHERE:
                return TurnedAway.LEAVING
            if within_s and self._host.waiting and admitted.reason != DRAINING:
                return TurnedAway.HELD
            self._host.emit(CallRefused(transport=self._carrier, reason=admitted.reason))
            leaving = admitted.reason == DRAINING and may_leave
            return TurnedAway.LEAVING if leaving else TurnedAway.NO_SEAT
        await self.streamed_calls.keep(kept)
        # A new call has no state that is needed; of a call of this machine, it is here.
        needs_store = within_s > 0 and not await self._parked.holds(call.call_ref)
        late_s = STORE_LATE_S if needs_store else 0.0
        epoch = await _find_epoch(self._parked, call.call_ref, clock, within_s=late_s)
        ticket = Ticket(call=replace(call, dial_id=kept.dial_id), seat=admitted.seat, epoch=epoch)
        token = await self._tokens.issue(ticket, now=clock())
        return StreamPass(token=token)


async def _take_up(parked: Parked, ticket: Ticket, clock: Clock) -> ParkedCall:
    """Take a ticket's call up; try again for `TAKEN_LATE_S` unless another process has done so.

    While the store of several machines is away, only the machine that has stored a call gets it.

    Raises:
        CallTakenError: Another process has taken the call up, or the store does not answer.
    """
    call_ref, until = ticket.call.call_ref, clock() + TAKEN_LATE_S
    while True:
        try:
            return await parked.take(call_ref, epoch=ticket.epoch)
        except CallTakenError:
            if clock() >= until or await parked.epoch(call_ref) not in (None, ticket.epoch):
                raise
        await asyncio.sleep(SEAT_RETRY_S)


async def _find_epoch(
    parked: Parked, call_ref: str, clock: Clock, *, within_s: float
) -> int | None:
    """Return a call's epoch; while the store does not answer, ask again for `within_s`."""
    until = clock() + within_s
    while (epoch := await parked.epoch(call_ref)) is None and clock() < until:  # noqa: ASYNC110 - the store has no event
        await asyncio.sleep(SEAT_RETRY_S)
    return epoch
