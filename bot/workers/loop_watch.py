"""Sees from a thread what the loop's thread is doing while it serves nobody."""

import sys
import threading
from collections import Counter
from collections.abc import Sequence
from operator import methodcaller
from pathlib import Path
from types import CodeType, FrameType
from typing import Final

from bot.clock import Clock
from fallbacks.lag import PERIOD_S

LOOK_S: Final = 0.05  # between two looks; a step of interest lasts for several
OVERDUE_S: Final = PERIOD_S + 0.05  # so long without a beat, and the loop's stack is read
OURS: Final = Path(__file__).resolve().parents[2]
IDLE: Final = "no step: the machine, or another thread, kept the loop waiting"
_WAITS: Final = frozenset({"select", "poll", "epoll"})  # the loop itself is in here


class LoopWatch:
    """Names the longest step: a function and its file, and nothing of what it works on.

    watch = LoopWatch(clock)
    watch.beat(now)         # in the loop
    watch.take_step()       # what was seen most since the last time; empty: nothing
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._loop_thread = threading.get_ident()
        self._beat_at = clock()
        self._seen: Counter[str] = Counter()
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._look, name="loop watch", daemon=True)

    def start(self) -> None:
        """Begin to look; called in the loop's thread."""
        self._thread.start()

    def stop(self) -> None:
        """Look no more; waits for nobody."""
        self._over.set()

    def beat(self, now: float) -> None:
        """Note that the loop runs."""
        self._beat_at = now

    def take_step(self) -> str:
        """Return the step that was seen most often since the last call."""
        seen, self._seen = self._seen, Counter()
        return next((step for step, _ in seen.most_common(1)), "")

    def _look(self) -> None:
        while not self._over.wait(LOOK_S):
            if self._clock() - self._beat_at > OVERDUE_S and (stack := self.read_stack()):
                self._seen[name_of(stack)] += 1

    def read_stack(self) -> list[CodeType]:
        """Return what the loop's thread is doing, the innermost first.

        As code: whoever holds a frame holds its variables, and a detector whose sound is held by
        somebody else cannot take any more of it.
        """
        stack: list[CodeType] = []
        frame = frame_of(self._loop_thread)
        while frame is not None:
            stack.append(frame.f_code)
            frame = frame.f_back
        return stack


def frame_of(thread: int) -> FrameType | None:
    """Return where a thread is.

    All of it is one step for the interpreter. Python gives the frames of every thread, and while
    they are held a thread that goes on in between finds what its functions have worked on still in
    use: a sound that cannot be lengthened any more ends a call.
    """
    every = iter(sys._current_frames, None)  # noqa: SLF001 - documented in `sys`, for this
    return next(map(methodcaller("get", thread), every))


def name_of(stack: Sequence[CodeType]) -> str:
    """Return the function that is under way: the innermost of ours, or else the innermost."""
    if stack[0].co_name in _WAITS:
        return IDLE
    for code in stack:
        place = Path(code.co_filename)
        if place.is_relative_to(OURS) and ".venv" not in place.parts:
            return f"{code.co_qualname} ({place.relative_to(OURS)})"
    place = Path(stack[0].co_filename)
    return f"{stack[0].co_qualname} ({'/'.join(place.parts[-2:])})"
