"""The plans of calls in which a provider comes back, or is late for more than one turn."""

import asyncio
from typing import Final

from drill.asking import ask, ask_broken
from drill.clips_heard import find_clips, read_clips
from drill.conversation import Conversation
from drill.measured import MeasuredRun, changes, first_word_s, last, misheard
from drill.rows import When
from drill.stage import Stage
from drill.wrote import is_back

VOICE: Final = "cartesia"  # the agent's, as long as nobody breaks it
FLAPPING_S: Final = 60.0
CLIP_TURNS: Final = 2  # a filler may be said in the first one, a sentence must be in the other
BACK_S: Final = 5.0  # a provider that passed its trial is used again after so long
PROBED_S: Final = 75.0  # the longest wait for a provider's trial


async def play_flapping(stage: Stage, run: MeasuredRun) -> None:
    """Ask for a minute while a provider dies and comes back."""
    worst = run.measures
    async with stage.call() as call:
        await call.greeted()
        await stage.break_now(When.BEFORE_TURN)
        until_s = call.now_s + FLAPPING_S
        while call.now_s < until_s and not call.over:
            each = await ask(stage, call, run, stage.row.question)
            worst["first_word_s"] = max(worst.get("first_word_s", 0.0), first_word_s(each))
            wrong = await misheard(stage.control, call, each.turn)
            worst["misheard"] = worst.get("misheard", 0.0) + wrong
    voices = [voice for each in run.turns for voice in each.verdict.voices]
    worst["switches"] = changes(voices)


async def play_clips(stage: Stage, run: MeasuredRun) -> None:
    """Ask while every answer is late, and look for what was rendered before the call."""
    rendered = [each for each in await read_clips(stage.control) if each.provider == VOICE]
    async with stage.call() as call:
        await call.greeted()
        await stage.break_now(When.BEFORE_TURN)
        turns = [await ask(stage, call, run, stage.row.question) for _ in range(CLIP_TURNS)]
    found = [await asyncio.to_thread(find_clips, each, rendered) for each in turns]
    run.measures["clips_heard"] = sum(len(each.clips) for each in found)
    run.measures["not_clips"] = sum(len(each.other) for each in found)


async def play_recovery(stage: Stage, run: MeasuredRun) -> None:
    """Ask while a provider is broken, when it is well again, and in a second call."""
    (broken,) = stage.row.breaks
    async with stage.call() as call:
        await call.greeted()
        each = await ask_broken(stage, call, run)
        took_over = last(each.verdict.voices)
        await stage.control.mend_all()
        await _until_probed(stage, call, run, broken.provider)
        await call.wait(BACK_S)
        each = await ask(stage, call, run, stage.row.question)
        run.measures["voice_changed"] = last(each.verdict.voices) != took_over
        back = await is_back(stage.control, call, each, broken.provider)
        run.measures["next_turn_elsewhere"] = not back
    async with stage.call() as call:
        await call.greeted()
        each = await ask(stage, call, run, stage.row.question)
        back = await is_back(stage.control, call, each, broken.provider)
        run.measures["next_call_elsewhere"] = not back


async def _until_probed(stage: Stage, call: Conversation, run: MeasuredRun, provider: str) -> None:
    """Go on asking, for who says nothing is hung up on, until a probe of the provider did well."""
    before = len(await stage.control.requests(provider))
    until_s = call.now_s + PROBED_S
    while call.now_s < until_s and not await _probed(stage, provider, before):
        await ask(stage, call, run, stage.row.question)


async def _probed(stage: Stage, provider: str, before: int) -> bool:
    """Return whether the mended provider was asked for something since, and did it."""
    later = (await stage.control.requests(provider))[before:]
    return any(each["outcome"] == "done" for each in later)
