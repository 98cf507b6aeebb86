"""The handling of a dial whose process has ended."""

from dataclasses import replace

import pytest

from calls.outbound import Dial, DialOutcome, DialResult
from campaigns.dial_run import ASK_AGAIN, LOST, RELEASE, Fate, judge_fate
from campaigns.dialing import GRACE_S, MAX_CALL_S
from transports.dialling import FoundCall

NOW = 1_800_000_000.0
CLAIMED = Dial(
    id="ab-1-1",
    campaign="spring",
    contact_id=1,
    number="+12025550001",
    attempt=1,
    holder="other",
    lease_until_s=NOW + 6,
    intended_s=NOW,
)
ASKED = replace(CLAIMED, confirmed_s=NOW)
PLACED = replace(ASKED, state="placed", provider_call_id="CA1")
LATE = NOW + GRACE_S
ENDED = FoundCall(provider_call_id="CA1", outcome=DialOutcome.BUSY, cost=0.1)
RINGING = FoundCall(provider_call_id="CA1")
SETTLED = Fate(
    action="settle",
    result=DialResult(outcome=DialOutcome.BUSY, reason="found_at_carrier", cost=0.1),
)

FATES = {
    "never asked": (CLAIMED, None, NOW, RELEASE),
    "asked a moment ago, not there yet": (ASKED, None, LATE - 0.1, ASK_AGAIN),
    "asked, and it never came": (ASKED, None, LATE, RELEASE),
    "taken, and known no more": (PLACED, None, LATE, LOST),
    "taken, and not listed yet": (PLACED, None, LATE - 0.1, ASK_AGAIN),
    "ended": (ASKED, ENDED, NOW, SETTLED),
    "taken and ended": (PLACED, ENDED, LATE, SETTLED),
    "goes on": (PLACED, RINGING, LATE, ASK_AGAIN),
    "goes on for ever": (PLACED, RINGING, NOW + MAX_CALL_S + 1, LOST),
}


@pytest.mark.parametrize(("dial", "found", "now", "fate"), FATES.values(), ids=FATES)
def test_the_carriers_status_decides(
    dial: Dial, found: FoundCall | None, now: float, fate: Fate
) -> None:
    assert judge_fate(dial, found, now=now) == fate
