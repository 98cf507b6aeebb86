"""The plans of calls whose turn-taking is difficult: backchannel, echo, dictation, television."""

import asyncio
import dataclasses
from typing import Final

import numpy as np

from lab.callers import caller_says, says_again
from lab.drill.asking import ask_and_judge
from lab.drill.evidence import judge_turn
from lab.drill.measured import MeasuredRun, first_word_s, or_lost
from lab.drill.rig import Conversation, Rig
from lab.drill.sound import Pcm, stretches

BACKCHANNEL: Final = "Okay."
DIGITS: Final = ("five", "five", "one", "two", "three", "four")
LEAD: Final = "My number is"
DICTATED_S: Final = 1.2  # the pause between two digits
STAYS_OPEN_S: Final = 2.0  # agent.dictation.pause_s
TELEVISION: Final = "There will be rain in the north, and the south stays dry until the evening. "
TIMES: Final = 6  # the text takes some 25 s then
TELEVISION_VOLUME: Final = 0.2  # times a caller's
WORDLESS_S: Final = 3.0  # speech without new words ends a turn in the product after this time
LATE_S: Final = 10.0  # the longest wait for an answer
LISTEN_S: Final = 20.0  # from the question on; the agent could answer its own echo meanwhile


async def play_backchannel(rig: Rig, run: MeasuredRun) -> None:
    """Ask, and say "okay" while the agent answers."""
    async with rig.greeted_call() as call:
        began_s = call.now_s

        async def listen() -> None:
            await call.ear.hear_some(rig.row.audible_s, since_s=began_s, within_s=LATE_S)
            await call.make_noise(caller_says(BACKCHANNEL))

        turn = await call.ask(rig.row.question, at=((0.0, listen),))
        turn = dataclasses.replace(turn, stop_s=began_s + caller_says(turn.question).size / 8000)
        run.add(await judge_turn(call, rig.control, turn))
    run.measures["model_requests"] = await _model_requests(rig, call, began_s)


async def play_echo(rig: Rig, run: MeasuredRun) -> None:
    """Ask once on a line that echoes the agent's voice, and listen for `LISTEN_S` in total."""
    async with rig.greeted_call() as call:
        run.measures["greeting_s"] = or_lost(call.greeted_s)
        began_s = call.now_s
        judged = await ask_and_judge(rig, call, run, rig.row.question)
        run.measures["first_word_s"] = first_word_s(judged)
        await call.ear.wait(began_s + LISTEN_S - call.now_s)
    run.measures["model_requests"] = await _model_requests(rig, call, began_s)
    run.measures["barge_ins"] = await asyncio.to_thread(rig.barge_ins)


async def play_dictation(rig: Rig, run: MeasuredRun) -> None:
    """Dictate a number with pauses, and listen for the answer.

    `spoken_over` counts the pauses in which the agent spoke. `first_speech_s` is measured from the
    end of the time for which a turn stays open after a digit.
    """
    spoken_over = 0
    async with rig.greeted_call() as call:
        since_s = stop_s = call.now_s
        await call.make_noise(says_again(LEAD))
        for digit in DIGITS:
            await call.ear.wait(DICTATED_S)
            spoken_over += bool(stretches(call.heard(), from_s=since_s))
            since_s = call.now_s
            await call.make_noise(says_again(digit))
            stop_s = call.now_s
        await call.ear.wait(STAYS_OPEN_S + LATE_S)
        first_s = _first_speech(call, stop_s)
    run.measures["spoken_over"] = spoken_over
    run.measures["first_speech_s"] = first_s - STAYS_OPEN_S


async def play_behind(rig: Rig, run: MeasuredRun) -> None:
    """Ask while a television keeps talking in the background.

    `first_speech_s` is measured from the moment when speech without words ends the turn.
    """
    television = caller_says(TELEVISION * TIMES) * TELEVISION_VOLUME
    async with rig.greeted_call() as call:
        began_s, question = call.now_s, says_again(rig.row.question)
        stop_s = began_s + question.size / 8000
        sound: Pcm = np.concatenate([question, television.astype(np.int16)])
        await call.make_noise(sound)
        first_s = _first_speech(call, stop_s)
    run.measures["first_word_s"] = first_s
    run.measures["first_speech_s"] = first_s - WORDLESS_S
    run.measures["model_requests"] = await _model_requests(rig, call, began_s)


def _first_speech(call: Conversation, stop_s: float) -> float:
    """Return how long after the caller's stop the agent was heard; `LOST` if it was not."""
    speech = stretches(call.heard(), from_s=stop_s)
    return or_lost(speech[0][0] - stop_s if speech else None)


async def _model_requests(rig: Rig, call: Conversation, since_s: float) -> float:
    """Return how often the first model was asked to answer since a moment of the call."""
    requests = await rig.control.requests("openai")
    return sum(
        "asked" in item["details"] for item in requests if item["at_s"] >= call.lab_s(since_s)
    )
