"""Renders every missing clip, and says of each voice what became of it."""

import asyncio
from collections import Counter
from functools import partial

from rich.console import Console

from bot.clips.rendering import render_missing
from bot.clips.store import ClipStore, clips_folder
from bot.clips.utterances import load_utterances
from bot.config.settings import Settings
from calls.events import Event
from fallbacks.facts import RetryPlanned
from operations.retrying import Retries


async def render_all(settings: Settings) -> bool:
    """Render and tell; False when a voice could not say its texts."""
    console = Console(soft_wrap=True, highlight=False)
    utterances = await asyncio.to_thread(load_utterances, settings.hold.utterances)
    rendered, errors = Counter[str](), dict[str, str]()
    folder = clips_folder(settings)
    retries = Retries(settings=settings.resilience.retry_settings(), tell=partial(_tell, console))
    rendering = render_missing(settings, utterances, ClipStore(folder), retries=retries)
    async for each in rendering:
        if each.error:
            errors[each.rung] = f'"{each.text}": {each.error}'
        else:
            rendered[each.rung] += 1
    for rung in settings.stages.tts:
        if rung.kind == "local":
            console.print(f"{rung.name}: speaks at once, needs no clips")
            continue
        failed = f"; failed at {errors[rung.name]}" if rung.name in errors else ""
        console.print(f"{rung.name}: {rendered[rung.name]} rendered{failed}")
    console.print(f"in {folder}")
    return not errors


def _tell(console: Console, event: Event) -> None:
    """Say why nothing seems to happen."""
    if isinstance(event, RetryPlanned):
        console.print(f"{event.provider}: {event.kind.value}; asked again in {event.wait_s:.0f} s")
