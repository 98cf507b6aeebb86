"""What a dialer works with: the queue, the carrier, the house, and who is told."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Final, Protocol

from calls.entry import Tell
from calls.outbound import Claim
from campaigns.breakers import IN_A_ROW
from campaigns.call_verdict import CallVerdict
from campaigns.carrier import CampaignCarrier
from campaigns.fate import GRACE_S
from campaigns.guard import Hold
from campaigns.model import Campaign
from campaigns.store.office import CampaignOffice
from campaigns.store.queue import CampaignStore

LEASE_S: Final = 15.0  # chosen: a dead process's slots are free within seconds
LOOK_S: Final = 2.0  # between two questions how a call stands; most news comes by itself
RING_S: Final = 30.0


class DialingHouse(Protocol):
    """What a dialer asks of the house it dials for."""

    @property
    def leads(self) -> bool:
        """Whether it is this process that dials for the house."""
        ...

    @property
    def leaving(self) -> bool:
        """Whether this process is to end, and takes no call any more."""
        ...

    def seats(self) -> int:
        """Return how many more calls could be taken now."""
        ...

    def usable(self) -> Mapping[str, bool]:
        """Return for each stage whether any of its rungs may be asked now."""
        ...


class OwnCalls(Protocol):
    """Our side of the calls that are dialled."""

    async def prepare(self, campaign: Campaign, claim: Claim) -> None:
        """Have whoever picks up talked to as the campaign wants."""
        ...

    async def verdict(self, dial_id: str) -> CallVerdict | None:
        """Return how our side of a call stands; None: there was none."""
        ...

    async def wait(self, dial_id: str, within_s: float) -> None:
        """Return when there is news of a dial, or after this time."""
        ...

    def forget(self, dial_id: str) -> None:
        """Keep nothing of a dial any more."""
        ...


async def wait_to_ask(dial_id: str, for_s: float, *, calls: OwnCalls, pool: DialingHouse) -> None:
    """Wait before the carrier is asked; no longer than until this process is to end."""
    loop = asyncio.get_running_loop()
    until = loop.time() + for_s
    while not pool.leaving and (left_s := until - loop.time()) > 0:
        await calls.wait(dial_id, left_s)


@dataclass(frozen=True, slots=True, kw_only=True)
class DialerSettings:
    """How a dialer takes its time.

    Attributes:
        lease_s: So long a dial is ours without a sign of life.
        look_s: Between two looks at a call, at the hold, at the queue.
        ring_s: How long it may ring.
        ask_again_s: After these waits the carrier is asked again what became of a dial.
        grace_s: So long after it was asked a carrier that knows no such call proves nothing.
        verdict_s: So long our own side of an ended call may take to end.
        failures: Calls in a row that failed for our own reasons, and the campaign pauses.
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
    """What a dialer works with.

    Attributes:
        now_s: Seconds since 1970.
        rehearse: Tries our own stages before a dial; says which is down, if one is.
        held: Returns which campaigns stand still, as any process has had operators told.
    """

    store: CampaignStore
    office: CampaignOffice
    carrier: CampaignCarrier
    calls: OwnCalls
    pool: DialingHouse
    tell: Tell
    now_s: Callable[[], float]
    rehearse: Callable[[], Awaitable[str]] | None = None
    held: Callable[[], Awaitable[Mapping[str, Hold]]] | None = None
    settings: DialerSettings = field(default_factory=DialerSettings)
