"""How fast a campaign may go: how many calls at once, a minute and a day, and for how much."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Final, TypeVar

from calls.campaign_events import DialEnded
from calls.entry import Tell
from calls.events import Event
from calls.outbound import CampaignUse, NothingToDial, TokenBucket
from campaigns.carrier import CarrierError, DialRefusedError, DialRequest
from campaigns.model import Campaign
from campaigns.window import next_day_s
from fallbacks.failure import Failure, Kind, Scope, ServiceError

REST_S: Final = 1.0  # between two looks, however many dials end


class DialNews:
    """One for each of those who wait."""

    def __init__(self) -> None:
        self._news = asyncio.Event()

    def heard_by(self, tell: Tell) -> Tell:
        """Return what tells the same, and wakes us when a dial has ended."""

        def tell_and_wake(event: Event) -> None:
            tell(event)
            if isinstance(event, DialEnded):
                self._news.set()

        return tell_and_wake

    async def wait(self, within_s: float) -> None:
        """Return when a dial has ended since the last time, or after this time."""
        with suppress(TimeoutError):
            async with asyncio.timeout(within_s):
                await self._news.wait()
        self._news.clear()
        await asyncio.sleep(REST_S)


LIMITED_TRIES: Final = 5
LIMITED_S: Final = 1.1  # an account may place one call a second unless it asked for more
Placed = TypeVar("Placed")


@dataclass(slots=True, kw_only=True)
class DialPace:
    """The pace of one account.

    Attributes:
        calls_per_s: How many calls it may place.
        refuses: The scopes of a bad request which say that this number is not called; whatever else
            fails may yet work for the next.
        again_s: How long to wait before what was too quick is asked for again.
    """

    calls_per_s: float
    refuses: frozenset[Scope] = frozenset(Scope)
    again_s: float = LIMITED_S
    _free_at: float = 0.0  # on the loop's clock: when the account may place the next call

    async def place(self, ask: Callable[[], Awaitable[Placed]], request: DialRequest) -> Placed:
        """Return what `ask` does, in its turn; what is refused for its pace alone was not placed.

        Raises:
            CarrierError: It failed; a `DialRefusedError` if it is the number's fault.
            DialWithdrawnError: The request's `confirm` raised it.
        """
        for tries in range(LIMITED_TRIES):
            if tries:
                await request.wait(self.again_s)
            await request.wait(self._take_turn())
            await request.confirm()
            try:
                return await ask()
            except ServiceError as error:
                if error.failure.kind is not Kind.RATE_LIMITED:
                    raise self._carrier_error(error.failure) from error
        raise CarrierError("too many calls for this account")

    def _take_turn(self) -> float:
        """Take the next turn, evenly, without a burst; return the seconds until then."""
        now = asyncio.get_running_loop().time()
        turn_at = max(now, self._free_at)
        self._free_at = turn_at + 1 / self.calls_per_s
        return turn_at - now

    def _carrier_error(self, failure: Failure) -> CarrierError:
        refused = failure.kind is Kind.BAD_REQUEST and failure.scope in self.refuses
        return DialRefusedError(failure.reason) if refused else CarrierError(failure.reason)


class SilentLooks:
    """Twice in each lease; behind trouble with the database before every claim, for a lease.

    Dials that go on may have run out of their lease then, each at a moment of its own: a slot that
    seems free is not.
    """

    def __init__(self, lease_s: float, *, now_s: Callable[[], float]) -> None:
        """Begin with none made."""
        self._lease_s = lease_s
        self._now_s = now_s
        self._looked_s = float("-inf")
        self._broken_s = float("-inf")

    @property
    def due(self) -> bool:
        """Whether to look now."""
        # A moment that lies ahead is of a clock that was put back since.
        rested = 0.0 <= self._now_s() - self._looked_s < self._lease_s / 2
        return not rested or self._looked_s - self._broken_s <= self._lease_s

    def looked(self, at_s: float) -> None:
        """Note a look that the database answered, as of that moment."""
        self._looked_s = at_s

    def doubt(self) -> None:
        """Note that the database has failed us just now, or that a dial was left to its lease."""
        self._broken_s = self._now_s()


HAIR: Final = 1e-6  # of a token: whoever comes at the very moment that was named finds it


def pace(campaign: Campaign, use: CampaignUse, now: float) -> TokenBucket | NothingToDial:
    """Return what is left of the pace behind one more dial, or why there may be none."""
    if use.calls_now >= campaign.concurrent:
        return NothingToDial(reason="concurrent")
    if campaign.daily_calls is not None and use.calls_today >= campaign.daily_calls:
        return NothingToDial(reason="daily_calls", again_s=next_day_s(campaign.zone, now=now))
    if campaign.daily_spend is not None and use.spent_today >= campaign.daily_spend:
        return NothingToDial(reason="daily_spend", again_s=next_day_s(campaign.zone, now=now))
    return take_token(use.bucket, per_minute=campaign.dials_per_minute, now=now)


def take_token(
    bucket: TokenBucket, *, per_minute: float, now: float
) -> TokenBucket | NothingToDial:
    """Take one token, or say when there is one.

    The bucket holds what comes in one second, and at least one: dials are spread, and those of a
    minute in which nobody was due are not made up for in one burst.
    """
    a_second = per_minute / 60.0
    come = max(0.0, now - bucket.filled_s) * a_second  # a clock that was put back fills nothing
    tokens = min(max(1.0, a_second), bucket.tokens + come)
    if tokens < 1.0 - HAIR:
        return NothingToDial(reason="pace", again_s=now + (1.0 - tokens) / a_second)
    return TokenBucket(tokens=max(0.0, tokens - 1.0), filled_s=now)
