"""A developer's function that gets the events of a call."""

import threading
from collections.abc import Iterator
from typing import Any

import pytest
from loguru import logger

from holdline import event_hook
from holdline.event_hook import WAITING, EventHook


@pytest.fixture(autouse=True)
def _fresh_thread() -> Iterator[None]:
    event_hook._open_queue.cache_clear()
    yield
    event_hook._open_queue.cache_clear()


@pytest.fixture
def logged() -> Iterator[list[str]]:
    lines: list[str] = []
    handler = logger.add(lambda text: lines.append(str(text)), format="{message}")
    yield lines
    logger.remove(handler)


def test_events_arrive_in_order_in_another_thread() -> None:
    heard: list[tuple[Any, int]] = []
    done = threading.Event()

    def hook(event: Any) -> None:
        heard.append((event, threading.get_ident()))
        if event == 99:
            done.set()

    emit = EventHook(hook).emit
    for number in range(100):
        emit(number)

    assert done.wait(10.0)
    assert [event for event, _ in heard] == list(range(100))
    assert {thread for _, thread in heard} != {threading.get_ident()}


def test_a_hook_that_raises_gets_the_next_event_too_and_is_logged_once(logged: list[str]) -> None:
    heard: list[Any] = []
    done = threading.Event()

    def hook(event: Any) -> None:
        heard.append(event)
        if len(heard) == 3:
            done.set()
        raise ValueError("mine")

    emit = EventHook(hook).emit
    for number in range(3):
        emit(number)

    assert done.wait(10.0)
    assert heard == [0, 1, 2]
    assert [line.strip() for line in logged] == ["on_event raised ValueError: mine"]


class _OwnHook:
    async def __call__(self, _: Any) -> None: ...


@pytest.mark.filterwarnings("error::RuntimeWarning")
def test_a_hook_that_returns_a_coroutine_is_logged_once(logged: list[str]) -> None:
    hook = EventHook(_OwnHook())
    hook.call(1)
    hook.call(2)

    assert [line.strip() for line in logged] == ["on_event must be a function without async"]


def test_events_for_a_hook_that_blocks_are_dropped_beyond_a_limit(logged: list[str]) -> None:
    blocked, heard = threading.Event(), list[Any]()

    def hook(event: Any) -> None:
        blocked.wait(10.0)
        heard.append(event)

    emit = EventHook(hook).emit
    for number in range(WAITING + 50):
        emit(number)
    blocked.set()

    assert [line.strip() for line in logged] == ["on_event is too slow; events are dropped"]
    assert len(heard) <= WAITING + 1
