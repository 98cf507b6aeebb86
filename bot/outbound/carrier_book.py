"""What carriers have told of the calls that we placed, to any process of the house."""

from collections.abc import Mapping, MutableMapping
from dataclasses import asdict
from typing import Any, Final, TypeVar

from bot.workers.pool import House
from calls.events import Event
from calls.leg_events import AnswererJudged, LegAnswered, LegCharged, LegEnded, LegRinging
from campaigns.heard_leg import HeardLeg, joined

QUESTION: Final = "what a carrier told"
MOST: Final = 1000  # dials that are kept in mind; the oldest gives way
Kept = TypeVar("Kept")


class CarrierBook:
    """Keeps it by the dial's id; what a call cost by the carrier's own, since it comes late."""

    def __init__(self) -> None:
        self.refs: dict[str, str] = {}
        self._heard: dict[str, HeardLeg] = {}
        self._charged: dict[str, float] = {}
        self._house: House | None = None

    def join(self, house: House) -> None:
        """Answer what other processes of the house ask."""
        self._house = house
        house.peers.answer(QUESTION, self._answer)

    def note(self, event: Event) -> str:
        """Keep one fact, if it is a carrier's; return the dial's id, or nothing."""
        match event:
            case (LegRinging() | LegAnswered() | LegEnded() | AnswererJudged()) as leg if leg.ref:
                known = self._heard.get(leg.ref) or HeardLeg(call_ref=leg.call_ref)
                _keep(self._heard, leg.ref, known.after(leg))
                _keep(self.refs, leg.ref, leg.call_ref)
                return leg.ref
            case LegCharged(call_ref=call_ref, cost=cost):
                _keep(self._charged, call_ref, cost)
            case _:
                pass
        return ""

    async def heard(self, dial_id: str) -> HeardLeg | None:
        """Return what was told of a dial; None: nothing."""
        said = await self._ask(dial_id=dial_id, call_ref="")
        return joined(HeardLeg(**each["heard"]) for each in said if each["heard"])

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
        return [each for each in await self._house.peers.ask_all(QUESTION, **asked) if each]

    async def _answer(self, asked: Mapping[str, Any]) -> Mapping[str, Any]:
        heard = self._heard.get(asked["dial_id"])
        return {
            "heard": asdict(heard) if heard else None,
            "cost": self._charged.get(asked["call_ref"]),
        }


def _keep(kept: MutableMapping[str, Kept], key: str, value: Kept) -> None:
    kept[key] = value
    while len(kept) > MOST:  # a callback comes to any worker, and behind a dial's end
        del kept[next(iter(kept))]
