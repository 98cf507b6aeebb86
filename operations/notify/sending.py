"""Has each channel get what it is owed, again and again until it takes it."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Final

from loguru import logger

from calls.house_events import AlertSent
from fallbacks.facts import AttemptWon
from fallbacks.failure import ServiceError
from fallbacks.retrying import LONGEST_REST_S
from operations.notify.alert import CHANNELS
from operations.notify.alert_outbox import LAST_TRY_S, AlertOutbox, ChannelPost
from operations.notify.channel import Channel, classify, reached_others
from operations.notify.message import alert_text
from operations.retrying import Retries, run_with_retries

TRANSIENT_S: Final = 60.0  # before a channel gets another sequence of tries


class AlertSending:
    """Sends what stands in the outbox, and knows which channels are in trouble."""

    def __init__(
        self, outbox: AlertOutbox, *, retries: Retries, utc_s: Callable[[], float]
    ) -> None:
        """Begin with channels that are well."""
        self._outbox = outbox
        self._retries = replace(retries, settings=replace(retries.settings, within_s=LAST_TRY_S))
        self._utc_s = utc_s
        self._failing: set[str] = set()  # channels whose trouble was told

    async def send_next(self, channel: Channel) -> bool:
        """Send one alert that a channel is owed; False: it is owed none, or does not take it."""
        post = await self._outbox.lend(channel.name, now=self._utc_s())
        if post is None:
            return False
        whole = True
        try:
            handle = await run_with_retries(
                lambda: channel.post(post, alert_text(post.alert)),
                asked=(CHANNELS, channel.name),
                classify=partial(classify, channel.name),
                retries=self._retries,
            )
        except ServiceError as error:
            self._note_failure(channel.name, error)
            if not reached_others(error):
                await self._put_off(post, error)
                return False
            handle, whole = post.handle, False
        await self._outbox.sent(post, handle=handle)
        alert = post.alert
        sent = AlertSent(
            channel=channel.name,
            key=alert.key,
            severity=alert.severity,
            edited=bool(post.handle),
        )
        self._retries.tell(sent)
        if whole:
            self._note_success(channel.name)
        return True

    async def _put_off(self, post: ChannelPost, error: ServiceError) -> None:
        wait_s = LONGEST_REST_S if error.failure.permanent else TRANSIENT_S
        wait_s = max(wait_s, error.failure.retry_after_s or 0.0)
        await self._outbox.put_off(post, until_s=self._utc_s() + wait_s)

    def _note_failure(self, channel: str, error: ServiceError) -> None:
        self._failing.add(channel)
        missed = "did not reach all" if reached_others(error) else "did not go out"
        logger.error("an alert {} by {}: {}", missed, channel, error.failure.reason)

    def _note_success(self, channel: str) -> None:
        """Tell that a channel that had failed works again, so that its incident ends."""
        if channel in self._failing:
            self._failing.discard(channel)
            won = AttemptWon(stage=CHANNELS, provider=channel, attempt=1, after_s=0.0)
            self._retries.tell(won)
