"""Whether the next contact may be dialled now; if not, why, and what is done instead.

Whose turn it is, hours, pace and daily limits are decided where a contact is claimed
(`campaigns/guard.py`), in the same transaction. Here stands what the queue cannot know: the
campaign's own breaker, the carrier, our room, and whether an agent could talk. When a stage is down
it is done as the campaign's owner chose: `hold` (nobody is dialled until it is over), `skip` (the
contact is put back, and the next one is looked at), or `degraded` (dialled all the same: the call
goes down the way down).
"""

from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Final, Literal, TypeAlias

from calls.campaign_events import CampaignFact, CampaignHeld, CampaignResumed
from calls.outbound import ClaimRules, Contact
from campaigns.model import Campaign, OnOutage
from campaigns.pacing import pace
from campaigns.window import day_began_s, opens_s


def rules_of(campaign: Campaign, *, now: float) -> ClaimRules:
    """Return the rules of one claim, made at this moment."""
    return ClaimRules(
        day_began_s=day_began_s(campaign.zone, now=now),
        pace=partial(pace, campaign),
        opens_s=partial(contact_opens_s, campaign),
    )


def contact_opens_s(campaign: Campaign, contact: Contact, now: float) -> float | None:
    """Return when a contact may be called; None: never, by this campaign."""
    if campaign.prefixes and not contact.number.startswith(campaign.prefixes):
        return None
    if campaign.consent_required and contact.consent is None:
        return None
    return opens_s(contact.zones, campaign.window, now=now)


@dataclass(frozen=True, slots=True, kw_only=True)
class CampaignTurn:
    """What decides when it is a campaign's turn."""

    name: str
    calls_now: int
    concurrent: int
    claimed_s: float  # when it last had a turn


def in_turn(campaigns: Iterable[CampaignTurn]) -> Sequence[str]:
    """Return the campaigns in the order in which they may ask for a contact.

    First is the one that has the smallest part of its own calls at once, then the one that has
    waited for longest: so a large campaign never keeps a small one from its few calls.
    """
    order = sorted(
        campaigns,
        key=lambda campaign: (
            campaign.calls_now / max(1, campaign.concurrent),
            campaign.claimed_s,
            campaign.name,
        ),
    )
    return [campaign.name for campaign in order]


# Why a campaign dials nobody for now, told once when it begins and once when it is over.
#
# Who leads may change meanwhile, or end and begin anew. So whoever begins to lead goes on from what
# operators were told, or nobody would tell them that it is over. For whoever has just begun nothing
# has failed yet, which says nothing of the outage: its end shows with the first dial that is
# placed.


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


Step: TypeAlias = Literal["dial", "hold", "skip"]

STAGE_ORDER: Final = ("stt", "llm", "tts")


@dataclass(frozen=True, slots=True, kw_only=True)
class Circumstances:
    """What is known in the moment before a dial.

    Attributes:
        tripped: Why a breaker of the campaign's own has paused it, as a code; empty: none has.
        carrier_down: Why the carrier places no calls, as a code; empty: it does.
        seats: How many more calls we could take now.
        usable: For each stage, whether any of its rungs may be asked now.
    """

    tripped: str = ""
    carrier_down: str = ""
    seats: int = 1
    usable: Mapping[str, bool] = field(default_factory=dict[str, bool])


@dataclass(frozen=True, slots=True, kw_only=True)
class GuardVerdict:
    """What is to be done about the next contact.

    Attributes:
        step: Dial it, wait, or put it back and look at the next one.
        reason: Why it is not simply dialled; a code. Also of a dial that is made all the same.
        outage: Whether a dependency is to blame, which an operator is told once; False: it is the
            ordinary course of a house, such as all seats being taken.
    """

    step: Step
    reason: str = ""
    outage: bool = False

    @property
    def degraded(self) -> bool:
        """Whether the call is placed although a stage is down."""
        return self.step == "dial" and bool(self.reason)


GO: Final = GuardVerdict(step="dial")


def judge_dial_now(now: Circumstances, *, on_outage: OnOutage) -> GuardVerdict:
    """Return whether the next contact may be dialled."""
    if now.tripped:
        return GuardVerdict(step="hold", reason=now.tripped, outage=True)
    if now.carrier_down:
        return GuardVerdict(step="hold", reason=now.carrier_down, outage=True)
    if now.seats <= 0:
        return GuardVerdict(step="hold", reason="no_seat")
    down = stage_down(now.usable)
    if not down:
        return GO
    step: Step = "dial" if on_outage == "degraded" else on_outage
    return GuardVerdict(step=step, reason=down, outage=True)


def stage_down(usable: Mapping[str, bool]) -> str:
    """Return the first stage without a usable rung, as `stt_down`; empty: each has one."""
    ordered = sorted(usable, key=lambda stage: (_place(stage), stage))
    return next((f"{stage}_down" for stage in ordered if not usable[stage]), "")


def _place(stage: str) -> int:
    return STAGE_ORDER.index(stage) if stage in STAGE_ORDER else len(STAGE_ORDER)
