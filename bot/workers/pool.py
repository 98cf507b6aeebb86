"""What a door asks of the house: a seat, a place to leave things, the other processes."""

import secrets
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final, Protocol

from bot.clock import Clock
from bot.workers.admission_rules import HouseSeats
from bot.workers.kept_values import Cloakroom
from bot.workers.locks import Claims
from bot.workers.views import StreamedViews

Answer = Callable[[Mapping[str, Any]], Awaitable[Any]]
NO_LIMIT: Final = 1_000_000  # seats; the switchboard has its own
OWN: Final = 0  # the number of the only process of a house


@dataclass(frozen=True, slots=True, kw_only=True)
class HeldSeat:
    """A seat that is held for a call that is coming."""

    seat: int


@dataclass(frozen=True, slots=True, kw_only=True)
class NoSeat:
    """There is none, and why: `full`, `busy` or `draining`."""

    reason: str


class Shelf(Protocol):
    """Where a process leaves what any process of the house may take."""

    async def keep(self, token: str, value: Any, *, for_s: float) -> None:
        """Leave something: it can be taken once, within this time."""
        ...

    async def take(self, token: str) -> Any:
        """Return what was left; None: nothing, or it was taken, or it is too old."""
        ...


class Peers(Protocol):
    """The processes of the house, as one of them asks them."""

    async def claim(self, what: str) -> bool:
        """Return whether this process is the first to claim this, of all that live."""
        ...

    def give_back(self, what: str) -> None:
        """Let any process claim this again, this one too."""
        ...

    def answer(self, what: str, answer: Answer) -> None:
        """Answer what other processes of the house ask of this one."""
        ...

    async def ask(self, name: str, what: str, /, **fields: Any) -> Any:
        """Return what the process of this name answers; raises `LookupError`: it does not."""
        ...

    async def ask_all(self, what: str, /, **fields: Any) -> Sequence[Any]:
        """Return what every process answers, this one first."""
        ...


class House(Protocol):
    """All processes behind one port, as one of them sees it."""

    @property
    def views(self) -> StreamedViews | None:
        """What happens in the other processes; None: there are none."""
        ...

    @property
    def shelf(self) -> Shelf:
        """Where tickets and conversations are left."""
        ...

    @property
    def peers(self) -> Peers:
        """What the processes know, each for itself."""
        ...

    @property
    def id(self) -> str:
        """A random text that all its processes share, and no other server has."""
        ...

    @property
    def name(self) -> str:
        """Which of them this is; empty: there are no others."""
        ...

    @property
    def why_closed(self) -> str:
        """The name of the reason why the house takes no call now, or nothing."""
        ...

    @property
    def room(self) -> int:
        """How many more calls the house could take, as far as is known here."""
        ...

    @property
    def leads(self) -> bool:
        """Whether what is done once for the house, such as rendering clips, is done here."""
        ...

    @property
    def quiet(self) -> bool:
        """Whether nobody in the house is in a call."""
        ...

    async def admit(self, call: str = "") -> HeldSeat | NoSeat:
        """Hold a seat for a call that is coming; one of the same name keeps the seat it has."""
        ...

    def begin(self, seat: int) -> None:
        """Say that the call has begun in this process."""
        ...

    def end(self, seat: int) -> None:
        """Give the seat back."""
        ...


@contextmanager
def take_seat(house: House, seat: int) -> Iterator[None]:
    """Have the call on its seat while the block runs."""
    house.begin(seat)
    try:
        yield
    finally:
        house.end(seat)


class OwnShelf:
    """The shelf of the only process."""

    def __init__(self, clock: Clock) -> None:
        self._room = Cloakroom(clock=clock)

    async def keep(self, token: str, value: Any, *, for_s: float) -> None:
        """Keep it here."""
        self._room.keep(token, value, for_s=for_s)

    async def take(self, token: str) -> Any:
        """Take what was kept here."""
        return self._room.take(token)


class NoPeers:
    """The only process asks itself."""

    def __init__(self) -> None:
        self._claims = Claims()
        self._answers: dict[str, Answer] = {}

    async def claim(self, what: str) -> bool:
        """Claim it here."""
        return self._claims.claim(what, holder="")

    def give_back(self, what: str) -> None:
        """Let it be claimed here again."""
        self._claims.give_back(what, holder="")

    def answer(self, what: str, answer: Answer) -> None:
        """Answer it when this process itself asks."""
        self._answers[what] = answer

    async def ask(self, name: str, what: str, /, **fields: Any) -> Any:
        """Find nobody: there is no other process."""
        raise LookupError(f"{name} is no process of this house")

    async def ask_all(self, what: str, /, **fields: Any) -> Sequence[Any]:
        """Ask this process alone."""
        return [await self._answers[what](fields)]


class Alone:
    """A house of one process."""

    name = ""
    views = None
    leads = True

    def __init__(
        self,
        *,
        why_closed: Callable[[], str],
        clock: Clock,
        seats: HouseSeats | None = None,
    ) -> None:
        """Let calls in as `why_closed` and the load allow; without `seats` no load counts."""
        self._why = why_closed
        self._clock = clock
        self.id = secrets.token_hex(8)
        self.shelf = OwnShelf(clock)
        self.peers = NoPeers()
        self.seats = seats or HouseSeats(seats=NO_LIMIT, cores=1, measured=False)
        self.seats.open(OWN, clock())

    @property
    def why_closed(self) -> str:
        """Return what the switchboard or the load says."""
        return self._why() or self.seats.why_closed(self._clock())

    @property
    def room(self) -> int:
        """Return what the seats and the load say."""
        return self.seats.room(self._clock())

    @property
    def quiet(self) -> bool:
        """Return whether no call is in progress."""
        return not self.seats.taken

    def report(self, cores: float, lag_s: float) -> None:
        """Report how many cores are in use and how late the loop is, in seconds."""
        self.seats.heed(OWN, cores=cores, lag_s=lag_s, now=self._clock())

    async def admit(self, call: str = "") -> HeldSeat | NoSeat:
        """Hold a seat here."""
        seat = None if self._why() else self.seats.admit(self._clock(), call=call)
        return NoSeat(reason=self.why_closed or "full") if seat is None else HeldSeat(seat=seat)

    def begin(self, seat: int) -> None:
        """Count the call."""
        self.seats.begin(seat, OWN, self._clock())

    def end(self, seat: int) -> None:
        """Count it no more."""
        self.seats.end(seat, self._clock())
