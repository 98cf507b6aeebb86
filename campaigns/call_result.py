"""The result of a dial: the carrier's outcome, corrected by our own record of the call."""

from collections.abc import Callable
from dataclasses import replace
from typing import Final, Protocol

from calls.dialled import DialVerdict
from calls.outbound import DialOutcome, DialResult
from campaigns.call_verdict import NO_CALL, CallVerdict
from campaigns.dialer_parts import DialerSettings, OwnCalls
from transports.dialling import FoundCall

REACHED: Final = frozenset({DialOutcome.COMPLETED, DialOutcome.VOICEMAIL})
NOT_REACHED: Final = frozenset(
    {DialOutcome.BUSY, DialOutcome.NO_ANSWER, DialOutcome.FAILED, DialOutcome.CANCELLED}
)
"""Outcomes of a call that was not answered. A carrier may also report one of these for an answered
call: the line was lost, or the status is an undocumented one."""
SOON_S: Final = 0.5  # between two checks of our own call that is about to end


class Judging(Protocol):
    """Dependencies of `judge_call`."""

    @property
    def calls(self) -> OwnCalls:
        """Our side of the calls."""
        ...

    @property
    def settings(self) -> DialerSettings:
        """Time limits."""
        ...

    @property
    def now_s(self) -> Callable[[], float]:
        """Seconds since 1970."""
        ...


async def judge_call(dial_id: str, found: FoundCall, by: Judging) -> DialResult:
    """Return the result of a call that is over according to the carrier."""
    outcome = found.outcome or DialOutcome.UNKNOWN
    result = DialResult(outcome=outcome, length_s=found.length_s, cost=found.cost)
    if outcome not in REACHED and not found.answered:
        return _unanswered(result, found.verdict)
    verdict = await _verdict(dial_id, by)
    if verdict.failed and outcome is not DialOutcome.VOICEMAIL:
        return replace(result, outcome=DialOutcome.AGENT_FAILED, reason=verdict.failed)
    if verdict.over and outcome in NOT_REACHED:  # we talked: do not call again
        result = replace(result, outcome=DialOutcome.COMPLETED)
    if verdict.machine and result.outcome in REACHED:
        result = replace(result, outcome=DialOutcome.VOICEMAIL)
    return replace(result, length_s=result.length_s or verdict.length_s)


def _unanswered(result: DialResult, said: DialVerdict | None) -> DialResult:
    """Return the result with what the SIP status means for the number and the trunk."""
    if said is None or (said.again != "never" and said.trunk == "well"):
        return result  # the outcome is enough
    return replace(result, reason=said.reason, again=said.again, trunk=said.trunk)


async def _verdict(dial_id: str, by: Judging) -> CallVerdict:
    """Return how our side of the call ended; wait up to `verdict_s` for it."""
    until_s = by.now_s() + by.settings.verdict_s
    while True:
        verdict = await by.calls.verdict(dial_id)
        if (verdict is not None and verdict.over) or by.now_s() >= until_s:
            return verdict or NO_CALL
        await by.calls.wait(dial_id, min(by.settings.look_s, SOON_S))
