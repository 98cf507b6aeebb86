"""Keeps the clips of a running server complete: what is missing is rendered when nobody calls."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from typing import Final

from loguru import logger

from bot.clips.rendering import Rendered, render_missing
from bot.clips.store import ClipStore
from bot.config.settings import Settings
from calls.entry import Tell
from calls.house_events import ClipsRendered
from operations.keep_running import at_work, keep_running
from operations.retrying import Retries
from processors.holding.utterance_rules import FallbackText

LOOK_S: Final = 0.5  # between two looks whether the process is quiet
QUIET_S: Final = 10.0  # without a call, before the first text: callers come first (chosen)
AGAIN_S: Final = 600.0  # after a voice failed


@asynccontextmanager
async def keep_clips(
    settings: Settings,
    utterances: tuple[FallbackText, ...],
    store: ClipStore,
    *,
    quiet: Callable[[], bool],
    retries: Retries,
) -> AsyncIterator[None]:
    """Render what is missing while the block runs, one text at a time.

    Args:
        settings: The rungs, the agents, and whether to render at all.
        utterances: All texts.
        store: Where clips are kept.
        quiet: Says whether no call is in progress: callers come first.
        retries: How often a voice that fails is asked again.
    """
    if not settings.hold.render:
        yield
        return

    rendering = partial(
        render_missing, settings, utterances, store, retries=retries, go=_Quiet(quiet).wait
    )
    keeping = partial(_keep, rendering, retries.tell)
    async with at_work(clips=keep_running("rendering clips", keeping)):
        yield


class _Quiet:
    """Waits until the process has been quiet for a while."""

    def __init__(self, quiet: Callable[[], bool]) -> None:
        self._quiet = quiet
        self._looks = 0

    async def wait(self) -> None:
        """Return at once as long as it stays quiet."""
        while not self._quiet() or self._looks * LOOK_S < QUIET_S:
            await asyncio.sleep(LOOK_S)
            self._looks = self._looks + 1 if self._quiet() else 0


async def _keep(rendering: Callable[[], AsyncIterator[Rendered]], tell: Tell) -> None:
    complete = False
    while not complete:
        complete = await _complete(rendering(), tell)
        await asyncio.sleep(0.0 if complete else AGAIN_S)


async def _complete(rendering: AsyncIterator[Rendered], tell: Tell) -> bool:
    """Render; return whether everything is there now."""
    complete, rendered, failed = True, 0, 0
    try:
        async for each in rendering:
            rendered += not each.error
            if each.error:
                complete, failed = False, failed + 1
                logger.warning("{} could not say a clip: {}", each.rung, each.error)
    except Exception as broken:  # noqa: BLE001 - the providers' edge: no call depends on a clip
        complete = False
        logger.opt(exception=broken).warning("clips could not be rendered")
    if rendered or failed:
        tell(ClipsRendered(clips=rendered, failed=failed, complete=complete))
    return complete
