"""Reading the stack of a thread keeps no references of other threads."""

import sys
import threading
from collections.abc import Iterator

import pytest

from bot.code_places import MAX_FRAMES, stack_of

ROUNDS = 20_000


@pytest.fixture
def eager_threads() -> Iterator[None]:
    """Let threads take turns as often as they can."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


def total(sound: bytearray) -> int:
    """Return a fact about a sound, without any reference to it afterwards."""
    view = memoryview(sound)
    return sum(view[:50])


@pytest.mark.usefixtures("eager_threads")
def test_objects_that_another_thread_released_are_not_kept() -> None:
    over, failures = threading.Event(), list[BufferError]()
    mine = threading.get_ident()

    def look() -> None:
        while not over.is_set():
            stack_of(mine)

    def work() -> None:
        sound = bytearray(100)
        for _ in range(ROUNDS):
            total(sound)
            try:
                sound += b"x"
                del sound[:1]
            except BufferError as held:
                failures.append(held)

    looking, working = threading.Thread(target=look), threading.Thread(target=work)
    looking.start()
    working.start()
    working.join()
    over.set()
    looking.join()

    assert not failures


def test_a_stack_is_read_from_the_innermost_function_to_the_outermost() -> None:
    found = stack_of(threading.get_ident())
    frame, expected = sys._getframe(), list[tuple[object, int | None]]()
    while frame := frame.f_back:
        expected.append((frame.f_code, frame.f_lineno))

    assert [code.co_name for code, _ in found][:2] == [
        "stack_of",
        "test_a_stack_is_read_from_the_innermost_function_to_the_outermost",
    ]
    assert found[2:] == expected


def test_a_stack_has_a_bound_and_an_ended_thread_has_none() -> None:
    def deep(left: int) -> int:
        return deep(left - 1) if left else len(stack_of(threading.get_ident()))

    before = sys.getrecursionlimit()
    sys.setrecursionlimit(3 * MAX_FRAMES)
    try:
        assert deep(MAX_FRAMES + 10) == MAX_FRAMES
    finally:
        sys.setrecursionlimit(before)
    assert stack_of(0) == []
