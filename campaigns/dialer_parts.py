"""Dependencies of a dialer: the queue, the carrier, the worker pool, our calls and settings."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Final, Protocol

from calls.entry import Tell
from calls.outbound import Claim
from campaigns.breakers import IN_A_ROW
from campaigns.call_verdict import CallVerdict
from campaigns.fate import GRACE_S
from campaigns.guard import Hold
from campaigns.model import Campaign
from campaigns.store.figures import Figures
from campaigns.store.queue import Queue
from transports.dialling import CampaignCarrier

LEASE_S: Final = 15.0  # chosen: a dead process's slots are free within seconds
LOOK_S: Final = 2.0  # between two checks of a call; callbacks bring most news earlier
RING_S: Final = 30.0


class DialingCapacity(Protocol):
    """The worker pool, as a dialer sees it."""

    @property
    def leads(self) -> bool:
        """Whether this process dials for the worker pool."""
        ...

    @property
    def leaving(self) -> bool:
        """Whether this process is shutting down and accepts no further calls."""
        ...

    def seats(self) -> int:
        """Return how many more calls can be taken now."""
        ...

    def usable(self) -> Mapping[str, bool]:
        """Return for each stage whether it has a rung that may be used now."""
        ...


class OwnCalls(Protocol):
    """Our side of the dialled calls."""

    async def prepare(self, campaign: Campaign, claim: Claim) -> None:
        """Prepare the agent of this campaign for the callee."""
        ...

    async def verdict(self, dial_id: str) -> CallVerdict | None:
        """Return the state of our side of a call; `None` if there was none."""
        ...

    async def wait(self, dial_id: str, within_s: float) -> None:
        """Return when there is news of a dial, or after this time."""
        ...

    def forget(self, dial_id: str) -> None:
        """Drop everything about a dial."""
        ...


async def wait_to_ask(
    dial_id: str, for_s: float, *, calls: OwnCalls, pool: DialingCapacity
) -> None:
    """Wait before asking the carrier, at most until this process shuts down."""
    loop = asyncio.get_running_loop()
    until = loop.time() + for_s
    while not pool.leaving and (left_s := until - loop.time()) > 0:
        await calls.wait(dial_id, left_s)


@dataclass(frozen=True, slots=True, kw_only=True)
class DialerSettings:
    """Time limits of a dialer.

    Attributes:
        lease_s: How long we hold a dial without renewing its lease.
        look_s: Between two checks of a call, of a hold, and of the queue.
        ring_s: How long it may ring.
        ask_again_s: Waits before the carrier is asked again about a dial.
        grace_s: For this long after the order, "no such call" from the carrier proves nothing.
        verdict_s: How long our side of an ended call may take to end.
        failures: This many calls in a row that failed for our own reasons pause the campaign.
    """

    lease_s: float = LEASE_S
    look_s: float = LOOK_S
    ring_s: float = RING_S
    ask_again_s: tuple[float, ...] = (2.0, 5.0, 10.0, 20.0)
    grace_s: float = GRACE_S
    verdict_s: float = 10.0
    failures: int = IN_A_ROW


@dataclass(frozen=True, slots=True, kw_only=True)
class DialerParts:
    """Dependencies of a dialer.

    Attributes:
        now_s: Seconds since 1970.
        rehearse: Tries our own stages before a dial; returns the one that is down, or "".
        held: Returns the campaigns that are held, as operators were told by any process.
    """

    queue: Queue
    figures: Figures
    carrier: CampaignCarrier
    calls: OwnCalls
    pool: DialingCapacity
    tell: Tell
    now_s: Callable[[], float]
    rehearse: Callable[[], Awaitable[str]] | None = None
    held: Callable[[], Awaitable[Mapping[str, Hold]]] | None = None
    settings: DialerSettings = field(default_factory=DialerSettings)
