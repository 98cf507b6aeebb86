"""The cost of repeatedly reading the alerts of a time span during calls."""

import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from sqlalchemy import insert

from operations.database.database import Database
from operations.database.tables import ALERT_SENDINGS, ALERTS
from operations.notify.alert_outbox import AlertHistory, write_alert
from tests.operations.postmortem.rows import ALERT, at, sending

CHANNELS = ("mail", "telegram", "webhook")


async def fill(url: str, keys: Sequence[str], *, minutes: float) -> None:
    """Insert alerts that began then and lasted a minute, each sent three times."""
    began_s = at(minutes).timestamp()
    alerts = [replace(ALERT, key=text, began_s=began_s, ended_s=began_s + 60.0) for text in keys]
    rows = [
        {
            "key": alert.key,
            "severity": "high",
            "began_s": alert.began_s,
            "ended_s": alert.ended_s,
            "alert": write_alert(alert),
        }
        for alert in alerts
    ]
    sent = [sending(channel, sent=1) | {"key": key} for key in keys for channel in CHANNELS]
    database = Database(url)
    async with (await database.engine()).begin() as connection:
        await connection.execute(insert(ALERTS), rows)
        await connection.execute(insert(ALERT_SENDINGS), sent)
    await database.close()


async def cost_s(history: AlertHistory, *, alerts: int) -> float:
    """Return the least time that the first hour took on the loop."""
    costs: list[float] = []
    for _ in range(5):
        began_s = time.thread_time()
        found = await history.between(at(0).timestamp(), at(60).timestamp())
        costs.append(time.thread_time() - began_s)
        assert len(found) == alerts
        assert all(tuple(sent_alert.sent) == CHANNELS for sent_alert in found)
    return min(costs)


async def test_sent_messages_of_older_alerts_cost_nothing(tmp_path: Path) -> None:
    url = f"sqlite+aiosqlite:///{tmp_path}/h.db"
    await fill(url, ["new"], minutes=10)
    history = AlertHistory(Database(url))
    alone_s = await cost_s(history, alerts=1)
    await fill(url, [f"old-{number}" for number in range(3000)], minutes=-100)

    assert await cost_s(history, alerts=1) < 4 * alone_s
    await history.database.close()
