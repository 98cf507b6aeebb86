"""Sends a notice of each callback and message in the inbox through the alert channels.

Of the workers of a machine, and of the machines with one database, only one sends at a time: the
leader of a pool changes while the former one may still be sending.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime
from typing import Final

from configuration.alerts import AlertsSettings
from fallbacks.failure import ServiceError, Severity
from operations.database.database_lock import locked
from operations.database.row_outbox import LAST_TRY_S
from operations.inbox.store import Inbox, InboxEntry
from operations.keep_running import at_work, keep_running
from operations.masking import mask_number, printable
from operations.moments import for_people
from operations.notify.alert import Alert
from operations.notify.alert_outbox import ChannelPost
from operations.notify.channel import AlertText, Channel
from operations.notify.configured_alerts import channels_of, quiet_hours, utc_s
from operations.notify.dispatcher import post_to, reached_others
from operations.retrying import Retries

ROUND_EVERY_S: Final = 10.0
MAX_NOTICES: Final = 10  # in one round
MAX_TEXT: Final = 500  # characters of a caller's words in a notice
INBOX: Final = "inbox"
TITLES: Final = {"callback": "Callback wanted", "message": "Message left"}


Turn = Callable[[], AbstractAsyncContextManager[bool]]
"""Keeps the others from sending during its block; yields False while another one sends."""


class InboxNotices:
    """Sends the notices; runs in each process, but acts only in the leader of the worker pool."""

    def __init__(
        self,
        inbox: Inbox,
        channels: Sequence[Channel],
        *,
        retries: Retries,
        quiet: Callable[[float], bool],
        leads: Callable[[], bool],
        turn: Turn,
        utc_s: Callable[[], float],
    ) -> None:
        """Create a sender; `quiet` returns whether notices wait at a moment, in quiet hours."""
        self._inbox = inbox
        self._channels = channels
        self._retries = replace(retries, settings=replace(retries.settings, within_s=LAST_TRY_S))
        self._rests_until_s: dict[str, float] = {}  # by channel, as it asked for; since 1970
        self._quiet = quiet
        self._leads = leads
        self._turn = turn
        self._utc_s = utc_s

    async def run(self) -> None:
        """Send every `ROUND_EVERY_S` until cancelled, while this process leads; not in quiet hours.

        Does nothing while another machine sends.

        Raises:
            StorageError: The database does not answer.
        """
        while True:
            if self._leads() and not self._quiet(self._utc_s()):
                in_database = locked(self._inbox.database, "notices of the inbox")
                async with self._turn() as is_ours, in_database as is_only:
                    if is_ours and is_only:
                        await self.send_waiting()
            await asyncio.sleep(ROUND_EVERY_S)

    async def send_waiting(self) -> None:
        """Send a notice of each recent entry without one, at most `MAX_NOTICES` of them.

        An entry that no channel delivered stays for the next round.

        Raises:
            StorageError: The database does not answer.
        """
        now = datetime.fromtimestamp(self._utc_s(), UTC)
        for entry in await self._inbox.untold(now=now, limit=MAX_NOTICES):
            sent = await asyncio.gather(*(self._send_notice(it, entry) for it in self._channels))
            if any(sent):
                await self._inbox.mark_told(entry, at=now)

    async def _send_notice(self, channel: Channel, entry: InboxEntry) -> bool:
        """Send a notice, unless the channel rests; return whether it reached anyone.

        If not, it is sent again later. A channel rests for as long as it asks for.
        """
        if self._utc_s() < self._rests_until_s.get(channel.name, 0.0):
            return False
        post = ChannelPost(alert=_alert_from_entry(entry), channel=channel.name, handle="")
        try:
            await post_to(channel, post, notice_text(entry), self._retries)
        except ServiceError as error:
            rest_s = error.failure.retry_after_s or 0.0
            self._rests_until_s[channel.name] = self._utc_s() + rest_s
            return reached_others(error)
        return True


@asynccontextmanager
async def send_notices(
    settings: AlertsSettings,
    inbox: Inbox,
    *,
    retries: Retries,
    leads: Callable[[], bool],
    turn: Turn,
) -> AsyncIterator[None]:
    """Send notices during the block, if they are enabled and there is a channel."""
    channels = channels_of(settings) if settings.inbox else []
    if not channels:
        yield
        return
    quiet = quiet_hours(settings.quiet)
    notices = InboxNotices(
        inbox, channels, retries=retries, quiet=quiet, leads=leads, turn=turn, utc_s=utc_s
    )
    async with at_work(inbox=keep_running("notices of the inbox", notices.run)):
        yield


def notice_text(entry: InboxEntry) -> AlertText:
    """Return the text of the notice about a callback or a message.

    It contains only the masked number, and the reason for the callback or the transcript of the
    message. The inbox has the complete number.
    """
    whom = mask_number(entry.number) or "a caller without a number"
    text = printable(entry.text)[:MAX_TEXT]
    lines = [
        f"At {for_people(entry.at)}.",
        *([f"Agent: {entry.agent}"] if entry.agent else []),
        *([f"Length: {entry.length_s:.0f} s"] if entry.length_s is not None else []),
        *([text] if text else []),
        *([f"The campaign {entry.campaign} will call back."] if entry.campaign else []),
        f"To see the number or to close this entry, open the inbox. [{entry.call_id}]",
    ]
    return AlertText(title=f"{TITLES[entry.kind]} by {whom}", lines=tuple(lines))


def _alert_from_entry(entry: InboxEntry) -> Alert:
    """Return the notice as an alert; its key identifies a repeat."""
    at_s = entry.at.timestamp()
    return Alert(
        key=f"{INBOX}-{entry.kind}-{entry.call_id}",
        stage=INBOX,
        rung="",
        kind=entry.kind,
        severity=Severity.LOW,
        reason=printable(entry.text)[:MAX_TEXT],
        then="",
        began_s=at_s,
        open_s=at_s,
        heard_s=at_s,
        revision=1,
    )
