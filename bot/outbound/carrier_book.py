"""What carriers have told of the calls that we placed, to any process of the house."""

from collections.abc import Mapping, MutableMapping
from dataclasses import asdict, replace
from functools import reduce
from typing import Any, Final, TypeVar

from bot.house.house import House
from calls.events import Event
from calls.leg_events import AnswererJudged, LegAnswered, LegCharged, LegEnded, LegRinging
from campaigns.carrier_news import HeardCall

QUESTION: Final = "what a carrier told"
MOST: Final = 1000  # dials that are kept in mind; the oldest gives way
Kept = TypeVar("Kept")


class CarrierBook:
    """Keeps it by the dial's id; what a call cost by the carrier's own, since it comes late."""

    def __init__(self) -> None:
        self.refs: dict[str, str] = {}
        self._heard: dict[str, HeardCall] = {}
        self._charged: dict[str, float] = {}
        self._house: House | None = None

    def join(self, house: House) -> None:
        """Answer what other processes of the house ask."""
        self._house = house
        house.answer(QUESTION, self._answer)

    def note(self, event: Event) -> str:
        """Keep one fact, if it is a carrier's; return the dial's id, or nothing."""
        match event:
            case LegRinging() | LegAnswered() | LegEnded() | AnswererJudged() if event.ref:
                known = self._heard.get(event.ref, HeardCall(call_ref=event.call_ref))
                _bounded(self._heard, event.ref, _after(known, event))
                _bounded(self.refs, event.ref, event.call_ref)
                return event.ref
            case LegCharged(call_ref=call_ref, cost=cost):
                _bounded(self._charged, call_ref, cost)
            case _:
                pass
        return ""

    async def heard(self, dial_id: str) -> HeardCall | None:
        """Return what was told of a dial; None: nothing."""
        said = await self._ask(dial_id=dial_id, call_ref="")
        found = [HeardCall(**each["heard"]) for each in said if each["heard"]]
        return reduce(_both, found) if found else None

    async def charged(self, call_ref: str) -> float | None:
        """Return what a call is said to have cost; None: nothing was said of it."""
        said = await self._ask(dial_id="", call_ref=call_ref)
        return next((each["cost"] for each in said if each["cost"] is not None), None)

    def forget(self, dial_id: str) -> None:
        """Keep nothing of a dial any more but what it cost."""
        self.refs.pop(dial_id, None)
        self._heard.pop(dial_id, None)

    async def _ask(self, **asked: str) -> list[Mapping[str, Any]]:
        if self._house is None:
            return [await self._answer(asked)]
        return [each for each in await self._house.ask_all(QUESTION, **asked) if each]

    async def _answer(self, asked: Mapping[str, Any]) -> Mapping[str, Any]:
        heard = self._heard.get(asked["dial_id"])
        return {
            "heard": asdict(heard) if heard else None,
            "cost": self._charged.get(asked["call_ref"]),
        }


def _after(known: HeardCall, event: Event) -> HeardCall:
    match event:
        case LegAnswered():
            return replace(known, answered=True)
        case LegEnded(outcome=outcome):
            return replace(known, outcome=outcome)
        case _:
            return known


def _both(one: HeardCall, other: HeardCall) -> HeardCall:
    return replace(
        one,
        answered=one.answered or other.answered,
        outcome=one.outcome or other.outcome,
    )


def _bounded(kept: MutableMapping[str, Kept], key: str, value: Kept) -> None:
    kept[key] = value
    while len(kept) > MOST:  # a callback comes to any worker, and behind a dial's end
        del kept[next(iter(kept))]
