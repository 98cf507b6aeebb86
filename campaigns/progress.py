"""How far a campaign has come."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

OPEN_STATES: Final = ("waiting", "dialling", "resting")


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """How far a campaign has come."""

    contacts: int
    finished: int
    dials: int

    @property
    def left(self) -> int:
        """Return how many contacts are still to be called."""
        return self.contacts - self.finished


def progress_of(*, contacts: Mapping[str, int], outcomes: Mapping[str, int]) -> Progress:
    """Return how far a campaign has come.

    Args:
        contacts: How many in each state.
        outcomes: How many settled dials of each outcome.
    """
    open_ones = sum(contacts.get(each, 0) for each in OPEN_STATES)
    every = sum(contacts.values())
    return Progress(contacts=every, finished=every - open_ones, dials=sum(outcomes.values()))
