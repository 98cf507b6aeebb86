"""Campaigns over Exotel, whose callbacks report the result of a dial.

Exotel's API finds a call only by Exotel's own id. If the answer to an order is lost, the dial is
known only by its callbacks and its stream, which carry our id. Nothing proves that such a call was
not placed, so it is never dialled again. Only an order that Exotel refused or never received was
not placed.
"""

import asyncio
from dataclasses import dataclass, field
from typing import Final, TypeVar

import aiohttp

from calls.outbound import DialOutcome
from campaigns.carrier import (
    CarrierNews,
    DialRequest,
    FoundCall,
    HeardLeg,
    carrier_errors,
    outcome_of,
)
from campaigns.pacing import DialPace
from fallbacks.failure import Kind, ServiceError
from transports.exotel.calls import ExotelCalls
from transports.http_requests import DialOrder

LIMITED_S: Final = 15.0  # chosen: Exotel refuses more than 200 requests a minute
UNHEARD_S: Final = 120.0  # chosen: a minute of ringing, and repeated callbacks
LONGEST_S: Final = 3600.0 + UNHEARD_S  # Exotel's own limit of a stream, 60 minutes
MOST: Final = 1000  # dials that are remembered; the oldest is dropped
NOT_PLACED: Final = frozenset(
    {Kind.AUTH, Kind.QUOTA, Kind.BAD_REQUEST, Kind.NOT_FOUND, Kind.RATE_LIMITED}
)
"""Failures after which no call was placed; after any other failure there may be one."""

Kept = TypeVar("Kept")


@dataclass(slots=True, kw_only=True)
class ExotelCarrier:
    """One account and one of its numbers.

    Attributes:
        number: Our number, which the callee sees.
        news: What callbacks have reported.
        calls_per_s: How many calls the account may place.
    """

    calls: ExotelCalls
    number: str
    news: CarrierNews
    calls_per_s: float = 2.0
    _pace: DialPace = field(init=False)
    _refused: dict[str, bool] = field(default_factory=dict[str, bool])
    # Since when Exotel has reported nothing about a dial, on the loop's clock.
    _silent_since: dict[str, float] = field(default_factory=dict[str, float])

    def __post_init__(self) -> None:
        """Create the pacing."""
        self._pace = DialPace(calls_per_s=self.calls_per_s, again_s=LIMITED_S)

    async def dial(self, request: DialRequest) -> str:
        """Place a call; Exotel alone decides how long it rings."""
        order = request.order(self.number)
        call_sid = await self._pace.place(lambda: self._order(order), request)
        self.news.refs[request.dial_id] = call_sid
        return call_sid

    def recall(self, dial_id: str, provider_call_id: str) -> None:
        """Remember the carrier's id of a dial that another process placed."""
        self.news.refs.setdefault(dial_id, provider_call_id)

    async def find(self, dial_id: str, to: str, since_s: float) -> FoundCall | None:
        """Return the state of a dial; `None` if Exotel said that it placed no call."""
        heard = await self.news.heard(dial_id)
        if heard is not None and heard.outcome is not None:
            self._silent_since.pop(dial_id, None)
            return heard.found
        call_sid = heard.call_ref if heard else self.news.refs.get(dial_id, "")
        if not call_sid:
            return None if dial_id in self._refused else self._unheard(dial_id, "", None)
        with carrier_errors():
            record = await self.calls.fetch(call_sid)
        if record is None:
            return self._unheard(dial_id, call_sid, heard)
        self._silent_since.pop(dial_id, None)
        self.news.refs[dial_id] = call_sid
        return FoundCall(
            provider_call_id=call_sid,
            outcome=outcome_of(record.outcome, machine=False),
            answered=record.outcome == "completed" or (heard is not None and heard.answered),
            cost=record.cost,
        )

    async def cost_of(self, provider_call_id: str) -> float | None:
        """Return the price of a call, as soon as Exotel knows it."""
        with carrier_errors():
            record = await self.calls.fetch(provider_call_id)
        return record.cost if record else None

    async def _order(self, order: DialOrder) -> str:
        """Order a call; remember whether Exotel refused or never received the order."""
        self._refused.pop(order.ref, None)
        try:
            return await self.calls.dial(order)
        except ServiceError as error:
            unsent = isinstance(error.__cause__, aiohttp.ClientConnectorError)
            if unsent or error.failure.kind in NOT_PLACED:
                _keep(self._refused, order.ref, value=True)
            raise

    def _unheard(self, dial_id: str, call_sid: str, heard: HeardLeg | None) -> FoundCall:
        """Return a call about which Exotel reports nothing: wait for it, never dial it again."""
        now = asyncio.get_running_loop().time()
        if dial_id not in self._silent_since:
            _keep(self._silent_since, dial_id, value=now)
        answered = heard is not None and heard.answered
        until_s = self._silent_since[dial_id] + (LONGEST_S if answered else UNHEARD_S)
        return FoundCall(
            provider_call_id=call_sid,
            outcome=DialOutcome.UNKNOWN if now >= until_s else None,
            answered=answered,
        )


def _keep(kept: dict[str, Kept], dial_id: str, *, value: Kept) -> None:
    kept[dial_id] = value
    while len(kept) > MOST:
        del kept[next(iter(kept))]
