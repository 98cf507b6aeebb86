"""The caller's words and the agent's echo on one line."""

from collections.abc import Callable

import pytest
from pipecat.processors.aggregators.llm_context import LLMContext

from calls.line import CallerLine
from calls.resume import SpeechSinceInterruption
from processors.turn.asides import Asides
from processors.turn.backchannel_rules import Aside
from processors.turn.floor import Floor

SAID = "We open at nine. From Monday to Friday we are here until six."


class EchoLine:
    """A line with an echo, on which a caller has cut the agent off; moments in seconds."""

    def __init__(self) -> None:
        self.now = 100.0
        self.line = CallerLine()
        self.floor = Floor(self.line)
        memory = LLMContext(messages=[{"role": "assistant", "content": SAID}])
        self.asides = Asides(
            memory,
            SpeechSinceInterruption(),
            floor=self.floor,
            clock=lambda: self.now,
            echoes=lambda: True,
        )
        self.line.add(5.0, 100.0)
        self.floor.caller_started(101.0)
        self.floor.turn_began()
        self.line.flush(101.0)
        self.floor.caller_stopped(101.8, 102.0)
        self.floor.turn_ended(102.1)


def answered(call: EchoLine) -> None:
    call.line.add(5.0, 102.3)


def silent(call: EchoLine) -> None:
    del call


@pytest.mark.parametrize("agent", [silent, answered])
@pytest.mark.parametrize(
    ("text", "at", "then"),
    [
        ("What about Sunday?", 102.4, None),
        ("From Monday to Friday we are here", 102.4, Aside.ECHO),
        ("Sunday", 102.4, None),
    ],
)
def test_late_words_of_an_interruption_are_the_callers_unless_they_echo_the_agent(
    agent: Callable[[EchoLine], None], text: str, at: float, then: Aside | None
) -> None:
    call = EchoLine()
    agent(call)
    call.now = at

    assert call.asides.aside(text) is then


def test_misheard_words_without_speech_are_an_echo() -> None:
    call = EchoLine()
    answered(call)
    call.now = 104.0

    assert call.asides.aside("What about Sunday?") is Aside.ECHO
