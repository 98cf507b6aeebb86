"""What one process of a house does for all of them beside the calls: clips, messages, old rows."""

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager

from bot.batch.batch import Batch
from bot.batch.messages import keep_messages_written
from bot.clips.keeping import keep_clips
from bot.workers.pool import House
from bot.workers.process import Process
from operations.record.retention import forget_rows_daily
from operations.record.voicemail_rows import voicemails_listed
from operations.retrying import Retries


@asynccontextmanager
async def do_chores(process: Process, house: House) -> AsyncIterator[None]:
    """Do them while the block runs, for as long as this process leads the house."""
    settings, left = process.settings, process.last_resort.messages
    async with (
        _clips(process, house),
        _messages(process, house),
        forget_rows_daily(settings, mine=lambda: house.leads),
        voicemails_listed(left, settings.storage.url, mine=lambda: house.leads),
    ):
        yield


def _clips(process: Process, house: House) -> AbstractAsyncContextManager[None]:
    """Have the clips that are missing rendered when nobody calls."""
    settings, providers = process.settings, process.providers
    return keep_clips(
        settings,
        process.last_resort.utterances,
        process.last_resort.clips,
        quiet=lambda: house.leads and house.quiet and not process.switchboard.calls,
        retries=Retries(
            settings=settings.resilience.retry_settings(),
            tell=providers.tell,
            roster=providers.roster,
        ),
    )


def _messages(process: Process, house: House) -> AbstractAsyncContextManager[None]:
    """Have what callers left written down."""
    batch = Batch.of(process.settings, roster=process.providers.roster, tell=process.providers.tell)
    return keep_messages_written(
        process.last_resort.messages,
        batch.transcribe,
        mine=lambda: house.leads,
        tell=process.switchboard.tell,
    )
