"""Sampling one thread keeps no references of other threads."""

import sys
import threading
from collections.abc import Iterator

import pytest

from bot.workers.lag import frame_of

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
            frame_of(mine)

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
