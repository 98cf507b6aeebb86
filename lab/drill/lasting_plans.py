"""The plans of calls in which a provider comes back, or is out or late for more than one turn."""

import asyncio
from typing import Final

from lab.drill.asking import ask, ask_broken
from lab.drill.clips_heard import find_clips, read_clips
from lab.drill.conversation import Conversation
from lab.drill.measured import MeasuredRun, changes, first_word_s, last, misheard, or_lost
from lab.drill.rig import Rig
from lab.drill.rows import When
from lab.drill.wrote import is_back

VOICE: Final = "cartesia"  # the agent's, as long as nobody breaks it
FLAPPING_S: Final = 60.0
CLIP_TURNS: Final = 2  # a filler may be said in the first one, a sentence must be in the other
BACK_S: Final = 5.0  # a provider that passed its trial is used again after so long
OUT_S: Final = 8.0  # three failures in a row: a caller's, and those of probes 1 s and 3 s later
PROBED_S: Final = 75.0  # the longest wait for a provider's trial


async def play_flapping(rig: Rig, run: MeasuredRun) -> None:
    """Ask for a minute while a provider dies and comes back."""
    worst = run.measures
    async with rig.call() as call:
        await call.wait_for_greeting()
        await rig.break_now(When.BEFORE_TURN)
        until_s = call.now_s + FLAPPING_S
        while call.now_s < until_s and not call.over:
            each = await ask(rig, call, run, rig.row.question)
            worst["first_word_s"] = max(worst.get("first_word_s", 0.0), first_word_s(each))
            wrong = await misheard(rig.control, call, each.turn)
            worst["misheard"] = worst.get("misheard", 0.0) + wrong
    voices = [voice for turn in run.turns for voice in turn.verdict.voices]
    worst["switches"] = changes(voices)


async def play_clips(rig: Rig, run: MeasuredRun) -> None:
    """Ask while every answer is late, and look for what was rendered before the call."""
    rendered = [clip for clip in await read_clips(rig.control) if clip.provider == VOICE]
    async with rig.call() as call:
        await call.wait_for_greeting()
        await rig.break_now(When.BEFORE_TURN)
        turns = [await ask(rig, call, run, rig.row.question) for _ in range(CLIP_TURNS)]
    found = [await asyncio.to_thread(find_clips, turn, rendered) for turn in turns]
    run.measures["clips_heard"] = sum(len(item.clips) for item in found)
    run.measures["not_clips"] = sum(len(item.other) for item in found)


async def play_recovery(rig: Rig, run: MeasuredRun) -> None:
    """Ask while a provider is broken, when it is well again, and in a second call."""
    (broken,) = rig.row.breaks
    async with rig.call() as call:
        await call.wait_for_greeting()
        each = await ask_broken(rig, call, run)
        took_over = last(each.verdict.voices)
        await rig.control.mend_all()
        await _ask_until_probed(rig, call, run, broken.provider)
        await call.ear.wait(BACK_S)
        each = await ask(rig, call, run, rig.row.question)
        run.measures["voice_changed"] = last(each.verdict.voices) != took_over
        back = await is_back(rig.control, call, each, broken.provider)
        run.measures["next_turn_elsewhere"] = not back
    async with rig.call() as call:
        await call.wait_for_greeting()
        each = await ask(rig, call, run, rig.row.question)
        back = await is_back(rig.control, call, each, broken.provider)
        run.measures["next_call_elsewhere"] = not back


async def play_probes(rig: Rig, run: MeasuredRun) -> None:
    """Ask in a call that begins when every rung of a stage is out, though only probes fail."""
    await rig.break_now(When.BEFORE_CALL)
    async with rig.call() as call:
        await call.ear.wait(OUT_S)
    await rig.break_now(When.NEXT_CALL)
    async with rig.call() as call:
        await call.wait_for_greeting()
        run.measures["greeting_s"] = or_lost(call.greeted_s)
        first = await ask(rig, call, run, rig.row.question)
        run.measures["first_word_s"] = first_word_s(first)
        await ask(rig, call, run, rig.row.question)
    run.measures["closed"] = await asyncio.to_thread(rig.closed_breakers)


async def _ask_until_probed(rig: Rig, call: Conversation, run: MeasuredRun, provider: str) -> None:
    """Ask on, because a silent caller is hung up on, until a probe of the provider did well."""
    before = len(await rig.control.requests(provider))
    until_s = call.now_s + PROBED_S
    while call.now_s < until_s and not await _is_probed(rig, provider, before):
        await ask(rig, call, run, rig.row.question)


async def _is_probed(rig: Rig, provider: str, before: int) -> bool:
    """Return whether the mended provider was asked for something since, and did it."""
    later = (await rig.control.requests(provider))[before:]
    return any(request["outcome"] == "done" for request in later)
