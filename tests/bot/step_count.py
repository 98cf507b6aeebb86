"""Counts the interpreter's function calls, whose number does not depend on the machine's load."""

import sys
import threading
from collections import Counter, defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any


class CallCount:
    """How often each function was called, in each thread."""

    def __init__(self) -> None:
        self._by_thread: defaultdict[int, Counter[str]] = defaultdict(Counter)

    def note(self, frame: FrameType, event: str, argument: Any) -> None:
        """Count the interpreter's reports (`sys.setprofile`)."""
        mine = self._by_thread[threading.get_ident()]  # excludes its own: an addition is two steps
        if event == "call":
            mine[f"{frame.f_code.co_filename}:{frame.f_code.co_qualname}"] += 1
        elif event == "c_call":
            mine[getattr(argument, "__qualname__", "a function of C")] += 1

    def of(self, ending: str) -> int:
        """Return the number of calls of functions whose file and name end with these."""
        return sum(
            times
            for counts in dict(self._by_thread).values()
            for name, times in dict(counts).items()  # copied in one step: threads count on
            if name.endswith(ending)
        )

    @property
    def calls(self) -> int:
        """Return how many there were."""
        return self.of("")


@contextmanager
def counted_calls() -> Iterator[CallCount]:
    """Count function calls of this thread and of threads that start during the block."""
    found = CallCount()
    threading.setprofile(found.note)
    sys.setprofile(found.note)
    try:
        yield found
    finally:
        sys.setprofile(None)
        threading.setprofile(None)
