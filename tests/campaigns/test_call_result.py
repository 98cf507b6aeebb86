"""What a dial came to, by the carrier's last word and by how our own side of the call ended."""

import asyncio
from dataclasses import dataclass, field

import pytest

from calls.dialled import judge_dial
from calls.outbound import DialOutcome
from campaigns.call_result import judge_call
from campaigns.call_verdict import CallVerdict
from campaigns.carrier import FoundCall
from campaigns.dialer_parts import DialerSettings
from tests.campaigns.dialing import now_s

pytestmark = pytest.mark.virtual_time

TALKED = CallVerdict(over=True, length_s=20.0)
MACHINE = CallVerdict(over=True, length_s=9.0, machine=True)
NOT_COMPLETED = [
    DialOutcome.FAILED,
    DialOutcome.BUSY,
    DialOutcome.NO_ANSWER,
    DialOutcome.CANCELLED,
]


@dataclass
class OurSide:
    """Says of every call the same."""

    said: CallVerdict | None
    settings: DialerSettings = field(default_factory=DialerSettings)

    def __post_init__(self) -> None:
        self.calls = self
        self.now_s = now_s

    async def verdict(self, dial_id: str) -> CallVerdict | None:
        return self.said

    async def wait(self, dial_id: str, within_s: float) -> None:
        await asyncio.sleep(within_s)


def found(outcome: DialOutcome, *, answered: bool = True) -> FoundCall:
    verdict = judge_dial(503) if outcome is DialOutcome.FAILED else None
    return FoundCall(provider_call_id="c", outcome=outcome, answered=answered, verdict=verdict)


@pytest.mark.parametrize("outcome", NOT_COMPLETED)
async def test_whoever_was_talked_with_is_not_called_again_whatever_the_carrier_says_last(
    outcome: DialOutcome,
) -> None:
    result = await judge_call("d", found(outcome), OurSide(TALKED))

    assert (result.outcome, result.reason, result.trunk) == (DialOutcome.COMPLETED, "", "well")
    assert result.length_s == 20.0


@pytest.mark.parametrize("outcome", NOT_COMPLETED)
async def test_a_mailbox_that_we_heard_is_one_whatever_the_carrier_says_last(
    outcome: DialOutcome,
) -> None:
    result = await judge_call("d", found(outcome), OurSide(MACHINE))

    assert result.outcome is DialOutcome.VOICEMAIL


@pytest.mark.parametrize(
    ("ours", "reason"),
    [(CallVerdict(over=True, failed="tts_out"), "tts_out"), (None, "no_agent")],
)
async def test_who_picked_up_and_could_not_talk_is_a_failure_of_our_own(
    ours: CallVerdict | None, reason: str
) -> None:
    result = await judge_call("d", found(DialOutcome.FAILED), OurSide(ours))

    assert (result.outcome, result.reason) == (DialOutcome.AGENT_FAILED, reason)


async def test_of_a_call_of_ours_that_does_not_end_the_carrier_s_word_stands() -> None:
    result = await judge_call("d", found(DialOutcome.FAILED), OurSide(CallVerdict()))

    assert result.outcome is DialOutcome.FAILED


@pytest.mark.parametrize("outcome", NOT_COMPLETED)
async def test_who_did_not_pick_up_was_not_talked_with(outcome: DialOutcome) -> None:
    result = await judge_call("d", found(outcome, answered=False), OurSide(TALKED))

    assert result.outcome is outcome


async def test_what_nobody_knows_the_end_of_is_not_taken_for_completed() -> None:
    result = await judge_call("d", found(DialOutcome.UNKNOWN), OurSide(TALKED))

    assert result.outcome is DialOutcome.UNKNOWN
