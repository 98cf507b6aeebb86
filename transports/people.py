"""Calling a person for a caller: what a door that can do so offers."""

from typing import Protocol

from calls.handover import Destination, Handover
from transports.leg import Leg


class CallsPeople(Protocol):
    """A door that can call out. Its user hangs the leg up; a cancelled call rings no more."""

    async def call_person(self, to: Destination, *, ring_s: float) -> Leg | Handover:
        """Call somebody; return their leg once they have picked up, or what came of it instead.

        Raises nothing. When it is cancelled, it ceases to ring there.

        Args:
            to: From the configuration, never from a model's words.
            ring_s: How long it may ring.
        """
        ...


class People:
    """Which doors of a process can call a person; a door says so when it opens."""

    def __init__(self) -> None:
        self._doors: dict[str, CallsPeople] = {}

    def add(self, transport: str, door: CallsPeople) -> None:
        """Note that a door can."""
        self._doors[transport] = door

    def for_caller(self, transport: str) -> CallsPeople | None:
        """Return who calls a person for a caller on such a line: the same door, or else another.

        The two are put together in our own process, so that a browser's caller can talk with a
        telephone.
        """
        return self._doors.get(transport) or next(iter(self._doors.values()), None)
