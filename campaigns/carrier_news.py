"""What a carrier has told of calls without being asked: for those that do not say it when they are.

Twilio says of any call how it ended and what it cost, as often as it is asked. Others say that in
their callbacks alone, or sooner there, and a callback reaches any process of the house.
"""

from collections.abc import MutableMapping
from typing import Protocol

from campaigns.heard_leg import HeardLeg


class CarrierNews(Protocol):
    """All of the house's."""

    @property
    def refs(self) -> MutableMapping[str, str]:
        """The carrier's ids of calls by our own of their dials, as far as this process knows."""
        ...

    async def heard(self, dial_id: str) -> HeardLeg | None:
        """Return what was told of a dial; None: nothing."""
        ...

    async def charged(self, call_ref: str) -> float | None:
        """Return what a call is said to have cost; None: nothing was said of it."""
        ...
