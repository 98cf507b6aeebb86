"""Why a campaign dials nobody for now, told once when it begins and once when it is over.

Who leads may change meanwhile, or end and begin anew. So whoever begins to lead goes on from what
operators were told, or nobody would tell them that it is over. For whoever has just begun nothing
has failed yet, which says nothing of the outage: its end shows with the first dial that is placed.
"""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field, replace

from calls.campaign_events import CampaignFact, CampaignHeld, CampaignResumed


@dataclass(frozen=True, slots=True, kw_only=True)
class Hold:
    """A campaign that waits.

    Attributes:
        since_s: On the clock of whoever hands in `now`.
        outage: Whether something is broken, which was told.
        adopted: Whether it is known here by what was told alone: nothing has failed here yet.
    """

    reason: str
    since_s: float
    outage: bool
    adopted: bool = False


@dataclass(slots=True)
class Holds:
    """Of each campaign, why it waits."""

    _held: dict[str, Hold] = field(default_factory=dict[str, Hold])

    def begin(self, held: Mapping[str, Hold]) -> None:
        """Have these wait, as was told of them by whoever has led until now, and no others."""
        self._held = {name: replace(each, adopted=True) for name, each in held.items()}

    def hold(
        self, campaign: str, reason: str, *, outage: bool, now: float
    ) -> tuple[CampaignFact, ...]:
        """Note that it waits; return what is to be told of it."""
        known = self._held.get(campaign)
        if known and (known.reason, known.outage) == (reason, outage):
            self._held[campaign] = replace(known, adopted=False)
            return ()
        if known and known.adopted and not outage:
            return ()  # nobody is dialled for another reason, and so nobody finds out
        goes_on = known is not None and known.outage and outage  # another reason, the same outage
        since_s = known.since_s if known and goes_on else now
        over = () if known is None or goes_on else self._over(campaign, known, now)
        self._held[campaign] = Hold(reason=reason, since_s=since_s, outage=outage)
        if not outage:
            return over
        return (*over, CampaignHeld(campaign=campaign, reason=reason, outage=True))

    def stop(self, campaign: str, reason: str, *, since_s: float) -> None:
        """Note that it waits for an operator's word, in the place of whatever else it waited for.

        That it does was told when it was paused, perhaps by another process.
        """
        self._held[campaign] = Hold(reason=reason, since_s=since_s, outage=True)

    def go(self, campaign: str, now: float) -> tuple[CampaignFact, ...]:
        """Note that it waits no more."""
        known = self._held.pop(campaign, None)
        return () if known is None else self._over(campaign, known, now)

    def try_to_go(self, campaign: str, now: float) -> tuple[CampaignFact, ...]:
        """Note that somebody is about to be dialled, since nothing is known that speaks against."""
        known = self._held.get(campaign)
        return () if known and known.adopted else self.go(campaign, now)

    def prove(self, campaign: str, now: float) -> tuple[CampaignFact, ...]:
        """Note that a dial was placed: what was adopted is over, unless it was met here, too."""
        known = self._held.get(campaign)
        return self.go(campaign, now) if known and known.adopted else ()

    def why(self, campaign: str) -> Hold | None:
        """Return why it waits; None: it does not."""
        return self._held.get(campaign)

    def _over(self, campaign: str, known: Hold, now: float) -> tuple[CampaignFact, ...]:
        if not known.outage:
            return ()
        held_s = round(now - known.since_s, 3)
        return (CampaignResumed(campaign=campaign, reason=known.reason, held_s=held_s),)


@dataclass(slots=True)
class Succession:
    """Has a process that begins to lead go on from what operators were told."""

    told: Callable[[], Awaitable[Mapping[str, Hold]]] | None
    _leads: bool = False

    async def lead(self, holds: Holds) -> None:
        """Lead from now on; raises what asking raises, and is to be called again then."""
        if not self._leads and self.told is not None:
            holds.begin(await self.told())
        self._leads = True

    def leave(self) -> None:
        """Lead no more."""
        self._leads = False
