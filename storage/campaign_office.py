"""How campaigns stand: whether they run, and what has become of their contacts."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from calls.outbound import CampaignState


@dataclass(frozen=True, slots=True, kw_only=True)
class CampaignStanding:
    """How a campaign stands.

    Attributes:
        contacts: How many in each state.
        outcomes: How many settled dials of each outcome.
        calls_now: Dials whose lease holds.
        claimed_s: When it was last somebody's turn; the longer ago, the sooner it is again.
    """

    name: str
    state: CampaignState
    reason: str = ""
    changed_s: float = 0.0
    contacts: Mapping[str, int]
    outcomes: Mapping[str, int]
    calls_now: int = 0
    claimed_s: float = 0.0
    cost: float = 0.0


class CampaignOffice:
    """Every method raises `StorageError` when it cannot."""

    def __init__(self, url: str) -> None:
        """Take the database's address."""
        raise NotImplementedError

    async def open(self, campaign: str, *, now: float) -> None:
        """Have a campaign known; one that is known stays as it is."""
        raise NotImplementedError

    async def move(
        self, campaign: str, state: CampaignState, *, reason: str = "", now: float
    ) -> bool:
        """Put a campaign into a state; False: there is no such campaign."""
        raise NotImplementedError

    async def standing(self, campaign: str, *, now: float) -> CampaignStanding | None:
        """Return how a campaign stands; None: there is none of this name."""
        raise NotImplementedError

    async def standings(self, *, now: float) -> Sequence[CampaignStanding]:
        """Return how each campaign stands."""
        raise NotImplementedError

    async def close(self) -> None:
        """Let the connections go."""
        raise NotImplementedError
