"""Ends the caller's turn only when the words that have arrived were read."""

from typing import Final

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
    """

    async def _timeout_handler(self, timeout: float) -> None:  # noqa: ASYNC109 - Pipecat's name
        await super()._timeout_handler(max(timeout, GRACE_S))
