"""The queue of outbound calls: who is dialled next, by whom, and what became of it.

The order is always the same. `claim` commits the intent. `confirm` asks once more, right before the
carrier is asked, and renews the lease. Then the carrier is asked, and `placed` keeps its id. While
the call goes on, `renew`. `settle` gives the dial its one outcome and the contact its next state.

A process that dies leaves its dial without an outcome. When the lease has run out, `expired` hands
it to somebody else, who asks the carrier before anything else: a call that the carrier knows is
settled as it says, one that it never had is given back with `release` and dialled under the same
id. The lease is also the call's slot: a dead process holds none for longer than that.
"""

from collections.abc import Sequence

from calls.outbound import Claim, ClaimRules, Dial, DialResult, NextStep, NothingToDial


class CampaignStore:
    """One in each process that dials; every method raises `StorageError` when it cannot."""

    def __init__(self, url: str, *, holder: str) -> None:
        """Take the database's address, and a name that no other process ever has."""
        raise NotImplementedError

    async def claim(
        self, campaign: str, rules: ClaimRules, *, now: float, lease_s: float
    ) -> Claim | NothingToDial:
        """Take the next contact; when it returns, the intent to dial is committed."""
        raise NotImplementedError

    async def confirm(self, dial: Dial, *, now: float, lease_s: float) -> str:
        """Return an empty text if the carrier may be asked now, else why not.

        Not on the do-not-call list, the campaign still runs, the lease is still ours: it is
        renewed. A dial that may not be made is settled as refused, or released, by this itself.
        """
        raise NotImplementedError

    async def placed(self, dial: Dial, provider_call_id: str) -> bool:
        """Keep the carrier's id of the call; False: the dial is not ours any more."""
        raise NotImplementedError

    async def answered(self, dial: Dial, *, now: float) -> bool:
        """Note that somebody answered; False: the dial is not ours any more."""
        raise NotImplementedError

    async def renew(self, dial: Dial, *, now: float, lease_s: float) -> bool:
        """Keep the lease for as long again; False: the dial is not ours any more."""
        raise NotImplementedError

    async def settle(self, dial: Dial, result: DialResult, *, then: NextStep, now: float) -> bool:
        """Give a dial its outcome, and its contact the next state; False: it is not ours to."""
        raise NotImplementedError

    async def release(self, dial: Dial, *, due_s: float = 0.0) -> bool:
        """Give back a dial that the carrier never had: the same attempt is made anew."""
        raise NotImplementedError

    async def expired(self, *, now: float, lease_s: float) -> Sequence[Claim]:
        """Take over the dials whose holder is silent; nobody else gets them meanwhile."""
        raise NotImplementedError

    async def close(self) -> None:
        """Let the connections go."""
        raise NotImplementedError
