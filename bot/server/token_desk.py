"""What a carrier's webhooks and its media socket share: whose call a stream is, new or going on."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from enum import Enum
from functools import partial
from typing import Final

from fastapi import WebSocket

from bot.clock import Clock
from bot.server.door_frame import DoorFrame
from bot.server.twilio_returns import MOST_BEGINNINGS, Kept, Returns, Whereabouts
from bot.server.twilio_tokens import LIFE_S, Ticket, Tokens
from bot.workers.one_at_a_time import OneAtATime
from bot.workers.pool import HeldSeat, House, NoSeat
from bot.workers.seats import DRAINING
from calls.events import CallRefused
from calls.handover import Handover
from transports.media_stream.leg import CarriedCall
from transports.media_stream.line import LinePatience
from transports.media_stream.messages import POLICY, Refusal, Started

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


class TokenDesk:
    """Gives out one token for each stream that a carrier is asked to open, and takes it back."""

    def __init__(self, frame: DoorFrame, carrier: str, patience: LinePatience) -> None:
        """Serve one carrier's calls."""
        self.patience = patience
        self.returns = Returns(frame.house, carrier)
        self._frame = frame
        self._carrier = carrier
        self._tokens = Tokens(frame.house.shelf)
        self._one_at_a_time = OneAtATime(frame.house.peers)

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
        house, clock = self._frame.house, self._frame.clock
        admitted = await seat_for(call.call_ref, house, clock, within_s=within_s)
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
    call_ref: str, house: House, clock: Clock, *, within_s: float
) -> HeldSeat | NoSeat:
    """Hold a seat for a call; one that is in progress waits for it so long."""
    until = clock() + within_s
    while True:
        admitted = await house.admit(call_ref)
        if isinstance(admitted, HeldSeat) or admitted.reason == DRAINING or clock() >= until:
            return admitted
        await asyncio.sleep(LOOK_S)
