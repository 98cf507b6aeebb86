"""The course of each row's call, and its measures."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Final, TypeAlias

from lab.callers import noise
from lab.drill.asking import ask_and_judge, ask_broken
from lab.drill.dying_worker import play_dying_worker
from lab.drill.evidence import judge_turn
from lab.drill.lasting_plans import play_clips, play_flapping, play_probes, play_recovery
from lab.drill.long_reply import most_given, play_long_reply
from lab.drill.measured import (
    MeasuredRun,
    end_of_speech,
    first_speech_after,
    first_word_s,
    or_lost,
    quiet_after,
)
from lab.drill.rig import Conversation, Rig
from lab.drill.rows import HAIRCUT, HOURS, CallPlan, When
from lab.drill.sound import silence
from lab.drill.turn_plans import play_backchannel, play_behind, play_dictation, play_echo

DEAD_S: Final = 20.0  # the caller listens for this long after everything has failed
NOISE_S: Final = 3.0
CALLS, TURNS = 5, 6  # of `CallPlan.CHANCE`; turns in each call
CROWD: Final = 8  # calls at once
APART_S: Final = 0.25  # eight people do not stop speaking at the same instant
QUESTIONS: Final = (HAIRCUT, HOURS)  # others got a wrong answer, 3 of 16 in a crowd
BUDGET_S: Final = 1.5  # latency.budget_s
LATE_S: Final = 10.0  # the longest wait for a reply that the caller will interrupt
MEND_AFTER_S: Final = 0.5  # of the interruption: it is detected, but no request is made yet


Play: TypeAlias = Callable[[Rig, MeasuredRun], Awaitable[None]]


async def play(rig: Rig, run: MeasuredRun) -> None:
    """Play the rig's row once; `run` keeps the measures so far, even if this raises."""
    await _PLAYS[rig.row.plan](rig, run)


async def _ask_again(rig: Rig, call: Conversation, run: MeasuredRun, measure: str) -> None:
    """Ask the row's question; measure the answer's first word."""
    run.measures[measure] = first_word_s(await ask_and_judge(rig, call, run, rig.row.question))


async def _play_healthy(rig: Rig, run: MeasuredRun) -> None:
    """Play two turns and a second call; other rows are compared with these measures."""
    async with rig.greeted_call() as call:
        run.measures["greeting_s"] = or_lost(call.greeted_s)
        await _ask_again(rig, call, run, "first_word_s")
        await _ask_again(rig, call, run, "second_turn_s")
    async with rig.greeted_call() as call:
        await _ask_again(rig, call, run, "second_call_s")


async def _play_broken_turn(rig: Rig, run: MeasuredRun) -> None:
    """Play a call with one question, during which the row's faults begin."""
    async with rig.greeted_call() as call:
        await ask_broken(rig, call, run)


async def _play_broken_start(rig: Rig, run: MeasuredRun) -> None:
    """Break the providers, then place a call; measure its greeting and its first answer."""
    await rig.break_now(When.BEFORE_CALL)
    async with rig.greeted_call() as call:
        run.measures["greeting_s"] = or_lost(call.greeted_s)
        await _ask_again(rig, call, run, "first_word_s")


async def _second_turn(rig: Rig, run: MeasuredRun) -> None:
    """Ask while a fault is active, and again: `first_word_s` is that of the second turn."""
    async with rig.greeted_call() as call:
        await ask_broken(rig, call, run)
        await _ask_again(rig, call, run, "first_word_s")


async def _second_call(rig: Rig, run: MeasuredRun) -> None:
    """Ask in a broken call, and in another one: `first_word_s` is that of the second call."""
    async with rig.greeted_call() as call:
        await ask_broken(rig, call, run)
    async with rig.greeted_call() as call:
        await _ask_again(rig, call, run, "first_word_s")


async def _play_noise(rig: Rig, run: MeasuredRun) -> None:
    """Make noise in a call, then ask; count the failures, of which noise may cause none."""
    async with rig.greeted_call() as call:
        await call.make_noise(noise(NOISE_S))
        await call.ear.wait(1.0)
        await ask_and_judge(rig, call, run, rig.row.question)
    run.measures["failures"] = len(await asyncio.to_thread(rig.failures))


