"""Carrier callbacks about calls, supplied by a test."""

from dataclasses import dataclass, field

from transports.dialling import HeardLeg


@dataclass
class ToldNews:
    """Callbacks, of which there are none until a test adds some."""

    refs: dict[str, str] = field(default_factory=dict[str, str])
    told: dict[str, HeardLeg] = field(default_factory=dict[str, HeardLeg])
    costs: dict[str, float] = field(default_factory=dict[str, float])

    async def heard(self, dial_id: str) -> HeardLeg | None:
        return self.told.get(dial_id)

    async def charged(self, call_ref: str) -> float | None:
        return self.costs.get(call_ref)
