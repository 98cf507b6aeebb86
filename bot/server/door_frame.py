"""What every carrier's door has of the house."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from bot.server.status_callbacks import StatusCallbacks
from bot.workers.pool import House
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
        addresses: Scheme, host and perhaps a path: those that a carrier may sign a webhook for. The
            first is ours alone, and the one that carriers are told.
        switchboard: Takes the calls.
        tell: Is told what was refused.
        clock: Monotonic seconds.
        house: Holds a seat from the first word of a call to its end.
    """

    addresses: tuple[str, ...]
    switchboard: DoorSwitchboard
    tell: Tell
    clock: Callable[[], float]
    house: House

    @property
    def public_url(self) -> str:
        """The address that carriers are told."""
        return self.addresses[0]

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
