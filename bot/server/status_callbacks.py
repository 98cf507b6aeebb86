"""What a carrier tells of a call beside its media: facts, each once in the whole house."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Final

from bot.clock import Clock
from bot.workers.one_at_a_time import OneAtATime
from bot.workers.pool import House
from calls.entry import Tell
from calls.leg_progress import LegFact, LegProgress, StatusCallback

KEPT_S: Final = 4 * 3600.0  # the carriers' own limit of a call: so long one may come twice
MOST_WORD_CHARS: Final = 64  # of a carrier's word, and of our own id of a dial


@dataclass(slots=True, kw_only=True)
class StatusCallbacks:
    """Tells what is new in a carrier's callbacks and verdicts on answering machines.

    How far a call has come is kept for the house, since a callback reaches any of its processes:
    two at once, if it comes twice, or beside a verdict.
    """

    carrier: str
    house: House
    tell: Tell
    clock: Clock
    _one_at_a_time: OneAtATime = field(init=False)

    def __post_init__(self) -> None:
        """Take turns with the other processes."""
        self._one_at_a_time = OneAtATime(self.house.peers)

    async def take(self, said: StatusCallback, *, place_of: str = "") -> Sequence[LegFact]:
        """Tell what is new, of what has been proven to be the carrier's, and return it.

        Args:
            said: What it says.
            place_of: Of what the progress is kept; the carrier's id of the call when not given.
        """
        facts, _ = await self._move(said, place_of or said.call_ref)
        for each in facts:
            self.tell(each)
        return facts

    async def is_over(self, call_ref: str) -> bool:
        """Say whether a call's end was told already: news may come behind it."""
        _, after = await self._move(StatusCallback(call_ref=call_ref), call_ref)
        return after.ended

    async def _move(
        self, said: StatusCallback, kept_by: str
    ) -> tuple[Sequence[LegFact], LegProgress]:
        place = f"{self.carrier} progress {kept_by}"
        async with self._one_at_a_time.turn(place):
            kept, now = await self.house.shelf.take(place), self.clock()
            before = LegProgress(**kept) if kept else LegProgress(began_at=now)
            after, facts = before.after(said, now)
            await self.house.shelf.keep(place, asdict(after), for_s=KEPT_S)
        return facts, after
