"""The order of a call's list, where it matters."""

import time
from types import SimpleNamespace
from typing import Any

from bot.call import assembly
from bot.config.agent import AgentSettings
from calls.line import CallerLine
from calls.turn import Turn
from processors.turn_opener import TurnOpener
from processors.wiring import CallWiring


def test_the_turn_is_opened_directly_above_the_callers_side_of_the_context() -> None:
    callers_side = object()
    pair = SimpleNamespace(user=lambda: callers_side, assistant=object)
    llm = SimpleNamespace(answer_early=lambda _: None)
    services = SimpleNamespace(stt="stt", llm=llm, tts="tts")
    parts: Any = SimpleNamespace(
        services=services,
        pair=pair,
        context=None,
        hold_line=SimpleNamespace(hear=lambda _: None),
    )
    leg: Any = SimpleNamespace(input=object, output=object)
    wiring = CallWiring(
        clock=time.monotonic, turn=Turn(budget_s=1.5), line=CallerLine(), outside=lambda _: None
    )

    parts_in_order = assembly._list(parts, leg, AgentSettings(), wiring, follow=[], ending=[])

    (at,) = [at for at, each in enumerate(parts_in_order) if isinstance(each, TurnOpener)]
    assert parts_in_order[at + 1] is callers_side
