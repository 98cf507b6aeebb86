"""Lists the campaigns for the console: progress, reason for waiting, estimated time left."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any, Final

from bot.outbound.outbound import Outbound
from calls.sentences import HELD, ORDINARY, OUTCOMES, held, paused, phrase
from campaigns.guard import Hold, stage_down
from campaigns.model import Campaign
from campaigns.refusals import reason_lines
from campaigns.store.figures import CampaignCourse, CampaignStanding
from campaigns.store.unfinished import UnfinishedContacts
from campaigns.time_left import Progress, Remainder, estimate_left_s, progress_of
from campaigns.window import day_began_s

NO_CARRIER: Final = "no_carrier"


async def list_campaigns(
    outbound: Outbound, holds: Mapping[str, Mapping[str, Any]]
) -> list[dict[str, Any]]:
    """Return each configured campaign as JSON; one that the database does not know is `ready`.

    Args:
        outbound: The configured campaigns, and the database.
        holds: By campaign, why the dialling process does not dial; from `why_held`.

    Raises:
        StorageError: The database does not answer.
    """
    found = {item.name: item for item in await outbound.figures.standings()}
    shown: list[dict[str, Any]] = []
    for name, campaign in outbound.campaigns.items():
        standing = found.get(name) or _unknown_standing(name)
        hold = holds.get(name) if standing.state == "running" else None
        details = {
            "held": hold,
            "waits": _is_blocked(hold),
            "excluded": await _excluded_in_words(outbound, standing),
            "says": _state_in_words(campaign, standing, hold),
            "outcomes_say": {code: phrase(OUTCOMES, code) for code in standing.outcomes},
        }
        shown.append(
            _standing_fields(campaign, standing, outbound.currency)
            | details
            | await _usage_and_time_left(outbound, standing)
        )
    return shown


def _is_blocked(hold: Mapping[str, Any] | None) -> bool:
    """Return whether a campaign waits for more than its hours, its limits or the next due time."""
    return bool(hold) and hold["reason"] in HELD.keys() - ORDINARY


def _state_in_words(
    campaign: Campaign, standing: CampaignStanding, hold: Mapping[str, Any] | None
) -> str:
    """Return in words why a campaign is paused or waits; empty if it does neither."""
    if standing.state == "paused":
        return paused(standing.reason)
    return held(hold["reason"], on_outage=campaign.on_outage) if hold else ""


async def _excluded_in_words(outbound: Outbound, standing: CampaignStanding) -> list[str]:
    """Return in words how many contacts are excluded, and why."""
    if not standing.contacts.get("excluded"):
        return []
    contacts = UnfinishedContacts(outbound.figures.database)
    counts = await contacts.excluded(standing.name)
    return reason_lines(counts, outbound.campaigns[standing.name])


def why_held(outbound: Outbound) -> dict[str, dict[str, Any]]:
    """Return by campaign why this process does not dial, or which stage is down while it does."""
    if outbound.dialer is None:
        no_carrier = {"reason": NO_CARRIER, "since_s": None, "outage": True}
        return dict.fromkeys(outbound.campaigns, no_carrier)
    holds = {name: outbound.dialer.holds.why(name) for name in outbound.campaigns}
    reasons = {name: _public_fields(hold) for name, hold in holds.items() if hold}
    if down := stage_down(outbound.usable()):
        degraded = {"reason": down, "since_s": None, "outage": True}
        for name, campaign in outbound.campaigns.items():
            if campaign.on_outage == "degraded":
                reasons.setdefault(name, degraded)
    return reasons


def _public_fields(hold: Hold) -> dict[str, Any]:
    return {"reason": hold.reason, "since_s": hold.since_s, "outage": hold.outage}


def standing_still(outbound: Outbound) -> tuple[str, ...]:
    """Return the names of the campaigns that this process holds because of an outage.

    Empty if this process does not dial.
    """
    if outbound.dialer is None:
        return ()
    holds = ((name, outbound.dialer.holds.why(name)) for name in outbound.campaigns)
    return tuple(name for name, hold in holds if hold and hold.outage)


def merge_holds(answers: Sequence[Mapping[str, Any] | None]) -> dict[str, Any]:
    """Merge the holds of all processes; at most one of them dials."""
    merged: dict[str, Any] = {}
    for answer in answers:
        merged |= answer or {}
    return merged


def _unknown_standing(name: str) -> CampaignStanding:
    """Return the standing of a campaign that the database does not know yet."""
    return CampaignStanding(name=name, state="ready", contacts={}, outcomes={})


def _standing_fields(
    campaign: Campaign, standing: CampaignStanding, currency: str
) -> dict[str, Any]:
    """Return a campaign's figures as JSON for the console; money is in `currency`."""
    progress = _progress_of_standing(standing)
    return asdict(standing) | {
        "all_contacts": progress.contacts,
        "finished": progress.finished,
        "dials": progress.dials,
        "on_outage": campaign.on_outage,
        "daily_calls": campaign.daily_calls,
        "daily_spend": campaign.daily_spend,
        "currency": currency,
    }


async def _usage_and_time_left(outbound: Outbound, standing: CampaignStanding) -> dict[str, Any]:
    """Return what was used today, and how long a campaign may still take, in seconds.

    `left_s` is `None` if it does not run, has no contact left, or cannot be estimated.
    """
    campaign, now = outbound.campaigns[standing.name], outbound.now_s()
    today = standing.day_s == day_began_s(campaign.zone, now=now)
    used = {
        "calls_today": standing.day_calls if today else 0,
        "spent_today": standing.day_spent if today else 0.0,
    }
    progress = _progress_of_standing(standing)
    if standing.state != "running" or not progress.left:
        return used | {"left_s": None}
    course = await outbound.figures.course(standing.name)
    rest = _remainder_of_campaign(standing, progress, course, used)
    # Computing this takes a few milliseconds for a campaign of several weeks.
    left_s = await asyncio.to_thread(estimate_left_s, campaign, rest, now=now)
    return used | {"left_s": left_s}


def _progress_of_standing(standing: CampaignStanding) -> Progress:
    return progress_of(contacts=standing.contacts, outcomes=standing.outcomes)


def _remainder_of_campaign(
    standing: CampaignStanding,
    progress: Progress,
    course: CampaignCourse,
    used: Mapping[str, Any],
) -> Remainder:
    """Return what is left to do; the estimate of the time left is made from it."""
    return Remainder(
        contacts=progress.left,
        finished=progress.finished,
        dials=progress.dials,
        cost=standing.cost,
        calls_today=used["calls_today"],
        spent_today=used["spent_today"],
        intended_s=course.intended_s,
        zones=course.zones,
        last_due_s=course.last_due_s,
    )
