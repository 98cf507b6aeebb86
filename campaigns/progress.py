"""How far a campaign has come, and how long it may still take."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from campaigns.model import Campaign

OPEN_STATES: Final = ("waiting", "dialling", "resting")
DIAL_S: Final = 45.0  # chosen: ringing and a short talk, while nothing has been measured


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """How far a campaign has come.

    Attributes:
        left_s: What its pace alone makes of the rest; rests and closed hours come on top. None:
            nothing is left.
    """

    contacts: int
    finished: int
    dials: int
    left_s: float | None


def progress_of(
    campaign: Campaign,
    *,
    contacts: Mapping[str, int],
    outcomes: Mapping[str, int],
    dial_s: float = DIAL_S,
) -> Progress:
    """Return how far a campaign has come.

    Args:
        campaign: Its pace.
        contacts: How many in each state.
        outcomes: How many settled dials of each outcome.
        dial_s: How long a dial takes.
    """
    open_ones = sum(contacts.get(each, 0) for each in OPEN_STATES)
    every, dials = sum(contacts.values()), sum(outcomes.values())
    finished = every - open_ones
    each_takes = dials / finished if finished and dials > finished else 1.0
    a_second = min(campaign.dials_per_minute / 60.0, campaign.concurrent / dial_s)
    left_s = round(open_ones * each_takes / a_second, 1) if open_ones else None
    return Progress(contacts=every, finished=finished, dials=dials, left_s=left_s)
