"""A telephone call in a LiveKit room, as a leg."""

import asyncio
from contextlib import suppress
from typing import Final

from loguru import logger
from pipecat.transports.base_transport import TransportParams

from calls.entry import Emit
from calls.events import InputRefused, ProviderFailed
from calls.handover import Destination, Handover
from calls.leg_events import LegAnswered, LegEnded, LegRinging, LineRestored
from transports.leg import Gone, LegFacts, PlainLeg, may_order
from transports.livekit.dialling import CALLEE
from transports.livekit.line import LivekitLine
from transports.livekit.room import RATE_HZ, LineError
from transports.livekit.room_watch_rules import BACK_S, LOST_S
from transports.livekit.rooms import LivekitRooms, RoomsError
from transports.livekit.streams import LivekitInput, LivekitOutput
from transports.livekit.words import (
    CLIENT_INITIATED,
    KEY_CODES,
    SipParty,
    mask_number,
    participant_outcome_of,
)

FAR_END_ANSWER_S: Final = 60.0  # how long a far end in the room may take to answer
SPARE_S: Final = 10.0  # a margin, so that the line's own timeout comes first
BEGIN_S: Final = 10.0  # how long a call may take to begin on a line (chosen)
KEY_S: Final = 0.3  # from one key to the next: the gateway plays each for a quarter of a second


