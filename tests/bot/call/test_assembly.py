"""The order of processors in a call's pipeline, where it matters."""

from collections.abc import Callable
from typing import Any

import pytest
from pipecat.processors.frame_processor import FrameProcessor

from bot.call import pipeline
from bot.call.transfer import person_call
from processors.turn.sound_path import InputQueue


def worker_of_a_call(listed: list[FrameProcessor]) -> None:
    pipeline.make_worker(listed, [], rate_hz=8000)


def worker_of_a_persons_call(listed: list[FrameProcessor]) -> None:
    person_call._make_worker(listed, 8000)


@pytest.mark.parametrize("make", [worker_of_a_call, worker_of_a_persons_call])
async def test_an_interruption_empties_the_queue_of_every_processor(
    make: Callable[[list[FrameProcessor]], None],
) -> None:
    listed = [FrameProcessor(), FrameProcessor()]

    make(listed)

    queues: list[Any] = [vars(item)["_FrameProcessor__input_queue"] for item in listed]
    assert [type(queue) for queue in queues] == [InputQueue, InputQueue]
