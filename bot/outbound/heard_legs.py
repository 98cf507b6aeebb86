"""What callbacks said of the dials of a house, whichever of its processes they reached."""

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any, Final

from bot.house.house import House
from calls.leg_progress import LegFact
from campaigns.heard_leg import HeardLeg, joined

QUESTION: Final = "dialled leg"
MOST: Final = 1000  # dials that are kept in mind; the oldest gives way


class HeardLegs:
    """Of one process, and the way to those of the others."""

    def __init__(self) -> None:
        self._legs: dict[str, HeardLeg] = {}  # by the dial's id
        self._house: House | None = None

    def join(self, house: House) -> None:
        """Answer what other processes of the house ask."""
        self._house = house
        house.answer(QUESTION, self._answer)

    def note(self, fact: LegFact) -> None:
        """Keep what a callback said of a dial."""
        before = self._legs.get(fact.ref) or HeardLeg(call_ref=fact.call_ref)
        self._legs[fact.ref] = before.after(fact)
        while len(self._legs) > MOST:
            del self._legs[next(iter(self._legs))]

    async def of(self, dial_id: str) -> HeardLeg | None:
        """Return what was said of a dial; None: nothing yet."""
        if self._house is None:
            return self._legs.get(dial_id)
        said = await self._house.ask_all(QUESTION, dial_id=dial_id)
        return joined(HeardLeg(**each) for each in said if each)

    def forget(self, dial_id: str) -> None:
        """Keep nothing of a dial any more."""
        self._legs.pop(dial_id, None)

    async def _answer(self, asked: Mapping[str, Any]) -> Mapping[str, Any] | None:
        leg = self._legs.get(asked["dial_id"])
        return asdict(leg) if leg else None
