"""Decides whether the next contact may be dialled now; if not, why, and what to do instead.

Hours, pace and daily limits are checked where a contact is claimed (`campaigns/store/claim.py`), in
the same transaction. This module checks what the queue cannot know: the campaign's own breakers,
the carrier, free seats, and whether an agent could talk. While a stage is down, the campaign's
`on_outage` decides: `hold` (do not dial until the outage is over), `skip` (put the contact back and
take the next one), or `degraded` (dial anyway; the callee gets the outage menu).
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from hashlib import sha256
from typing import Final, Literal, TypeAlias

from calls.campaign_events import CampaignEvent, CampaignHeld, CampaignResumed
from calls.outbound import ClaimRules, Contact
from campaigns.model import Campaign
from campaigns.pacing import pace
from campaigns.window import day_began_s, known_zones, opens_s
from configuration.campaigns import OnOutage


def rules_of(campaign: Campaign, *, now: float) -> ClaimRules:
    """Return the rules of a claim at this moment; they hold until the campaign's day ends."""
    return ClaimRules(
        day_began_s=day_began_s(campaign.zone, now=now),
        pace=partial(pace, campaign),
        opens_s=partial(contact_opens_s, campaign),
        version=rules_version(campaign),
    )


def contact_opens_s(campaign: Campaign, contact: Contact, now: float) -> float | str:
    """Return when this campaign may call a contact, or why never, as a code.

    Times are seconds since 1970; `now` is returned if it may call at once.
    """
    if campaign.prefixes and not contact.number.startswith(campaign.prefixes):
        return "prefix_not_allowed"
    if campaign.consent_required and contact.consent is None:
        return "no_consent"
    opens = opens_s(contact.zones, campaign.window, now=now)
    if opens is None:
        return "no_common_hour" if known_zones(contact.zones, campaign.window) else "no_zone"
    return opens


def rules_version(campaign: Campaign) -> str:
    """Return a hash of all rules that `contact_opens_s` applies; a new rule must be added here."""
    window = campaign.window
    hours = (window.opens_s, window.closes_s, sorted(window.days), window.default_zone)
    rules = repr((hours, sorted(campaign.prefixes), campaign.consent_required))
    return sha256(rules.encode()).hexdigest()[:32]


@dataclass(frozen=True, slots=True, kw_only=True)
class CampaignTurn:
    """The data of a campaign that determines its place in the order of turns."""

    name: str
    calls_now: int
    concurrent: int
    claimed_s: float  # when it last had a turn


def order_of_turns(campaigns: Iterable[CampaignTurn]) -> Sequence[str]:
    """Return the campaigns in the order in which they may claim a contact.

    First comes the campaign that uses the smallest share of its own concurrent calls; among equals,
    the one that has waited longest. So a large campaign never keeps a small one from its few calls.
    """
    order = sorted(
        campaigns,
        key=lambda turn: (turn.calls_now / max(1, turn.concurrent), turn.claimed_s, turn.name),
    )
    return [turn.name for turn in order]


@dataclass(frozen=True, slots=True, kw_only=True)
class Hold:
    """The reason why a campaign waits.

    Attributes:
        since_s: When the hold began, on the clock of `now`.
        outage: Whether something is broken, which is reported to operators.
        adopted: Whether the hold is a former leader's, and nothing has failed here yet.
    """

    reason: str
    since_s: float
    outage: bool
    adopted: bool = False


