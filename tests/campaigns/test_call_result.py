"""The result of a dial, from the carrier's last status and the end of our own call."""

import asyncio
from dataclasses import dataclass

import pytest

from calls.dialled import judge_dial
from calls.outbound import Claim, Contact, DialOutcome, DialResult
from campaigns.call_verdict import CallVerdict
from campaigns.dialing import DialerSettings, determine_result
from campaigns.model import Campaign, next_step
from tests.campaigns.dialing import now_s
from transports.dialling import FoundCall

pytestmark = pytest.mark.virtual_time

TALKED = CallVerdict(over=True, length_s=20.0)
MACHINE = CallVerdict(over=True, length_s=9.0, machine=True)
CAMPAIGN = Campaign(name="c", attempts=3)
SILENT = CallVerdict(over=True, length_s=40.0, silent="nobody_spoke")
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


async def test_a_line_on_which_nobody_said_a_word_is_no_success() -> None:
    result = await judged(found(DialOutcome.COMPLETED), SILENT)

    assert (result.outcome, result.reason) == (DialOutcome.SILENT, "nobody_spoke")


async def test_a_silent_mailbox_is_still_a_mailbox() -> None:
    result = await judged(found(DialOutcome.VOICEMAIL), SILENT)

    assert result.outcome is DialOutcome.VOICEMAIL


@pytest.mark.parametrize(
    ("sip_code", "outcome", "reason", "state"),
    [
        *((code, DialOutcome.NO_SUCH_NUMBER, "no_such_number", "done") for code in (404, 484, 604)),
        (410, DialOutcome.NO_SUCH_NUMBER, "no_such_number", "done"),
        (301, DialOutcome.NO_SUCH_NUMBER, "number_changed", "done"),
        (603, DialOutcome.DECLINED, "declined", "done"),
        (607, DialOutcome.DECLINED, "declined", "done"),
        (486, DialOutcome.BUSY, "", "resting"),
        (480, DialOutcome.NO_ANSWER, "", "resting"),
        (503, DialOutcome.FAILED, "carrier_trouble", "resting"),
    ],
)
async def test_each_course_of_an_unanswered_dial_has_its_own_outcome(
    sip_code: int, outcome: DialOutcome, reason: str, state: str
) -> None:
    verdict = judge_dial(sip_code)
    carriers = {"busy": DialOutcome.BUSY, "no-answer": DialOutcome.NO_ANSWER}
    reported = carriers.get(verdict.outcome, DialOutcome.FAILED)
    call = FoundCall(provider_call_id="c", outcome=reported, verdict=verdict)

    result = await judged(call, None)
    then = next_step(CAMPAIGN, Contact(id=1, campaign="c", number="+1"), result, 0.0)

    assert (result.outcome, result.reason) == (outcome, reason)
    assert then.state == state


def test_a_silent_line_is_dialled_again_as_often_as_the_campaign_says() -> None:
    silent = DialResult(outcome=DialOutcome.SILENT, reason="nobody_spoke")
    steps = [
        next_step(CAMPAIGN, Contact(id=1, campaign="c", number="+1", attempts=at), silent, 0.0)
        for at in range(3)
    ]

    assert [step.state for step in steps] == ["resting", "resting", "done"]
    assert all(step.counted for step in steps)
