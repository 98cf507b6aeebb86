"""The result of a dial, from the carrier's last status and the end of our own call."""

import asyncio
from dataclasses import dataclass

import pytest

from calls.dialled import judge_dial
from calls.outbound import Claim, DialOutcome, DialResult
from campaigns.call_verdict import CallVerdict
from campaigns.dialing import DialerSettings, determine_result
from campaigns.model import Campaign
from tests.campaigns.dialing import now_s
from transports.dialling import FoundCall

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
    """Gives the same verdict for every call."""

    said: CallVerdict | None

    async def verdict(self, dial_id: str) -> CallVerdict | None:
        return self.said

    async def wait(self, dial_id: str, within_s: float) -> None:
        await asyncio.sleep(within_s)

    def forget(self, dial_id: str) -> None:
        """Keep the verdict."""

    async def prepare(self, campaign: Campaign, claim: Claim) -> None:
        """Prepare nothing."""


async def judged(found: FoundCall, ours: CallVerdict | None) -> DialResult:
    settings = DialerSettings()
    return await determine_result("d", found, calls=OurSide(ours), settings=settings, now_s=now_s)


def found(outcome: DialOutcome, *, answered: bool = True) -> FoundCall:
    verdict = judge_dial(503) if outcome is DialOutcome.FAILED else None
    return FoundCall(provider_call_id="c", outcome=outcome, answered=answered, verdict=verdict)


@pytest.mark.parametrize("outcome", NOT_COMPLETED)
async def test_a_contact_talked_with_is_not_called_again_whatever_the_carrier_reports(
    outcome: DialOutcome,
) -> None:
    result = await judged(found(outcome), TALKED)

    assert (result.outcome, result.reason, result.trunk) == (DialOutcome.COMPLETED, "", "well")
    assert result.length_s == 20.0


@pytest.mark.parametrize("outcome", NOT_COMPLETED)
async def test_a_mailbox_that_we_detected_stays_one_whatever_the_carrier_reports(
    outcome: DialOutcome,
) -> None:
    result = await judged(found(outcome), MACHINE)

    assert result.outcome is DialOutcome.VOICEMAIL


@pytest.mark.parametrize(
    ("ours", "reason"),
    [(CallVerdict(over=True, failed="tts_out"), "tts_out"), (None, "no_agent")],
)
async def test_a_contact_who_answered_and_could_not_talk_is_our_own_failure(
    ours: CallVerdict | None, reason: str
) -> None:
    result = await judged(found(DialOutcome.FAILED), ours)

    assert (result.outcome, result.reason) == (DialOutcome.AGENT_FAILED, reason)


async def test_the_carriers_status_counts_if_our_call_does_not_end() -> None:
    result = await judged(found(DialOutcome.FAILED), CallVerdict())

    assert result.outcome is DialOutcome.FAILED


@pytest.mark.parametrize("outcome", NOT_COMPLETED)
async def test_an_unanswered_contact_was_not_talked_with(outcome: DialOutcome) -> None:
    result = await judged(found(outcome, answered=False), TALKED)

    assert result.outcome is outcome


async def test_a_dial_with_an_unknown_end_is_not_completed() -> None:
    result = await judged(found(DialOutcome.UNKNOWN), TALKED)

    assert result.outcome is DialOutcome.UNKNOWN
