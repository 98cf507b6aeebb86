"""Calls that we place through Twilio: asking for one, looking one up, ending one.

Source: twilio.com/docs/voice/api/call-resource, /voice/answering-machine-detection.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, Final
from urllib.parse import quote, urlencode

from transports.carrier_answers import DialOrder, number_of
from transports.twilio.dial import STATUS_PATH
from transports.twilio.rest import TwilioRest
from transports.twilio.webhook import VOICE_PATH

EVENTS: Final = ("initiated", "ringing", "answered", "completed")
MOST_RING_S: Final = 600


@dataclass(frozen=True, slots=True, kw_only=True)
class CallRecord:
    """What Twilio says of a call.

    Attributes:
        length_s: Of the talk, in whole seconds; None: it goes on, or there was none.
        cost: In the account's currency; None: it is not known yet, which may last for a while
            behind the end.
    """

    call_sid: str
    status: str  # queued, initiated, ringing, in-progress, completed, busy, no-answer, ...
    to: str
    caller: str
    created: datetime | None = None
    answered_by: str = ""
    length_s: float | None = None
    cost: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class TwilioCalls:
    """Places calls of one account, whose callbacks come to our address.

    Every method raises `ServiceError`, classified: what is transient may be asked for again. A dial
    that was not answered may have been placed all the same: look before it is asked for again.
    """

    rest: TwilioRest
    public_url: str

    async def dial(self, order: DialOrder) -> CallRecord:
        """Ask for a call."""
        return _record(await self.rest.ask("POST", "Calls", self._fields(order)))

    async def fetch(self, call_sid: str) -> CallRecord:
        """Return what has become of a call."""
        return _record(await self.rest.ask("GET", f"Calls/{quote(call_sid, safe='')}"))

    async def search(self, *, to: str, since: datetime) -> Sequence[CallRecord]:
        """Return the calls to a number that were asked for since a moment, the newest first.

        Twilio's own filter knows starts, and a call that waits has none: so we filter here.
        """
        found = await self.rest.ask("GET", "Calls", (("To", to), ("PageSize", "50")))
        records = [_record(each) for each in found.get("calls", ())]
        whole_s = since.replace(microsecond=0)  # its times have no fractions
        return [each for each in records if each.created is not None and each.created >= whole_s]

    async def cancel(self, call_sid: str) -> CallRecord:
        """Place a call no further that was not answered yet."""
        fields = (("Status", "canceled"),)
        return _record(await self.rest.ask("POST", f"Calls/{quote(call_sid, safe='')}", fields))

    def _fields(self, order: DialOrder) -> list[tuple[str, str]]:
        ref = urlencode({"dial": order.ref})
        status = f"{self.public_url}{STATUS_PATH}?{ref}"
        fields = [
            ("To", order.to),
            ("From", order.caller),
            ("Url", f"{self.public_url}{VOICE_PATH}?{ref}"),
            ("Method", "POST"),
            ("Timeout", str(max(1, min(MOST_RING_S, round(order.ring_s))))),
            ("StatusCallback", status),
            ("StatusCallbackMethod", "POST"),
            *(("StatusCallbackEvent", each) for each in EVENTS),
        ]
        if order.machine:
            fields += [
                ("MachineDetection", order.machine),
                ("AsyncAmd", "true"),  # else a person who answers hears silence for seconds
                ("AsyncAmdStatusCallback", status),
                ("AsyncAmdStatusCallbackMethod", "POST"),
            ]
        return fields


def _record(body: Mapping[str, Any]) -> CallRecord:
    return CallRecord(
        call_sid=str(body.get("sid", "")),
        status=str(body.get("status", "")),
        to=str(body.get("to", "")),
        caller=str(body.get("from", "")),
        created=_moment(body.get("date_created")),
        answered_by=str(body.get("answered_by") or ""),
        length_s=number_of(body.get("duration")),
        cost=_cost(body.get("price")),
    )


def _cost(price: object) -> float | None:
    """Return what is charged: its prices are texts, and negative."""
    amount = number_of(price)
    return None if amount is None else abs(amount)


def _moment(text: object) -> datetime | None:
    try:
        return parsedate_to_datetime(str(text)).astimezone(UTC)
    except ValueError:
        return None
