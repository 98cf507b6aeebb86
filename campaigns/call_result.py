"""What a dial came to: the carrier's word, and our own side's on whether anybody could talk."""

from collections.abc import Callable
from dataclasses import replace
from typing import Final, Protocol

from calls.dialled import DialVerdict
from calls.outbound import DialOutcome, DialResult
from campaigns.call_verdict import NO_CALL, CallVerdict
from campaigns.carrier import FoundCall
from campaigns.dialer_parts import DialerSettings, OwnCalls

REACHED: Final = frozenset({DialOutcome.COMPLETED, DialOutcome.VOICEMAIL})
NOT_REACHED: Final = frozenset(
    {DialOutcome.BUSY, DialOutcome.NO_ANSWER, DialOutcome.FAILED, DialOutcome.CANCELLED}
)
"""What no call came to that somebody has picked up; a carrier's last word may be one all the same,
of how the call ended: its line was lost, or the word is none that any page has."""
SOON_S: Final = 0.5  # between two looks at a call of ours that is about to end


class Judging(Protocol):
    """What it takes."""

    @property
    def calls(self) -> OwnCalls:
        """Our own side."""
        ...

    @property
    def settings(self) -> DialerSettings:
        """How long it may take to end."""
        ...

    @property
    def now_s(self) -> Callable[[], float]:
        """Seconds since 1970."""
        ...


async def judge_call(dial_id: str, found: FoundCall, by: Judging) -> DialResult:
    """Return what a call came to that the carrier says is over."""
    outcome = found.outcome or DialOutcome.UNKNOWN
    result = DialResult(outcome=outcome, length_s=found.length_s, cost=found.cost)
    if outcome not in REACHED and not found.answered:
        return _unanswered(result, found.verdict)
    verdict = await _verdict(dial_id, by)
    if verdict.failed and outcome is not DialOutcome.VOICEMAIL:
        return replace(result, outcome=DialOutcome.AGENT_FAILED, reason=verdict.failed)
    if verdict.over and outcome in NOT_REACHED:  # who was talked with is not called again
        result = replace(result, outcome=DialOutcome.COMPLETED)
    if verdict.machine and result.outcome in REACHED:
        result = replace(result, outcome=DialOutcome.VOICEMAIL)
    return replace(result, length_s=result.length_s or verdict.length_s)


def _unanswered(result: DialResult, said: DialVerdict | None) -> DialResult:
    """Return it with what its SIP status says of the number and of the trunk."""
    if said is None or (said.again != "never" and said.trunk == "well"):
        return result  # as the outcome says
    return replace(result, reason=said.reason, again=said.again, trunk=said.trunk)


async def _verdict(dial_id: str, by: Judging) -> CallVerdict:
    """Return how our own side of the call ended; it may take a moment longer."""
    until_s = by.now_s() + by.settings.verdict_s
    while True:
        verdict = await by.calls.verdict(dial_id)
        if (verdict is not None and verdict.over) or by.now_s() >= until_s:
            return verdict or NO_CALL
        await by.calls.wait(dial_id, min(by.settings.look_s, SOON_S))
