"""What every carrier's door has of the house."""

from collections.abc import Callable
from dataclasses import dataclass

from bot.house.house import House
from bot.http.twilio_door import DoorSwitchboard
from calls.entry import Tell


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

    def socket_url(self, path: str, worker: str = "") -> str:
        """Return where a carrier finds a media socket, at the one worker if it is named."""
        scheme, _, rest = self.public_url.partition("://")
        place = f"/{worker}" if worker else ""
        return f"{'wss' if scheme == 'https' else 'ws'}://{rest}{path}{place}"