@dataclass(slots=True)
class Holds:
    """Why campaigns are held; a hold due to an outage is reported when it begins and when it ends.

    A new leader, in another process or after a restart, starts with the holds that were reported to
    operators, so that it can report their end. It has seen no failure itself, but only a placed
    dial proves that the outage is over.
    """

    _held: dict[str, Hold] = field(default_factory=dict[str, Hold])

    def adopt(self, held: Mapping[str, Hold]) -> None:
        """Adopt the holds of the former leader, and drop all others."""
        self._held = {name: replace(hold, adopted=True) for name, hold in held.items()}

    def hold(
        self, campaign: str, reason: str, *, outage: bool, now: float
    ) -> tuple[CampaignEvent, ...]:
        """Hold a campaign; return the events to report, none if it is held for this reason already.

        An outage with another reason goes on from when it began. An ordinary reason ends an outage,
        unless the outage is adopted: no dial has shown here that it is over.
        """
        current = self._held.get(campaign)
        if current and (current.reason, current.outage) == (reason, outage):
            self._held[campaign] = replace(current, adopted=False)
            return ()
        if current and current.adopted and not outage:
            return ()  # no dial is tried that could prove that the adopted outage is over
        # An outage that has another reason now is still the same outage.
        continues = current is not None and current.outage and outage
        since_s = current.since_s if current and continues else now
        ended = () if current is None or continues else self._end_events(campaign, current, now)
        self._held[campaign] = Hold(reason=reason, since_s=since_s, outage=outage)
        if not outage:
            return ended
        return (*ended, CampaignHeld(campaign=campaign, reason=reason, outage=True))

    def hold_for_operator(self, campaign: str, reason: str, *, since_s: float) -> None:
        """Hold a campaign until an operator resumes it, in place of any other hold.

        The pause itself was reported when it happened, perhaps by another process.
        """
        self._held[campaign] = Hold(reason=reason, since_s=since_s, outage=True)

    def end(self, campaign: str, now: float) -> tuple[CampaignEvent, ...]:
        """End the hold, if any; return the events to report: none unless an outage ends."""
        current = self._held.pop(campaign, None)
        return () if current is None else self._end_events(campaign, current, now)

    def end_before_dial(self, campaign: str, now: float) -> tuple[CampaignEvent, ...]:
        """End the hold before a dial; an adopted hold stays until a dial is placed."""
        current = self._held.get(campaign)
        return () if current and current.adopted else self.end(campaign, now)

    def end_after_placed_dial(self, campaign: str, now: float) -> tuple[CampaignEvent, ...]:
        """End a hold that is still adopted, because a dial was placed; leave any other hold."""
        current = self._held.get(campaign)
        return self.end(campaign, now) if current and current.adopted else ()

    def why(self, campaign: str) -> Hold | None:
        """Return why a campaign waits; `None` if it does not."""
        return self._held.get(campaign)

    def _end_events(self, campaign: str, current: Hold, now: float) -> tuple[CampaignEvent, ...]:
        """Return the event that ends a hold; none if an outage did not cause it."""
        if not current.outage:
            return ()
        held_s = round(now - current.since_s, 3)
        return (CampaignResumed(campaign=campaign, reason=current.reason, held_s=held_s),)


Step: TypeAlias = Literal["dial", "hold", "skip"]

STAGE_ORDER: Final = ("stt", "llm", "tts")


@dataclass(frozen=True, slots=True, kw_only=True)
class Circumstances:
    """The conditions right before a dial.

    Attributes:
        tripped: Why a breaker of the campaign has tripped, as a code; empty if none has.
        carrier_down: Why the carrier places no calls, as a code; empty if it does.
        seats: How many more calls the worker pool can take now.
        limit: The limit of `outbound` that was reached, or `nothing_allowed`; empty if neither.
        usable: For each stage, whether it has a rung that may be used now.
    """

    tripped: str = ""
    carrier_down: str = ""
    seats: int = 1
    limit: str = ""
    usable: Mapping[str, bool] = field(default_factory=dict[str, bool])


@dataclass(frozen=True, slots=True, kw_only=True)
class GuardVerdict:
    """What to do about the next contact.

    Attributes:
        step: Dial it, hold the campaign, or skip the contact.
        reason: Why there is no ordinary dial, as a code; also set for a degraded dial.
        outage: Whether something is broken, which is reported to operators once. False for ordinary
            reasons, such as no free seat.
    """

    step: Step
    reason: str = ""
    outage: bool = False

    @property
    def degraded(self) -> bool:
        """Whether the call is placed although a stage is down."""
        return self.step == "dial" and bool(self.reason)


GO: Final = GuardVerdict(step="dial")


def judge_dial_now(circumstances: Circumstances, *, on_outage: OnOutage) -> GuardVerdict:
    """Return what to do about the next contact: the first obstacle decides."""
    if circumstances.tripped:
        return GuardVerdict(step="hold", reason=circumstances.tripped, outage=True)
    if circumstances.carrier_down:
        return GuardVerdict(step="hold", reason=circumstances.carrier_down, outage=True)
    if circumstances.limit or circumstances.seats <= 0:
        return GuardVerdict(step="hold", reason=circumstances.limit or "no_seat")
    down = stage_down(circumstances.usable)
    if not down:
        return GO
    step: Step = "dial" if on_outage == "degraded" else on_outage
    return GuardVerdict(step=step, reason=down, outage=True)


def stage_down(usable: Mapping[str, bool]) -> str:
    """Return the first stage without a usable rung, as `stt_down`; empty if each has one."""
    ordered = sorted(usable, key=lambda stage: (_stage_rank(stage), stage))
    return next((f"{stage}_down" for stage in ordered if not usable[stage]), "")


def _stage_rank(stage: str) -> int:
    return STAGE_ORDER.index(stage) if stage in STAGE_ORDER else len(STAGE_ORDER)
