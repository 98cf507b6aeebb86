"""The end of a turn in which the caller may be dictating."""

import time
from typing import Any

import pytest

from calls.line import CallerLine
from calls.turn import Turn
from processors.turn.detector import TurnJudges
from processors.turn.dictation_rules import Dictation
from processors.turn.ending import DictationWait, TurnOpener
from processors.turn.floor import Floor
from processors.turn.sound_path import Faintness
from tests.processors.turn.decided_turns import STOP_S, Caller, Session, slowly

pytestmark = pytest.mark.virtual_time

PAUSE_S = 2.0
SURE, UNSURE = 0.9, 0.1


async def turns_of(
    says: list[str], *lengths_s: float, sure: float = SURE
) -> tuple[Caller, Turn, list[Any]]:
    turn, told, floor = Turn(budget_s=1.5), list[Any](), Floor(CallerLine())
    wait = DictationWait(
        Dictation(pause_s=PAUSE_S),
        floor=floor,
        turn=turn,
        last_said=lambda: "",
        clock=time.monotonic,
        emit=told.append,
    )
    caller = Caller(
        Session(sure),
        TurnJudges(clock=time.monotonic, width=2, run=slowly(0.07)),
        says=says,
        silent_s=3.0,
        more_s=wait.left_s,
        above=[TurnOpener(floor, turn=turn, faintness=Faintness(), clock=time.monotonic)],
    )
    return await caller.speaks(*lengths_s), turn, told


@pytest.mark.parametrize("sure", [SURE, UNSURE])
async def test_a_turn_waits_longer_after_a_digit(sure: float) -> None:
    caller, turn, told = await turns_of(["my number is five"], 1.0, sure=sure)

    until = caller.stops[0] - STOP_S + PAUSE_S
    assert caller.decided == [pytest.approx(until, abs=0.02)]
    assert [event.until_s for event in told] == [pytest.approx(until, abs=0.1)]
    assert turn.until(0.0).at == pytest.approx(until + 1.5, abs=0.1)


async def test_a_caller_who_goes_on_dictating_has_one_turn() -> None:
    says = ["my number is five", "five", "one"]
    caller, _, _ = await turns_of(says, 1.0, 1.2, 0.5, 1.2, 0.5)

    assert caller.turns == ["my number is five five one"]
    assert caller.decided == [pytest.approx(caller.stops[-1] - STOP_S + PAUSE_S, abs=0.02)]


async def test_a_turn_that_is_complete_does_not_wait() -> None:
    caller, _, told = await turns_of(["that is all"], 1.0)

    assert caller.decided == [pytest.approx(caller.stops[0], abs=0.01)]
    assert told == []
