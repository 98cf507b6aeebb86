"""Outbound calls: calls an account's callees, connects those who answer, and reports progress.

This is the same for all carriers. Each has a subclass of `Exchange`, with the carrier's callbacks.
"""

import asyncio
import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, ClassVar, Final, Generic, Literal, TypeAlias, TypeVar

from aiohttp import web

from lab.simulators.carrier.callee import Callee, Fate, converse
from lab.simulators.carrier.carrier import Carrier
from lab.simulators.carrier.manner import CarrierManner
from lab.simulators.carrier.webhook import (
    AgentServer,
    NotConnectedError,
    PhoneCall,
    post,
    web_session,
)
from lab.simulators.clock import utc_now

DETECTION_S: Final = 2.0  # until the answering-machine detection has decided

End: TypeAlias = Fate | Literal["canceled"]
"""The outcome of a call, which the agent may have cancelled."""


@dataclass(slots=True, kw_only=True)
class RequestedCall:
    """A requested outbound call.

    Attributes:
        order: The fields of the request.
        events: The events for which the request wants callbacks.
        cancelled: Set when the agent cancels the call.
        answered_by: The result of answering-machine detection.
        price: Only known some time after the end.
    """

    phone: PhoneCall
    order: Mapping[str, Any]
    created: datetime
    events: frozenset[str] = frozenset()
    status: str = "queued"
    statuses: list[str] = field(default_factory=list[str])
    cancelled: asyncio.Event = field(default_factory=asyncio.Event)
    answered: datetime | None = None
    answered_by: str | None = None
    ended: datetime | None = None
    carrier: Carrier | None = None
    price: str | None = None

    @property
    def over(self) -> bool:
        """Whether the call has its final outcome."""
        return self.ended is not None

    @property
    def talked_s(self) -> int:
        """The conversation's length in whole seconds, as billed."""
        if self.answered is None or self.ended is None:
            return 0
        return max(1, round((self.ended - self.answered).total_seconds()))

    @property
    def minutes(self) -> int:
        """The started minutes of the conversation."""
        return math.ceil(self.talked_s / 60)


Dial = TypeVar("Dial", bound=RequestedCall)


class Exchange(ABC, Generic[Dial]):
    """Calls callees, and connects those who answer.

    Attributes:
        callees: The behaviour of each number; unknown numbers answer.
        server: The server for webhooks.
        placed: Every call, by its id.
        repeats: How often each callback is sent: carriers repeat one that is not answered.
        silent: Events for which no callback is sent.
        refusals: The exceptions that mean that the agent did not accept an answered call.
    """

    refusals: ClassVar[tuple[type[Exception], ...]] = (NotConnectedError,)

    def __init__(self, server: AgentServer | None = None) -> None:
        """Start without callees."""
        self.callees: dict[str, Callee] = {}
        self.server = server
        self.placed: dict[str, Dial] = {}
        self.repeats = 1
        self.silent: set[str] = set()

    async def run(self, placed: Dial) -> None:
        """Place a call, and report its progress until it is over."""
        await self._report_ringing(placed)
        callee = self.callees.get(self.number(placed), Callee())
        fate = await self._ring_callee(placed, callee)
        if placed.over:
            return  # it was cancelled, and that was reported
        if fate == "answered":
            await self._connect_callee(placed, callee)
        await self._report_end(placed, callee, fate)

    def number(self, placed: Dial) -> str:
        """Return the callee's number."""
        return placed.phone.called

    @abstractmethod
    def _ring_s(self, placed: Dial) -> float:
        """Return how long the callee's telephone rings."""

    @abstractmethod
    def _manner_for(self, placed: Dial) -> CarrierManner:
        """Return the carrier's behaviour for an answered call."""

    @abstractmethod
    async def _report_ringing(self, placed: Dial) -> None:
        """Report that the callee's telephone rings."""

    async def _report_answer(self, placed: Dial) -> None:
        """Report that the callee has answered."""

    async def _report_detection(self, placed: Dial, callee: Callee) -> None:
        """Report the result of answering-machine detection, if the request asked for it."""

    @abstractmethod
    async def _report_end(self, placed: Dial, callee: Callee, fate: End) -> None:
        """Report the end, and some time later the price."""

    def _agent_server_for(self, placed: Dial) -> AgentServer:
        """Return the agent's server for a call."""
        del placed
        assert self.server is not None  # noqa: S101 - only the agent's server requests calls
        return self.server

    async def _ring_callee(self, placed: Dial, callee: Callee) -> End:
        """Ring until the callee answers or refuses, the time is over, or the agent cancels."""
        ring_s = self._ring_s(placed)
        try:
            async with asyncio.timeout(min(callee.ring_s, ring_s)):
                await placed.cancelled.wait()
        except TimeoutError:
            return "no-answer" if callee.ring_s > ring_s else callee.fate
        return "canceled"

    async def _connect_callee(self, placed: Dial, callee: Callee) -> None:
        """Connect an answered call to the agent, and play the callee until the call is over."""
        placed.answered = utc_now()
        await self._report_answer(placed)
        server = self._agent_server_for(placed)
        carrier = Carrier(
            server.base_url,
            server.auth_token,
            phone=placed.phone,
            public_url=server.public_url,
            manner=self._manner_for(placed),
        )
        try:
            async with carrier:
                placed.carrier = carrier
                await converse(carrier, callee, self._report_detection(placed, callee))
        except self.refusals:
            pass  # the callee had answered, but the agent did not accept the call


async def call_back(
    exchange: Exchange[Any], url: str | None, write: Callable[[], tuple[Any, Mapping[str, str]]]
) -> None:
    """Send a callback to a call's address, if it has one, `exchange.repeats` times.

    Args:
        exchange: Knows the server.
        url: The address.
        write: Returns the body and headers; called for each repetition.
    """
    if url is None or exchange.server is None:
        return
    async with web_session() as session:
        for _ in range(exchange.repeats):
            await post(session, url, *write(), server=exchange.server)


class OrderIntake:
    """Accepts requests for calls; each is recorded before it is answered.

    Attributes:
        book: For every request: the call's id, the callee's number, and the part that contains
            the agent's own id.
        swallow: How many more requests are carried out, but not answered.
        calls_per_s: The allowed rate of requests.
    """

    def __init__(self) -> None:
        self.book: list[tuple[str, str, str]] = []
        self.swallow = 0
        self.calls_per_s = 100.0
        self._placed_at = float("-inf")

    def place(
        self,
        exchange: Exchange[Dial],
        placed: Dial,
        agent_id_part: str,
        start: Callable[[Coroutine[Any, Any, None]], object],
    ) -> None:
        """Record a request, and start its call.

        Args:
            exchange: Places the call.
            placed: The requested call.
            agent_id_part: The part of the request that contains the agent's own id.
            start: Runs the call in the background.
        """
        call_id = placed.phone.call_sid
        exchange.placed[call_id] = placed
        self.book.append((call_id, exchange.number(placed), agent_id_part))
        start(exchange.run(placed))

    def is_too_soon(self) -> bool:
        """Return whether a request exceeds the allowed rate; if not, count it."""
        now = asyncio.get_running_loop().time()
        if now - self._placed_at < 1 / self.calls_per_s:
            return True
        self._placed_at = now
        return False

    def lose_answer(self, request: web.Request) -> None:
        """Break the request's connection, if its answer is one of those to `swallow`."""
        if self.swallow:
            self.swallow -= 1
            if request.transport is not None:
                request.transport.abort()
