"""What every carrier's door has of the house."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from bot.house.house import House
from bot.http.status_callbacks import StatusCallbacks
from calls.entry import Tell
from transports.leg import Leg


class DoorSwitchboard(Protocol):
    """What a door asks of the house."""

    @property
    def open(self) -> bool:
        """Whether a call could be taken now."""
        ...

    @property
    def why_closed(self) -> str:
        """The name of the reason why not."""
        ...

    async def answer(self, leg: Leg) -> None:
        """Run a call on `leg` until it ends; raises `SwitchboardFullError`."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class DoorFrame:
    """What every carrier's door has of the house.

    Attributes:
        public_url: As the carrier was told it: scheme, host and perhaps a path.
        switchboard: Takes the calls.
        tell: Is told what was refused.
        clock: Monotonic seconds.
        house: Holds a seat from the first word of a call to its end.
    """

    public_url: str
    switchboard: DoorSwitchboard
    tell: Tell
    clock: Callable[[], float]
    house: House

    def status_callbacks(self, carrier: str) -> StatusCallbacks:
        """Return what reads a carrier's callbacks."""
        return StatusCallbacks(carrier=carrier, house=self.house, tell=self.tell, clock=self.clock)

    def socket_url(self, path: str, worker: str = "") -> str:
        """Return where a carrier finds a media socket, at the one worker if it is named."""
        return socket_url(self.public_url, path) + (f"/{worker}" if worker else "")


def socket_url(public_url: str, path: str) -> str:
    """Return where a carrier finds a media socket."""
    scheme, _, rest = public_url.partition("://")
    return f"{'wss' if scheme == 'https' else 'ws'}://{rest}{path}"
