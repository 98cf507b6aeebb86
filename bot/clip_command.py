"""Renders every missing clip, and says of each voice what became of it."""

import asyncio
from collections import Counter

from rich.console import Console

from bot.clip_rendering import render_missing
from bot.clips import ClipStore, clips_folder
from bot.config import Settings
from bot.utterances import load_utterances


async def render_all(settings: Settings) -> bool:
    """Render and tell; False when a voice could not say its texts."""
    console = Console(soft_wrap=True, highlight=False)
    utterances = await asyncio.to_thread(load_utterances, settings.hold.utterances)
    rendered, errors = Counter[str](), dict[str, str]()
    folder = clips_folder(settings)
    async for each in render_missing(settings, utterances, ClipStore(folder)):
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
