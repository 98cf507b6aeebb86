"""The plan for a call whose worker is killed, or hangs, in the middle of an answer.

`benchmarks/dying_workers.py` does the same on every kind of line, ten times each.
"""

import asyncio
import dataclasses
from typing import Final

from lab.drill.asking import ask_and_judge
from lab.drill.evidence import judge_turn
from lab.drill.measured import MeasuredRun, end_of_speech
from lab.drill.rig import AskedTurn, Conversation, Rig
from lab.drill.rows import HOURS, When
from lab.drill.sound import silence

INTO_S: Final = 1.2  # speech heard before the worker breaks, of an answer of some eight seconds
BEGINS_S: Final = 10.0  # the longest wait for that speech
BACK_S: Final = 10.0  # the longest wait for another worker, and for its first words
OVER_S: Final = 2.0  # silence that ends the rest of the answer
ENDS_S: Final = 30.0  # the longest wait for that end, from the fault on


async def play_dying_worker(rig: Rig, run: MeasuredRun) -> None:
    """Ask, break the worker in the middle of the answer, hear the rest, and ask again."""
    measures = run.measures
    async with rig.greeted_call() as call:
        began_s = call.now_s
        stop_s = await call.ask_only(rig.row.question)
        spoke = await call.ear.hear_some(INTO_S, since_s=stop_s, within_s=BEGINS_S)
        measures["nothing_to_break"] = not spoke
        await rig.break_now(When.IN_ANSWER)
        fault_s = call.now_s
        await _hear_rest(rig, call, fault_s)
        turn = AskedTurn(
            question=rig.row.question,
            answer=call.expected,
            began_s=began_s,
            stop_s=stop_s,
            end_s=call.now_s,
        )
        judged = await judge_turn(call, rig.control, turn)
        measures["silence_s"] = silence(call.heard(), fault_s, end_of_speech(call))
        measures["words_missing"] = len(judged.verdict.missing)
        measures["words_twice"] = len(judged.verdict.extra)
        # The row has its own targets for these words: some may be heard twice.
        verdict = dataclasses.replace(judged.verdict, missing=(), extra=())
        run.add(dataclasses.replace(judged, verdict=verdict))
        await ask_and_judge(rig, call, run, HOURS)
    measures["calls"] = rig.calls_begun()


async def _hear_rest(rig: Rig, call: Conversation, fault_s: float) -> None:
    """Listen until another worker has continued the call and finished the answer, or time is up."""
    until_s = fault_s + BACK_S
    while call.now_s < until_s and not await asyncio.to_thread(rig.is_continued):
        await call.ear.wait(0.1)
    await call.ear.hear_some(0.3, since_s=call.now_s, within_s=BACK_S)
    until_s = fault_s + ENDS_S
    while call.now_s < until_s and call.now_s - end_of_speech(call) < OVER_S:
        await call.ear.wait(0.1)
