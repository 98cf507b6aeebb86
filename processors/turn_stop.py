"""Ends the caller's turn only when all of its words are there, and were read."""

from collections.abc import Callable
from typing import Any, Final

from pipecat.turns.user_stop import TurnAnalyzerUserTurnStopStrategy

# Chosen: the sound of 0.3 s of waiting is read first, which took 22 ms on two busy cores.
GRACE_S: Final = 0.1


class TurnStop(TurnAnalyzerUserTurnStopStrategy):
    """Pipecat's own rule, which on a busy machine ended turns before their last words were read.

    While the turn detector works, the frames behind it wait: sound first, then transcripts. When it
    takes longer than the recogniser is expected to (0.15 s after the VAD for Deepgram), Pipecat's
    timer has run out by then and ends the turn at once, with the words of an earlier pause alone;
    the rest counts as a new turn that interrupts the answer, and may end only after
    `user_turn_stop_timeout`: benchmarks/turn_latency.py saw answers after 3.5 s. So the timer
    always leaves a moment.

    And half an utterance is no turn: when a recogniser dies after some of the words, another writes
    down the rest; until it has, the turn does not end.
    """

    def __init__(self, *, owed: Callable[[], bool] = lambda: False, **kwargs: Any) -> None:
        """Prepare.

        Args:
            owed: Whether words that the caller spoke are still to come; false after a while.
            kwargs: For Pipecat's rule.
        """
        super().__init__(**kwargs)
        self._owed = owed

    async def trigger_user_turn_stopped(
        self, *, enable_user_speaking_frames: bool | None = None
    ) -> None:
        """End the turn, or look again in a moment."""
        if not self._owed():
            await super().trigger_user_turn_stopped(
                enable_user_speaking_frames=enable_user_speaking_frames
            )
        elif self._timeout_task is None:
            self._timeout_task = self.task_manager.create_task(
                self._timeout_handler(0.0), f"{self}: words are owed"
            )

    async def _timeout_handler(self, timeout: float) -> None:  # noqa: ASYNC109 - Pipecat's name
        await super()._timeout_handler(max(timeout, GRACE_S))
