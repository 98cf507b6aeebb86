"""Has the turn detector look for all calls of a process, on as many threads as there are cores."""

import asyncio
import os
from collections.abc import Callable, Hashable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Any, Final, TypeAlias

from processors.turn.judging_rules import Look, LookQueue

WIDTH: Final = os.cpu_count() or 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Judgement:
    """What one look found."""

    probability: float  # that the caller has finished
    took_s: float  # in its thread

    @property
    def finished(self) -> bool:
        """Whether the caller has probably finished."""
        return self.probability > 0.5  # as Pipecat reads the model


Examine: TypeAlias = Callable[[], Judgement]
"""Looks at a caller's sound; takes long, and is called in a thread."""

RunBeside: TypeAlias = Callable[[Examine], "asyncio.Future[Judgement]"]
"""Runs it beside the loop."""


class PendingJudgement:
    """What comes of a look, at the latest when nobody waits for it any longer.

    Attributes:
        began: Whether a thread was at work on it.
        took_s: For how long, once it has ended.
        on_end: Called with what was found.
    """

    def __init__(self, look: Look) -> None:
        self.look = look
        self.on_end: Callable[[Judgement | None], None] = lambda _: None
        self.began = False
        self.took_s = 0.0
        self._judgement: Judgement | None = None
        self._ended = asyncio.Event()

    async def wait(self, wait_s: float) -> Judgement | None:
        """Return what was found within so many seconds, or None."""
        if not self._ended.is_set() and wait_s > 0:
            try:
                async with asyncio.timeout(wait_s):
                    await self._ended.wait()
            except TimeoutError:
                return None
        return self._judgement

    def end(self, judgement: Judgement | None) -> None:
        """Deliver what was found; None: it was not looked for, or it failed."""
        self._judgement = judgement
        self.took_s = judgement.took_s if judgement else 0.0
        self._ended.set()
        self.on_end(judgement)


class TurnJudges:
    """Queues the looks of all calls and answers the most urgent first.

    Requests and their order live in the loop; only the looking is done in threads.
    """

    def __init__(
        self, *, clock: Callable[[], float], width: int = WIDTH, run: RunBeside | None = None
    ) -> None:
        """Prepare.

        Args:
            clock: Monotonic, in seconds.
            width: How many looks there may be at once.
            run: Runs one beside the loop; None: in a thread of its own pool.
        """
        self._now = clock
        self._queue = LookQueue(width=width)
        self._threads = ThreadPoolExecutor(width, thread_name_prefix="turn judge")
        self._run = run or self._run_in_thread
        self._asked: dict[Look, tuple[PendingJudgement, Examine]] = {}

    def ask(self, call: Hashable, examine: Examine, *, due_at: float) -> PendingJudgement:
        """Have a call's sound looked at; what it asked before and was not begun is dropped."""
        answer = PendingJudgement(Look(call, due_at))
        self._asked[answer.look] = (answer, examine)
        self._forget(self._queue.add(answer.look))
        self._begin()
        return answer

    def drop(self, answer: PendingJudgement) -> None:
        """Forget what nobody needs any longer."""
        self._queue.drop(answer.look)
        if not answer.began:
            self._forget(answer.look)

    def close(self) -> None:
        """Let the threads go; none is waited for."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    def _begin(self) -> None:
        for late in self._queue.expire(self._now()):
            self._forget(late)
        while (look := self._queue.take()) is not None:
            answer, examine = self._asked.pop(look)
            answer.began = True
            begun_at = self._now()
            self._run(examine).add_done_callback(partial(self._ended, answer, begun_at))

    def _ended(
        self, answer: PendingJudgement, begun_at: float, found: "asyncio.Future[Any]"
    ) -> None:
        failed = found.cancelled() or found.exception() is not None
        self._queue.ended(took_s=self._now() - begun_at)
        answer.end(None if failed else found.result())
        self._begin()

    def _forget(self, look: Look | None) -> None:
        if look is not None and (asked := self._asked.pop(look, None)):
            asked[0].end(None)

    def _run_in_thread(self, examine: Examine) -> "asyncio.Future[Judgement]":
        return asyncio.get_running_loop().run_in_executor(self._threads, examine)
