"""The plans of calls in which a provider recovers, or fails or is late for several turns."""

import asyncio
from typing import Final

from lab.drill.asking import ask_and_judge, ask_broken
from lab.drill.clips_heard import find_clips, outside_clips, read_clips
from lab.drill.measured import MeasuredRun, changes, first_word_s, last, misheard, or_lost
from lab.drill.rig import Conversation, Rig
from lab.drill.rows import When
from lab.drill.wrote import is_back

VOICE: Final = "cartesia"  # the agent's, unless it is broken
FLAPPING_S: Final = 60.0
CLIP_TURNS: Final = 2  # the first turn may have a filler, the second one must have a clip
BACK_S: Final = 5.0  # a provider whose probe succeeded is used again by then
OUT_S: Final = 8.0  # three failures in a row: a caller's, and those of probes 1 s and 3 s later
PROBED_S: Final = 75.0  # the longest wait for a successful probe


async def play_flapping(rig: Rig, run: MeasuredRun) -> None:
    """Ask for a minute while a provider fails and recovers, unless the agent hangs up.

    The measures are the worst first word, the misheard turns and the changes of voice.
    """
    measures = run.measures
    async with rig.greeted_call() as call:
        await rig.break_now(When.BEFORE_TURN)
        until_s = call.now_s + FLAPPING_S
        while call.now_s < until_s and not call.over:
            judged = await ask_and_judge(rig, call, run, rig.row.question)
            measures["first_word_s"] = max(measures.get("first_word_s", 0.0), first_word_s(judged))
            wrong = await misheard(rig.control, call, judged.turn)
            measures["misheard"] = measures.get("misheard", 0.0) + wrong
    voices = [voice for turn in run.turns for voice in turn.verdict.voices]
    measures["switches"] = changes(voices)


async def play_clips(rig: Rig, run: MeasuredRun) -> None:
    """Ask while every answer is late, and find the clips that were rendered before the call.

    The turns of the run are replaced by turns that are judged without the words of these clips.
    """
    rendered = [clip for clip in await read_clips(rig.control) if clip.provider == VOICE]
    async with rig.greeted_call() as call:
        await rig.break_now(When.BEFORE_TURN)
        turns = [await ask_and_judge(rig, call, run, rig.row.question) for _ in range(CLIP_TURNS)]
    found = [await asyncio.to_thread(find_clips, turn, rendered) for turn in turns]
    run.turns[:] = [outside_clips(*heard) for heard in zip(turns, found, strict=True)]
    run.measures["lost_turns"] = sum(not turn.verdict.whole for turn in run.turns)
    run.measures["clips_heard"] = sum(len(heard.clips) for heard in found)
    run.measures["not_clips"] = sum(len(heard.other) for heard in found)


async def play_recovery(rig: Rig, run: MeasuredRun) -> None:
    """Ask while the row's only fault is active, after the recovery, and in a second call."""
    (broken,) = rig.row.breaks
    async with rig.greeted_call() as call:
        judged = await ask_broken(rig, call, run)
        took_over = last(judged.verdict.voices)
        await rig.control.mend_all()
        await _ask_until_probed(rig, call, run, broken.provider)
        await call.ear.wait(BACK_S)
        judged = await ask_and_judge(rig, call, run, rig.row.question)
        run.measures["voice_changed"] = last(judged.verdict.voices) != took_over
        back = await is_back(rig.control, call, judged, broken.provider)
        run.measures["next_turn_elsewhere"] = not back
    async with rig.greeted_call() as call:
        judged = await ask_and_judge(rig, call, run, rig.row.question)
        back = await is_back(rig.control, call, judged, broken.provider)
        run.measures["next_call_elsewhere"] = not back


async def play_probes(rig: Rig, run: MeasuredRun) -> None:
    """Ask in a call that begins with all breakers of a stage open, although only probes still fail.

    A first call, in which every rung fails, opens them.
    """
    await rig.break_now(When.BEFORE_CALL)
    async with rig.call() as call:
        await call.ear.wait(OUT_S)
    await rig.break_now(When.NEXT_CALL)
    async with rig.greeted_call() as call:
        run.measures["greeting_s"] = or_lost(call.greeted_s)
        first = await ask_and_judge(rig, call, run, rig.row.question)
        run.measures["first_word_s"] = first_word_s(first)
        await ask_and_judge(rig, call, run, rig.row.question)
    run.measures["closed"] = await asyncio.to_thread(rig.closed_breakers)


async def _ask_until_probed(rig: Rig, call: Conversation, run: MeasuredRun, provider: str) -> None:
    """Keep asking until the provider has completed a request, at most for `PROBED_S`.

    The caller does not just wait, because the agent hangs up on silent callers.
    """
    before = len(await rig.control.requests(provider))
    until_s = call.now_s + PROBED_S
    while call.now_s < until_s and not await _is_probed(rig, provider, before):
        await ask_and_judge(rig, call, run, rig.row.question)


async def _is_probed(rig: Rig, provider: str, before: int) -> bool:
    """Return whether the provider has completed a request after its first `before` requests."""
    later = (await rig.control.requests(provider))[before:]
    return any(request["outcome"] == "done" for request in later)
