"""The carrier, and whether it answers: what one dial has met, those behind it need not meet."""

from dataclasses import dataclass
from typing import Final

from loguru import logger

from calls.outbound import Dial
from campaigns.carrier import (
    CampaignCarrier,
    CancellingCarrier,
    CarrierError,
    DialRefusedError,
    DialRequest,
    FoundCall,
    RecallingCarrier,
)

# A campaign's own breaker: several calls in a row that failed for our reasons pause it.
#
# The providers' breakers see what providers do. What they do not see, such as an agent whose tool
# is broken in every call, would otherwise be tried on one contact after the other. Contacts that
# were only skipped do not count: the reason is known then, and the guard holds by itself. Nothing
# but an operator's word takes a tripped one back: nobody knows what a probe would have to ask.

IN_A_ROW: Final = 5  # chosen: three may be one bad minute of several calls at once


@dataclass(slots=True)
class CampaignBreaker:
    """Counts the calls of one campaign that failed for our reasons, one after the other.

    Attributes:
        limit: So many in a row trip it.
        in_a_row: How many there were.
    """

    limit: int = IN_A_ROW
    in_a_row: int = 0

    @property
    def tripped(self) -> bool:
        """Whether the campaign is to pause."""
        return self.in_a_row >= self.limit

    def note(self, *, ours: bool, reached: bool) -> bool:
        """Count what became of a dial; say whether that has just tripped the breaker.

        Args:
            ours: It failed for our reasons.
            reached: Somebody was talked to, so that the agent has proven itself. What was busy or
                rang out says nothing of us, and is not counted.
        """
        was = self.tripped
        if ours:
            self.in_a_row += 1
        elif reached and not was:
            self.in_a_row = 0
        return self.tripped and not was

    def reset(self) -> None:
        """Begin anew, on an operator's word."""
        self.in_a_row = 0


SILENT: Final = "carrier_unreachable"


class WatchedCarrier:
    """One for all dials of a dialer.

    Attributes:
        down: Why it places no calls, as a code; empty: it answers.
    """

    def __init__(self, carrier: CampaignCarrier) -> None:
        """Ask this one."""
        self.down = ""
        self._carrier = carrier

    async def dial(self, request: DialRequest) -> str:
        """Have somebody called; return the carrier's own id of the call.

        Raises:
            DialRefusedError: It answers that it does not call this number.
            CarrierError: It does not answer, and somebody may be called all the same.
            DialWithdrawnError: It was not asked, which says nothing of it.
        """
        try:
            call_ref = await self._carrier.dial(request)
        except DialRefusedError:
            self.down = ""
            raise
        except CarrierError:
            self.down = SILENT
            raise
        self.down = ""
        return call_ref

    async def find(self, dial: Dial) -> FoundCall | None:
        """Return what became of a dial; None: the carrier has no such call.

        Raises:
            CarrierError: It does not answer.
        """
        try:
            found = await self._carrier.find(dial.id, dial.number, dial.intended_s - 1.0)
        except CarrierError:
            self.down = SILENT
            raise
        self.down = ""
        return found

    async def cancel(self, dial_id: str, ordered: str) -> None:
        """Have a telephone ring no longer, if the carrier can."""
        if not isinstance(self._carrier, CancellingCarrier):
            return
        try:
            await self._carrier.cancel(dial_id, ordered)
        except CarrierError as error:
            logger.warning("dial {} was not called off: {}", dial_id, error)

    def recall(self, dial: Dial) -> None:
        """Have it know the call of a dial that another process has made, if it does not."""
        if dial.provider_call_id and isinstance(self._carrier, RecallingCarrier):
            self._carrier.recall(dial.id, dial.provider_call_id)
