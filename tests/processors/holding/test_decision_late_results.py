"""When a late tool result is delivered: in a silence in which nothing is about to be said."""

from math import inf

import pytest

from fallbacks.events import StageExhausted
from processors.holding.decision import RESULT_QUIET_S
from processors.holding.line_rules import DeliverResults
from processors.turn.floor import Away
from tests.processors.holding.held_caller import HeldCaller, silent_worded


def waiting(now: float) -> HeldCaller:
    """Return the decision of a call in which nobody has spoken when a result comes."""
    caller = HeldCaller()
    caller.result_since = now
    return caller


def delivered_at(caller: HeldCaller) -> float | None:
    """Return when the result is delivered if nothing else happens, or `None`."""
    at = caller.wake_at
    return at if at is not None and caller.tick(at) == (DeliverResults(),) else None


def test_nothing_is_due_while_no_result_waits() -> None:
    assert HeldCaller().wake_at is None


def test_a_result_waits_for_a_silence_that_begins_with_it() -> None:
    assert delivered_at(waiting(100.0)) == 100.0 + RESULT_QUIET_S


def test_a_result_is_delivered_once() -> None:
    caller = waiting(100.0)
    delivered_at(caller)

    assert caller.wake_at is None


def test_a_result_does_not_interrupt_the_agent() -> None:
    caller = waiting(100.0)
    caller.line.add(3.0, 100.2)

    assert delivered_at(caller) == pytest.approx(103.2 + RESULT_QUIET_S)


def test_a_result_interrupts_neither_the_caller_nor_the_answer_to_them() -> None:
    caller = waiting(100.0)
    caller.floor.caller_started(100.1)
    assert caller.wake_at == inf

    caller.handle(silent_worded(110.0), 110.2)
    assert delivered_at(caller) is None

    caller.answer.nothing_said(112.0)
    assert delivered_at(caller) == 110.2 + RESULT_QUIET_S


def test_a_result_waits_for_the_outage_menu() -> None:
    caller = waiting(100.0)
    caller.handle(StageExhausted(stage="llm", attempts=2), 100.1)
    caller.tick(100.2)

    assert caller.led
    assert delivered_at(caller) is None


@pytest.mark.parametrize("parting", [False, True])
def test_no_result_comes_while_a_person_talks_or_the_call_ends(parting: bool) -> None:  # noqa: FBT001 - a table
    caller = waiting(100.0)
    caller.floor.parting = parting
    caller.floor.set_away(Away.PERSON, away=not parting)

    assert caller.wake_at is None
