"""Calls that we placed through Telnyx: what is told of them, and how they come to our media socket.

The news of a dial has our own id of it in its `client_state`, which Telnyx signs with the rest.
Telnyx tells of no ringing: `call.initiated` of a leg that goes out is taken for it. What a call
cost it tells if the application's "call cost" is switched on, in `call.cost`.

Source: developers.telnyx.com/docs/voice/programmable-voice/voice-api-webhooks,
apispec.telnyx.com/call-cost-received-event-7389933d0.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from bot.server.status_callbacks import MOST_WORD_CHARS, StatusCallbacks
from bot.server.token_desk import StreamPass, TokenDesk, TurnedAway
from calls.leg_progress import StatusCallback
from transports.carrier_answers import number_of
from transports.media_stream.leg import CarriedCall
from transports.media_stream.messages import text
from transports.telnyx.dial import answerer_of, end_of

STATUSES: Final[Mapping[str, str]] = {
    "call.initiated": "ringing",
    "call.answered": "in-progress",
    "call.hangup": "",  # by its cause
}
COST: Final = "call.cost"
STREAM_OVER: Final = ("streaming.failed", "streaming.stopped")


def read_news(call_id: str, event: str, payload: dict[str, Any], ref: str) -> StatusCallback | None:
    """Return what news of a dial says of how it goes; None: nothing."""
    answerer = answerer_of(event, payload)
    cost = _price(payload) if event == COST else None
    if event not in STATUSES and not answerer and cost is None:
        return None
    status, sip_code = STATUSES.get(event, ""), None
    if event == "call.hangup":
        end = end_of(payload)
        status, sip_code = end.status, end.sip_code
    return StatusCallback(
        call_ref=call_id,
        ref=ref,
        status=status,
        sip_code=sip_code,
        answered_by=answerer,
        reason=text(payload, "hangup_cause")[:MOST_WORD_CHARS],
        cost=cost,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class TelnyxDials:
    """Tells how they go, and lets those in who picked up."""

    progress: StatusCallbacks
    desk: TokenDesk

    async def heed(
        self, ref: str, call_id: str, event: str, payload: dict[str, Any]
    ) -> StreamPass | TurnedAway | None:
        """Tell what news of a dial says; return what lets a stream in, or why somebody gets none.

        None: nobody has picked up just now.
        """
        said = read_news(call_id, event, payload, ref)
        news = await self.progress.take(said) if said else ()
        if event == "call.answered":
            # Told again: a second seat would be kept for a call that is here, and for no stream.
            if not news and await self.desk.returns.find(call_id) is not None:
                return TurnedAway.GOES_ON
            if not news and await self.progress.is_over(call_id):
                return TurnedAway.OVER
            return await self.desk.begin(placed_call(call_id, payload, ref))
        if event == "call.hangup":
            await self.desk.end(call_id)
        return None


def placed_call(call_id: str, payload: dict[str, Any], ref: str) -> CarriedCall:
    """Return what news of a dial says of the call."""
    return CarriedCall(
        call_ref=call_id,
        caller=text(payload, "from"),
        called=text(payload, "to"),
        direction="outbound",
        dial_id=ref,
    )


def _price(payload: dict[str, Any]) -> float | None:
    price = number_of(payload.get("total_cost"))
    return price if price is not None and price >= 0 else None
