"""What a page says over its data channel, with a bound on how often."""

from collections.abc import Awaitable, Callable
from typing import Final, TypeAlias

from calls.entry import Tell
from calls.events import InputRefused
from calls.leg_events import EarMeasured
from transports.flood_limit import KEYS_CAP, KEYS_PER_S, FloodLimit
from transports.webrtc.wire import ForPipecat, PageKey, Unwanted, read

MESSAGES_PER_S: Final = 10.0  # the page pings once a second
MESSAGES_CAP: Final = 100.0  # more than an entry has keys
EARS_PER_S: Final = 0.5  # one for each answer
EARS_CAP: Final = 5.0

Hear: TypeAlias = Callable[[PageKey | EarMeasured], Awaitable[None]]
"""Takes what the page said to us."""


class PageMessages:
    """The messages of one call's page, whichever connection they come over.

    Attributes:
        hear: Takes keys and reports; until it is set they are dropped.
    """

    def __init__(self, *, tell: Tell, heard: Callable[[], None]) -> None:
        """Have heard nothing yet.

        Args:
            tell: Is told of what was refused.
            heard: Called when the page says anything that we take.
        """
        self.hear: Hear | None = None
        self._tell = tell
        self._heard = heard
        self._told: set[str] = set()
        self._all = FloodLimit(per_s=MESSAGES_PER_S, cap=MESSAGES_CAP)
        self._keys = FloodLimit(per_s=KEYS_PER_S, cap=KEYS_CAP)
        self._ears = FloodLimit(per_s=EARS_PER_S, cap=EARS_CAP)

    async def take(self, message: str | bytes) -> bool:
        """Read a message, and return whether Pipecat shall read it."""
        if not await self._all.take(1):
            self.refused("data_messages_too_fast")
            return False
        said = read(message)
        if isinstance(said, Unwanted):
            self.refused(said.reason)
            return False
        self._heard()
        await self._pass_on(said)
        return isinstance(said, ForPipecat)

    def refused(self, reason: str) -> None:
        """Tell why something was not taken, once for each reason."""
        if reason not in self._told:
            self._told.add(reason)
            self._tell(InputRefused(transport="webrtc", reason=reason))

    async def _pass_on(self, said: PageKey | EarMeasured | ForPipecat) -> None:
        match said:
            case PageKey() if not await self._keys.take(1):
                self.refused("keys_faster_than_fingers")
            case EarMeasured() if not await self._ears.take(1):
                self.refused("ears_too_often")
            case PageKey() | EarMeasured() if self.hear is not None:
                await self.hear(said)
            case _:
                pass
