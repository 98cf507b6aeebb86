"""The alerts of a span of time, and what each channel was sent of them."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from sqlalchemy import or_, select

from operations.database.edge import Store, reading
from operations.database.tables import ALERT_SENDINGS, ALERTS
from operations.notify.alert import Alert
from operations.notify.alert_rows import read_alert

MOST_ALERTS: Final = 2_000  # an incident is one; a house that has more of them needs no report


@dataclass(frozen=True, slots=True, kw_only=True)
class SentAlert:
    """An alert, and what went out."""

    alert: Alert
    sent: Mapping[str, int]  # by channel: the revision that it shows; 0: nothing was sent yet
    wanted: Mapping[str, int]  # by channel: the revision that it is to show


class AlertHistory(Store):
    """Every method raises `StorageError` when the database does not answer."""

    async def between(self, since_s: float, until_s: float) -> Sequence[SentAlert]:
        """Return the alerts that were open at some time between two moments, the oldest first."""
        open_then = or_(ALERTS.c.ended_s.is_(None), ALERTS.c.ended_s >= since_s)
        wanted = (
            select(ALERTS.c.key, ALERTS.c.alert)
            .where(ALERTS.c.began_s < until_s, open_then)
            .order_by(ALERTS.c.began_s, ALERTS.c.key)
            .limit(MOST_ALERTS)
        )
        theirs = select(ALERT_SENDINGS).where(
            ALERT_SENDINGS.c.key.in_(wanted.with_only_columns(ALERTS.c.key))
        )
        async with reading(self._database) as connection:
            alerts = (await connection.execute(wanted)).all()
            sendings = (await connection.execute(theirs)).all()
        sent: dict[str, dict[str, int]] = defaultdict(dict)
        shown: dict[str, dict[str, int]] = defaultdict(dict)
        for each in sendings:
            sent[each.key][each.channel] = each.sent
            shown[each.key][each.channel] = each.wanted
        return [
            SentAlert(alert=alert, sent=sent.get(row.key, {}), wanted=shown.get(row.key, {}))
            for row in alerts
            if (alert := read_alert(row.alert))
        ]
