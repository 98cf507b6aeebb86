"""Whose turn it is among campaigns that run side by side."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass


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
        key=lambda each: (each.calls_now / max(1, each.concurrent), each.claimed_s, each.name),
    )
    return [each.name for each in order]
