"""Parts that all dials share: time limits, the worker pool, and the result of a call."""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Final, Protocol

from calls.dialled import DialVerdict
from calls.outbound import Claim, DialOutcome, DialResult
from campaigns.breakers import IN_A_ROW
from campaigns.call_verdict import NO_CALL, CallVerdict
from campaigns.model import Campaign
from transports.dialling import FoundCall

LEASE_S: Final = 15.0  # chosen: a dead process's slots are freed within seconds
DIAL_CHECK_S: Final = 2.0  # for each call; the carrier's callbacks are usually earlier
RING_S: Final = 30.0
GRACE_S: Final = 30.0  # chosen: three times the time limit of a request to a carrier
MAX_CALL_S: Final = 2 * 3600.0  # no call lasts longer, whatever the carrier reports
REACHED: Final = frozenset({DialOutcome.COMPLETED, DialOutcome.VOICEMAIL})
NOT_REACHED: Final = frozenset(
    {DialOutcome.BUSY, DialOutcome.NO_ANSWER, DialOutcome.FAILED, DialOutcome.CANCELLED}
)
"""Outcomes of a call that was not answered. A carrier may also report one of these for an answered
call, if the line was lost or with an undocumented status."""
BY_REASON: Final[Mapping[str, DialOutcome]] = {
    "declined": DialOutcome.DECLINED,
    "no_such_number": DialOutcome.NO_SUCH_NUMBER,
    "number_changed": DialOutcome.NO_SUCH_NUMBER,
}
"""The outcome of a dial by the reason in `calls.dialled`, where carriers have only "busy" or
"failed"."""
VERDICT_CHECK_S: Final = 0.5  # between two checks of our own call that is about to end


class DialingCapacity(Protocol):
    """The worker pool, as a dialer sees it."""

    @property
    def leads(self) -> bool:
        """Whether this process dials for the worker pool."""
        ...

    @property
    def leaving(self) -> bool:
        """Whether this process is shutting down and accepts no further calls."""
        ...

    def seats(self) -> int:
        """Return how many more calls the worker pool can take now."""
        ...

    async def take_turn(self, calls_per_s: float) -> float:
        """Count a call of all processes, and return 0; else return how long it has to wait."""
        ...

    def usable(self) -> Mapping[str, bool]:
        """Return for each stage whether it has a rung that may be used now."""
        ...


class OwnCalls(Protocol):
    """Our side of the dialled calls."""

    async def prepare(self, campaign: Campaign, claim: Claim) -> None:
        """Prepare the campaign's agent for the call to this contact."""
        ...

    async def verdict(self, dial_id: str) -> CallVerdict | None:
        """Return the state of our side of a call; `None` if there was none."""
        ...

    async def wait(self, dial_id: str, within_s: float) -> None:
        """Wait until something happens in a dial, for at most `within_s`."""
        ...

    def forget(self, dial_id: str) -> None:
        """Drop everything about a dial."""
        ...


async def wait_to_ask(
    dial_id: str, for_s: float, *, calls: OwnCalls, pool: DialingCapacity
) -> None:
    """Wait for `for_s` before asking the carrier to dial, or until this process shuts down.

    Which of the two ended the wait is not returned: the caller has to check.
    """
    loop = asyncio.get_running_loop()
    until = loop.time() + for_s
    while not pool.leaving and (left_s := until - loop.time()) > 0:
        await calls.wait(dial_id, left_s)


@dataclass(frozen=True, slots=True, kw_only=True)
class DialerSettings:
    """Time limits of a dialer.

    Attributes:
        lease_s: How long a dial's lease lasts without renewal.
        look_s: Time between two checks of a call, and between two rounds.
        ring_s: How long a telephone may ring.
        ask_again_s: The waits before the carrier is asked again about a dial; the last repeats.
        grace_s: For this long after a dial request, "no such call" from the carrier proves nothing.
        verdict_s: How long our side may take to end after the carrier's side has ended.
        failures: How many failures in a row pause the campaign.
    """

    lease_s: float = LEASE_S
    look_s: float = DIAL_CHECK_S
    ring_s: float = RING_S
    ask_again_s: tuple[float, ...] = (2.0, 5.0, 10.0, 20.0)
    grace_s: float = GRACE_S
    verdict_s: float = 10.0
    failures: int = IN_A_ROW


async def determine_result(
    dial_id: str,
    found: FoundCall,
    *,
    calls: OwnCalls,
    settings: DialerSettings,
    now_s: Callable[[], float],
) -> DialResult:
    """Return the result of a call that is over, or that the carrier no longer has.

    If the call was answered, our own record corrects the carrier's outcome: wait up to
    `settings.verdict_s` for our side to end. If we have no call then, the agent has failed.
    """
    outcome = found.outcome or DialOutcome.UNKNOWN
    result = DialResult(outcome=outcome, length_s=found.length_s, cost=found.cost)
    if outcome not in REACHED and not found.answered:
        return _with_sip_verdict(result, found.verdict)
    until_s = now_s() + settings.verdict_s
    verdict = await calls.verdict(dial_id)
    while not (verdict and verdict.over) and now_s() < until_s:
        await calls.wait(dial_id, min(settings.look_s, VERDICT_CHECK_S))
        verdict = await calls.verdict(dial_id)
    verdict = verdict or NO_CALL
    if verdict.failed and outcome is not DialOutcome.VOICEMAIL:
        return replace(result, outcome=DialOutcome.AGENT_FAILED, reason=verdict.failed)
    if verdict.over and outcome in NOT_REACHED:  # our side has had a call: do not call again
        result = replace(result, outcome=DialOutcome.COMPLETED)
    if verdict.machine and result.outcome in REACHED:
        result = replace(result, outcome=DialOutcome.VOICEMAIL)
    if verdict.silent and result.outcome is DialOutcome.COMPLETED:
        result = replace(result, outcome=DialOutcome.SILENT, reason=verdict.silent)
    return replace(result, length_s=result.length_s or verdict.length_s)


def _with_sip_verdict(result: DialResult, verdict: DialVerdict | None) -> DialResult:
    """Return the result of an unanswered call, with what its SIP status says of number and trunk.

    It is unchanged without a status, or if the number may be called again and the trunk is well.
    """
    if verdict is None or (verdict.again != "never" and verdict.trunk == "well"):
        return result  # the outcome says enough
    outcome = BY_REASON.get(verdict.reason, result.outcome)
    return replace(
        result,
        outcome=outcome,
        reason=verdict.reason,
        again=verdict.again,
        trunk=verdict.trunk,
    )
