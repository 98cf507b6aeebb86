"""What callbacks have told of calls, as a test has it."""

from dataclasses import dataclass, field

from campaigns.carrier import HeardLeg


@dataclass
class ToldNews:
    """Nothing, until a test says something."""

    refs: dict[str, str] = field(default_factory=dict[str, str])
    told: dict[str, HeardLeg] = field(default_factory=dict[str, HeardLeg])
    costs: dict[str, float] = field(default_factory=dict[str, float])

    async def heard(self, dial_id: str) -> HeardLeg | None:
        return self.told.get(dial_id)

    async def charged(self, call_ref: str) -> float | None:
        return self.costs.get(call_ref)
