"""Calls whose stream may die before they end: where each is, and what is kept of it for the house.

Everything that another process needs to take a call up stands in `Kept`.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import Any, Final

from bot.workers.pool import House
from calls.handover import Handover
from transports.media_stream.leg import StreamLeg

CALL_S: Final = 4 * 3600.0  # Twilio's own limit of a call
MOST_BEGINNINGS: Final = 3  # a stream that dies before there is a call is tried so often


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """What the house knows of a call until the agent has ended it."""

    call_sid: str
    beginnings: int = 1  # how often a stream was asked for that was to begin a conversation
    dial_id: str = ""  # our own, of a call that we placed
    news_id: str = ""  # of the carrier's news for which a stream was last asked for


@dataclass(frozen=True, slots=True, kw_only=True)
class Whereabouts:
    """Where a call is whose stream is over.

    Attributes:
        worker: The name of the process that has it; empty: this one, it is alone.
        goes_on: It waits for another stream; False: it has ended.
    """

    worker: str
    goes_on: bool


class Returns:
    """The calls of this process, and the way to those of the others."""

    def __init__(self, house: House, carrier: str = "twilio") -> None:
        """Answer what the house's other processes ask of a carrier's calls."""
        self._house = house
        self._question = f"{carrier} call"
        self._legs: dict[str, StreamLeg] = {}
        house.peers.answer(self._question, self._answer)

    @contextmanager
    def held(self, leg: StreamLeg) -> Iterator[None]:
        """Have the leg found while the block runs."""
        call_sid = leg.facts.call_ref
        self._legs[call_sid] = leg
        try:
            yield
        finally:
            if self._legs.get(call_sid) is leg:
                del self._legs[call_sid]

    def here(self, call_sid: str) -> StreamLeg | None:
        """Return the leg of a call of this process that may go on."""
        leg = self._legs.get(call_sid)
        return leg if leg is not None and leg.may_come_back else None

    async def find(
        self, call_sid: str, *, over: bool = False, handed_on: Handover | None = None
    ) -> Whereabouts | None:
        """Return where in the house a call is; None: nowhere.

        Args:
            call_sid: Whose.
            over: The carrier says that the call has ended, which whoever has it is told.
            handed_on: What it says to have come of handing the caller on, likewise.
        """
        said = await self._house.peers.ask_all(
            self._question, call_sid=call_sid, over=over, handed_on=handed_on
        )
        found = [Whereabouts(**each) for each in said if each]
        return found[0] if found else None

    async def keep(self, kept: Kept) -> None:
        """Note a call for which a stream is asked."""
        await self._house.shelf.keep(self._place(kept.call_sid), asdict(kept), for_s=CALL_S)

    async def forget(self, call_sid: str) -> Kept | None:
        """Forget a call, and return what was known of it."""
        kept = await self._house.shelf.take(self._place(call_sid))
        return Kept(**kept) if kept else None

    async def _answer(self, asked: Mapping[str, Any]) -> Mapping[str, Any] | None:
        leg = self._legs.get(asked["call_sid"])
        if leg is None:
            return None
        if asked["handed_on"]:
            leg.handed_on(asked["handed_on"])
        if asked["over"]:
            await leg.carrier_ended()
        return asdict(Whereabouts(worker=self._house.name, goes_on=leg.may_come_back))

    def _place(self, call_sid: str) -> str:
        return f"{self._question} {call_sid}"
