"""A new leader learns from the alerts which campaigns are halted."""

from collections.abc import Sequence
from dataclasses import replace

from bot.outbound.outbound import _holds_in_alerts
from calls.incident import CAMPAIGN
from campaigns.guard import Hold
from fallbacks.failure import Severity
from operations.notify.alert import Alert

STANDS = Alert(
    key="campaign/spring/stage_down",
    stage=CAMPAIGN,
    rung="spring",
    kind="stage_down",
    severity=Severity.MEDIUM,
    reason="",
    then="",
    began_s=100.0,
    open_s=120.0,
    heard_s=150.0,
)


async def test_only_a_campaign_with_an_open_alert_is_halted() -> None:
    over = replace(STANDS, rung="summer", ended_s=140.0)
    other = replace(STANDS, stage="tts", rung="cartesia")

    async def alerts() -> Sequence[Alert]:
        return [STANDS, over, other]

    held = await _holds_in_alerts(alerts)

    assert held == {"spring": Hold(reason="stage_down", since_s=120.0, outage=True)}