class LivekitLeg(PlainLeg):
    """The audio connection of a caller, or of a person we call, through one of our rooms.

    Reasons given to `on_gone`: `caller_hung_up`, `line_lost` (the server was gone for too long, the
    caller did not return with it, or the gateway was stopped), `line_ended` (the room was closed,
    the caller was removed from it, or another process took our place), `never_connected` (no caller
    arrived, or the callee did not answer).
    """

    def __init__(
        self,
        line: LivekitLine,
        *,
        emit: Emit,
        rooms: LivekitRooms | None = None,
        dial_id: str = "",
    ) -> None:
        """Continue on a line whose caller has arrived.

        Args:
            line: An open line.
            emit: Publishes the leg's events.
            rooms: The server's rooms, for hang-ups and transfers; `None` if we can only leave.
            dial_id: Our own id of the dial, if a campaign placed the call.
        """
        self.facts = _leg_facts(line.party, dial_id=dial_id, can_transfer=rooms is not None)
        self.line, self._emit, self._rooms, self._ended = line, emit, rooms, False
        self._began_at = line.clock()
        self._gone: Gone | None = None
        self._begun = asyncio.Event()  # a listener is set, or we ended the line
        self._input = LivekitInput(_transport_params(), line, emit)
        self._output = LivekitOutput(_transport_params(), line)

        def restored(after_s: float) -> None:
            self._emit(LineRestored(after_s=after_s))
            self._output.repeat_owed()

        line.on_lost, line.on_restored = self._output.note_lost, restored
        line.on_refused = lambda why: self._emit(InputRefused(transport="livekit", reason=why))

    def tell_to(self, emit: Emit) -> None:
        """Publish events through `emit` from now on: the call's, in place of the process's."""
        self._emit = emit
        self._input.emit = emit

    def input(self) -> LivekitInput:
        """Return the processor that receives the caller's audio."""
        return self._input

    def output(self) -> LivekitOutput:
        """Return the processor that plays to the caller."""
        return self._output

    def on_gone(self, gone: Gone) -> None:
        """Call `gone` when the far end is gone, also if it went up to `BEGIN_S` ago."""
        self._gone = gone
        self._begun.set()

    async def answered(self) -> None:
        """Wait until the far end has answered and hears us; publish its ringing and its answer.

        Raises:
            TimeoutError: It did not within `FAR_END_ANSWER_S`.
        """
        if not self.line.answered.is_set():
            self._emit(LegRinging(call_ref=self.facts.call_ref))
        async with asyncio.timeout(FAR_END_ANSWER_S):
            await self.line.answered.wait()
            await self.line.usable.wait()
        after_s = self.line.clock() - self._began_at
        self._emit(LegAnswered(call_ref=self.facts.call_ref, after_s=after_s))

    async def watch(self) -> None:
        """Wait until the far end is gone; publish that, call the listener of `on_gone`, and return.

        This waits up to `BEGIN_S` for a listener, because a callee may hang up at once.
        """
        reason = await self.line.watch()
        self._emit_end(reason, left_reason=self.line.left_reason)
        with suppress(TimeoutError):
            async with asyncio.timeout(BEGIN_S):
                await self._begun.wait()
        gone, self._gone = self._gone, None
        if gone:
            await gone(reason)

    @property
    def is_lost(self) -> bool:
        """Whether we are not connected to the room; then the caller may be there with another."""
        return not self.line.stay.up

    async def press(self, keys: str) -> bool:
        """Send keys as RFC 4733 events, one every `KEY_S`; return whether all were sent.

        After False, some may have been sent, but none if a key is unknown.
        """
        if not keys or any(key not in KEY_CODES for key in keys):
            return False
        try:
            for key in keys:
                await self.line.press(key, code=KEY_CODES[key])
                await asyncio.sleep(KEY_S)
        except LineError:
            return False
        return True

    async def transfer(self, to: Destination, *, ring_s: float) -> Handover:
        """Ask the caller's carrier to connect the caller elsewhere; return the result.

        On success the leg ends. Never raises.
        """
        party = self.line.party
        if not self.facts.transfers or self._rooms is None or party is None:
            return "not_offered"
        if not await may_order(self):
            return "failed"
        room = self.line.place.room
        return await self._rooms.transfer(party.identity, room=room, to=to, ring_s=ring_s)

    async def hang_up(self, reason: str = "") -> None:
        """Close the room, unless the server or another process has ended our stay, and leave.

        Closing the room ends the call. If the server does not close it, for example during a
        restart, the request is repeated later.
        """
        self._gone = None
        self._begun.set()
        self._emit_end(reason, left_reason=self.line.left_reason or CLIENT_INITIATED)
        try:
            # A caller who has left may still be in the room: see `LivekitLine._note_participant`.
            is_ours = self.line.left_reason or not self.line.sent_away
            if self._rooms is not None and is_ours and await may_order(self):
                await self._rooms.delete(self.line.place.room)
        except RoomsError as error:
            logger.warning("{} was not closed: {}", mask_number(self.line.place.room), error)
            self._emit(ProviderFailed(stage="transport", provider="livekit", error=str(error)))
            if self._rooms is not None:
                self._rooms.delete_later(self.line.place.room)
        finally:
            await self.line.close()  # in every case: the line's watcher waits for this

    def _emit_end(self, reason: str, *, left_reason: int) -> None:
        """Publish the end of the leg, once; `left_reason` decides the outcome if not answered."""
        if self._ended:
            return
        self._ended = True
        answered = self.line.answered.is_set()
        self._emit(
            LegEnded(
                call_ref=self.facts.call_ref,
                outcome=participant_outcome_of(left_reason, answered=answered),
                reason=reason,
            )
        )


def _leg_facts(party: SipParty | None, *, dial_id: str, can_transfer: bool) -> LegFacts:
    """Return what is known about a leg; no numbers and no transfer without a telephone party."""
    called_by_us = party is not None and party.identity == CALLEE
    # The gateway reports the far end's number and ours, whichever side called.
    theirs, ours = (party.number, party.our_number) if party else ("", "")
    return LegFacts(
        transport="livekit",
        sample_rate_hz=RATE_HZ,
        caller=ours if called_by_us else theirs,
        called=theirs if called_by_us else ours,
        call_ref=party.call_ref if party else "",
        direction="outbound" if called_by_us else "inbound",
        transfers=can_transfer and bool(party and party.call_ref),
        dial_id=dial_id,
    )


def _transport_params() -> TransportParams:
    """Return Pipecat's settings: 20 ms pieces both ways, and patience with a lost server."""
    return TransportParams(
        audio_in_enabled=True,
        audio_out_enabled=True,
        audio_out_10ms_chunks=2,
        audio_out_end_silence_secs=0,
        # Pending speech waits for a lost server longer than Pipecat lets a write wait.
        audio_out_write_timeout_secs=LOST_S + BACK_S + SPARE_S,
    )
