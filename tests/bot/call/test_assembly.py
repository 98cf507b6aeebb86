"""Order in a call's pipeline, where it matters."""

import time
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
from pipecat.processors.frame_processor import FrameProcessor

from bot.call import person_call, pipeline
from bot.call.pipeline import CallPipeline
from bot.config.agent import AgentSettings
from calls.line import CallerLine
from calls.turn import Turn
from processors.hearing.keypad import KeyUse
from processors.turn.ending import TurnOpener
from processors.turn.floor import Floor
from processors.turn.sound_path import InputQueue
from processors.wiring import CallWiring


def test_the_turn_is_opened_directly_above_the_callers_side_of_the_context() -> None:
    callers_side = object()
    line = CallerLine()
    wiring = CallWiring(
        clock=time.monotonic,
        turn=Turn(budget_s=1.5),
        line=line,
        floor=Floor(line),
        outside=lambda _: None,
    )
    built: Any = SimpleNamespace(
        _leg=SimpleNamespace(input=object, output=object),
        _agent=AgentSettings(),
        _language=list,
        _hear=None,
        _keys=lambda: KeyUse(lengths=[], own={}, taken=lambda: False),
        wiring=wiring,
        stt="stt",
        llm=SimpleNamespace(answer_early=lambda *_: None),
        tts="tts",
        pair=SimpleNamespace(user=lambda: callers_side, assistant=object),
        context=None,
        asides=None,
        hold_line=object(),
        farewell=object(),
        silence=object(),
        transfer=None,
        answerer=None,
    )

    listed = CallPipeline._listed(built)

    (at,) = [at for at, each in enumerate(listed) if isinstance(each, TurnOpener)]
    assert listed[at + 1] is callers_side


def worker_of_a_call(listed: list[FrameProcessor]) -> None:
    pipeline._worker(listed, [], rate_hz=8000)


def worker_of_a_persons_call(listed: list[FrameProcessor]) -> None:
    person_call._worker(listed, 8000)


@pytest.mark.parametrize("make", [worker_of_a_call, worker_of_a_persons_call])
async def test_an_interruption_empties_the_queue_of_every_processor(
    make: Callable[[list[FrameProcessor]], None],
) -> None:
    listed = [FrameProcessor(), FrameProcessor()]

    make(listed)

    queues: list[Any] = [vars(item)["_FrameProcessor__input_queue"] for item in listed]
    assert [type(queue) for queue in queues] == [InputQueue, InputQueue]
