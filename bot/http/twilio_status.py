"""What Twilio tells of a call beside its media: facts, each once in the whole house."""

import asyncio
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Final

from bot.clock import Clock
from bot.house.house import House
from calls.entry import Tell
from calls.leg_progress import LegProgress, StatusCallback

KEPT_S: Final = 4 * 3600.0  # Twilio's own limit of a call: so long one may come twice
MOST_WORD_CHARS: Final = 64
_MILLISECOND: Final = 0.001


@dataclass(slots=True, kw_only=True)
class StatusCallbacks:
    """Reads status callbacks and verdicts on answering machines.

    How far a call has come is kept for the house, since a callback reaches any of its processes.
    """

    house: House
    tell: Tell
    clock: Clock
    _one_at_a_time: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def take(self, form: Mapping[str, str], *, ref: str) -> None:
        """Tell what is new.

        Args:
            form: What Twilio signed.
            ref: Our own id of the dial, from the callback's address.
        """
        said, place = _callback(form, ref), f"twilio progress {form['CallSid']}"
        async with self._one_at_a_time:
            kept, now = await self.house.take(place), self.clock()
            before = LegProgress(**kept) if kept else LegProgress(began_at=now)
            after, facts = before.after(said, now)
            await self.house.keep(place, asdict(after), for_s=KEPT_S)
        for each in facts:
            self.tell(each)


def _callback(form: Mapping[str, str], ref: str) -> StatusCallback:
    sip, judged = form.get("SipResponseCode", ""), form.get("MachineDetectionDuration", "")
    return StatusCallback(
        call_ref=form["CallSid"][:MOST_WORD_CHARS],
        ref=ref[:MOST_WORD_CHARS],
        status=form.get("CallStatus", ""),
        sip_code=int(sip) if _is_number(sip) else None,
        answered_by=form.get("AnsweredBy", "")[:MOST_WORD_CHARS],
        judged_after_s=int(judged) * _MILLISECOND if _is_number(judged) else 0.0,
        reason=form.get("ErrorCode", "")[:MOST_WORD_CHARS],
    )


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) < 7
