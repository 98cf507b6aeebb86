"""Tells operators that the database refuses to write, without asking the database.

Every other alert goes through the outbox, which stands in it. This one would wait there until
nobody needs it. It goes once to each channel, is tried again a few times, and is forgotten then:
that it is over comes by the outbox, which works again.
"""

import asyncio
from collections.abc import Callable, Sequence
from functools import partial
from typing import Final

from loguru import logger

from calls.house_events import AlertSent
from calls.incident import IncidentBegan
from fallbacks.failure import ServiceError
from operations.notify.alert import CHANNELS, Alert
from operations.notify.alert_outbox import ChannelPost
from operations.notify.alert_rows import ReportedFact
from operations.notify.alerting_rules import begun
from operations.notify.channel import Channel, classify, reached_others
from operations.notify.message import alert_text
from operations.retrying import Retries, run_with_retries

THEN: Final = "calls go on; the record and all other alerts wait until it writes again"


class PastOutbox:
    """Works in each process, and sends in the one that leads the house."""

    def __init__(
        self,
        channels: Sequence[Channel],
        *,
        retries: Retries,
        leads: Callable[[], bool],
        again_s: float,
    ) -> None:
        """Prepare.

        Args:
            channels: Each gets every message once.
            retries: How often a channel is asked, and who is told.
            leads: Whether this process speaks for the house.
            again_s: What comes back within this time is the same incident, and was told.
        """
        self._channels = channels
        self._retries = retries
        self._leads = leads
        self._again_s = again_s
        self._told_s: float | None = None  # when it was told last, since 1970
        self._waiting: asyncio.Queue[Alert] = asyncio.Queue(1)

    def tell(self, reported: ReportedFact) -> None:
        """Have a fact told that the outbox refused; waits for nothing."""
        fact, at_s = reported.fact, reported.at_s
        lately = self._told_s is not None and at_s < self._told_s + self._again_s
        if not isinstance(fact, IncidentBegan) or lately or not self._leads():
            return
        if self._waiting.full():
            return  # the same is being told
        self._told_s = at_s
        self._waiting.put_nowait(begun(fact, at_s, then=THEN))

    async def run(self) -> None:
        """Send until cancelled."""
        while True:
            alert = await self._waiting.get()
            logger.critical("Sending alert past the database: {}", alert_text(alert).title)
            async with asyncio.TaskGroup() as sending:
                for each in self._channels:
                    sending.create_task(self._send(each, alert), name=each.name)

    async def _send(self, channel: Channel, alert: Alert) -> None:
        post = ChannelPost(alert=alert, channel=channel.name, handle="")
        try:
            await run_with_retries(
                lambda: channel.post(post, alert_text(alert)),
                asked=(CHANNELS, channel.name),
                classify=partial(classify, channel.name),
                retries=self._retries,
            )
        except ServiceError as error:
            logger.error("an alert did not go out by {}: {}", channel.name, error.failure.reason)
            if not reached_others(error):
                return
        self._retries.tell(
            AlertSent(channel=channel.name, key=alert.key, severity=alert.severity, edited=False)
        )