async def _all_dead(rig: Rig, run: MeasuredRun) -> None:
    """Ask while everything is broken, and measure the longest silence from then on.

    If the agent hangs up, only the time until its last sound counts.
    """
    async with rig.greeted_call() as call:
        await rig.break_now(When.BEFORE_TURN)
        turn = await call.ask(rig.row.question)
        await call.ear.wait(turn.stop_s + DEAD_S - call.now_s)
        run.add(await judge_turn(call, rig.control, turn))
        end_s = end_of_speech(call) if call.over else call.now_s
        run.measures["silence_s"] = silence(call.heard(), turn.stop_s, end_s)


async def _play_random_failures(rig: Rig, run: MeasuredRun) -> None:
    """Ask in several calls while requests fail at random; a turn never asked counts as lost."""
    await rig.break_now(When.BEFORE_CALL)
    for _ in range(CALLS):
        async with rig.greeted_call() as call:
            for turn in range(TURNS):
                if not call.over:
                    await ask_and_judge(rig, call, run, HOURS if turn % 2 else HAIRCUT)
    answered = sum(first_word_s(item) <= BUDGET_S for item in run.turns)
    run.measures["in_budget"] = answered / (CALLS * TURNS)
    never_asked = CALLS * TURNS - len(run.turns)  # of calls that ended early
    run.measures["lost_turns"] = run.measures.get("lost_turns", 0.0) + never_asked


async def _play_crowd(rig: Rig, run: MeasuredRun) -> None:
    """Let all callers ask at almost the same time, once each of them has been greeted."""
    all_greeted = asyncio.Barrier(CROWD)

    async def play_caller(number: int) -> None:
        """Play one of the callers; each begins `APART_S` after the one before."""
        async with rig.greeted_call() as call:
            await all_greeted.wait()
            await rig.break_now(When.BEFORE_TURN)
            await call.ear.wait(number * APART_S)
            await ask_and_judge(rig, call, run, QUESTIONS[number % len(QUESTIONS)])

    async with asyncio.TaskGroup() as callers:
        for number in range(CROWD):
            callers.create_task(play_caller(number))
    for count in ("requests", "standby_requests"):  # each turn has counted those of all callers
        run.measures[count] /= CROWD


async def _barge_in(rig: Rig, run: MeasuredRun) -> None:
    """Ask while something is broken, and interrupt the agent with another question.

    The faults are mended early in the interruption, so that its answer can be judged. Only that
    turn is judged, but the wait for speech before it counts in `first_speech_s`.
    """
    async with rig.greeted_call() as call:
        await rig.break_now(When.BEFORE_TURN)
        asked_s = await call.ask_only(rig.row.question)
        spoke = await call.ear.hear_some(rig.row.audible_s, since_s=asked_s, within_s=LATE_S)
        run.measures["nothing_to_break"] = not spoke  # then the agent's silence proves nothing
        waited_s = first_speech_after(call, asked_s)
        turn = await call.ask(HOURS, at=((MEND_AFTER_S, rig.control.mend_all),))
        run.measures["quiet_s"] = quiet_after(call, turn)
        run.add(await judge_turn(call, rig.control, turn))
        run.measures["first_speech_s"] = max(waited_s, run.measures["first_speech_s"])
        run.measures["given_s"] = await most_given(rig.control, call, asked_s)
    failures = await asyncio.to_thread(rig.failures_since_spoken_to)
    run.measures["failures_after"] = len(failures)


_PLAYS: Final[Mapping[CallPlan, Play]] = {
    CallPlan.HEALTHY: _play_healthy,
    CallPlan.TURN: _play_broken_turn,
    CallPlan.START: _play_broken_start,
    CallPlan.SECOND_TURN: _second_turn,
    CallPlan.SECOND_CALL: _second_call,
    CallPlan.NOISE: _play_noise,
    CallPlan.ALL_DEAD: _all_dead,
    CallPlan.CLIPS: play_clips,
    CallPlan.FLAPPING: play_flapping,
    CallPlan.CHANCE: _play_random_failures,
    CallPlan.CROWD: _play_crowd,
    CallPlan.BARGE_IN: _barge_in,
    CallPlan.BACKCHANNEL: play_backchannel,
    CallPlan.BEHIND: play_behind,
    CallPlan.DICTATION: play_dictation,
    CallPlan.ECHO: play_echo,
    CallPlan.RECOVERY: play_recovery,
    CallPlan.PROBES: play_probes,
    CallPlan.ENDLESS: play_long_reply,
    CallPlan.WORKER: play_dying_worker,
}
