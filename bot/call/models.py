"""The two small models that listen for speech and for the end of a turn, loaded once for all calls.

Pipecat loads both anew for every call: 40 MB, and 0.16 s (measured on two cores) in which no other
call is served. A session of the ONNX runtime keeps no state between runs, and its `Run` may be
called from several threads at once, so calls share the sessions and each keeps its own state.

They share the threads of the turn detector, too (`processors/turn/detector.py`).
"""

import asyncio
import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from pipecat.audio.turn.smart_turn.local_smart_turn_v3 import LocalSmartTurnAnalyzerV3
from pipecat.audio.vad.silero import SileroOnnxModel, SileroVADAnalyzer
from pipecat.audio.vad.vad_analyzer import VADAnalyzer, VADParams, VADState
from pipecat.utils.context.word_completion_tracker import WordCompletionTracker

from bot import clock
from bot.config.settings import TurnSettings
from calls.entry import Tell
from processors.turn.detector import WIDTH, DetectorSettings, TurnDetector, TurnJudges
from processors.turn.sound_path import Faintness
from providers.sockets import tls_context

# Chosen: noise scores below it. Measured: one window of the words "What are" scores 0.42.
DOUBTFUL: Final = 0.3


class _SharedSileroModel(SileroOnnxModel):
    """Silero with somebody else's session and a state of its own."""

    def __init__(self, session: Any) -> None:  # deliberately without super(): it would load
        self.session = session
        self.sample_rates = [8000, 16000]
        self.reset_states()


class SharedSilero(SileroVADAnalyzer):
    """A call's own detector of speech, on everybody's model.

    Attributes:
        faintness: Has heard all that was analysed.
    """

    def __init__(self, session: Any, *, params: VADParams, faintness: Faintness) -> None:
        VADAnalyzer.__init__(self, params=params)  # past the parent: it would load
        self._model = _SharedSileroModel(session)
        self._windows_since_reset = 0
        self._low_confidence_windows = 0
        self._doubted = False  # a window of the beginning that is being counted
        self.faintness = faintness

    @property
    def quiet(self) -> bool:
        """Whether nobody speaks, nor may have begun to."""
        return self._vad_state is VADState.QUIET

    def voice_confidence(self, buffer: bytes) -> float:
        """Return how sure it is that a window is speech, 0 to 1.

        Speech has begun when six windows in a row say so. One doubtful window among them does not
        begin the count anew: whoever interrupts would be heard 0.15 s later.
        """
        sure = float(np.asarray(super().voice_confidence(buffer)).item())
        asked = self._params.confidence
        if self._vad_state is not VADState.STARTING:
            self._doubted = False
        elif not self._doubted and DOUBTFUL <= sure < asked:
            self._doubted = True
            return asked
        return sure

    async def analyze_audio(self, buffer: bytes) -> VADState:
        """Return the state after some sound, computed here and now.

        Pipecat has a thread of each call do it, fifty times a second: handing it over and being
        woken again took more of the processor than the 0.15 ms for each 32 ms of sound.
        """
        self.faintness.hear(np.frombuffer(buffer, np.int16), self.sample_rate)
        return self._run_analyzer(buffer)


@dataclass(frozen=True, slots=True)
class VoiceModels:
    """The loaded models; hand one to every call of a process."""

    _silero: Any
    _smart_turn: Any

    @classmethod
    def load(cls) -> "VoiceModels":
        """Load both from Pipecat's wheel. Takes a few tenths of a second: call it in a thread."""
        silero, smart_turn = SileroVADAnalyzer(), LocalSmartTurnAnalyzerV3()
        return cls(silero._model.session, smart_turn._session)  # noqa: SLF001 - no public way

    def vad(self, turn: TurnSettings, faintness: Faintness | None = None) -> SharedSilero:
        """Return a detector of speech for one call.

        Args:
            turn: How it is decided that the caller has stopped.
            faintness: Hears with it; None: one that nobody else asks.
        """
        params = VADParams(
            confidence=turn.vad_confidence,
            stop_secs=turn.vad_stop_s,
            min_volume=turn.vad_min_volume,
        )
        return SharedSilero(self._silero, params=params, faintness=faintness or Faintness())

    def turn_detector(
        self,
        turn: TurnSettings,
        vad: SharedSilero,
        *,
        judges: TurnJudges,
        clock: Callable[[], float],
        tell: Tell,
    ) -> TurnDetector:
        """Return a detector of the end of a turn for one call.

        Args:
            turn: How it is decided that the caller has finished.
            vad: The call's detector of speech.
            judges: Look for all calls.
            clock: Monotonic, in seconds.
            tell: Told what it decides.
        """
        settings = DetectorSettings(
            unfinished_s=turn.smart_turn_stop_s,
            within_s=turn.decide_within_s,
            stop_s=turn.vad_stop_s,
            early=turn.decide_early,
        )
        return TurnDetector(
            self._smart_turn,
            vad=vad,
            faintness=vad.faintness,
            settings=settings,
            judges=judges,
            clock=clock,
            tell=tell,
        )


# What would be done for the first call alone is done before there is one.
#
# Libraries import, compile and set up on first use: eighty modules, a few patterns, both models.
# All of that would be the first caller's wait, in the loop that serves the others.

RATES_HZ: Final = (8000, 16_000)  # of a telephone; of everything else
PIECE_BYTES: Final = 640
PIECES: Final = 10
AT_ONCE: Final = min(WIDTH, 2)  # looks; a second takes 20 MB more, a third is rare (measured)
TIMES: Final = 2  # the first time they need not overlap


async def warm_up(models: VoiceModels) -> None:
    """Have everything used once that every call uses; takes a few tenths of a second."""
    await asyncio.to_thread(_listen_once, models)
    await _judge_at_once(models)
    await asyncio.to_thread(_compile_patterns)
    await asyncio.to_thread(tls_context)


def _listen_once(models: VoiceModels) -> None:
    for rate_hz in RATES_HZ:
        vad: VADAnalyzer = models.vad(TurnSettings())
        vad.set_sample_rate(rate_hz)
        vad.voice_confidence(bytes(2 * vad.num_frames_required()))


async def _judge_at_once(models: VoiceModels) -> None:
    """Look for two callers at the same time: what that takes, a process keeps (decision 0004)."""
    judges = TurnJudges(clock=clock.monotonic)
    for _ in range(TIMES):
        await asyncio.gather(*(_judge_once(models, judges) for _ in range(AT_ONCE)))
    judges.close()


async def _judge_once(models: VoiceModels, judges: TurnJudges) -> None:
    turn = TurnSettings()
    vad = models.vad(turn)
    vad.set_sample_rate(RATES_HZ[-1])
    detector = models.turn_detector(
        turn, vad, judges=judges, clock=clock.monotonic, tell=lambda event: None
    )
    detector.set_sample_rate(RATES_HZ[-1])
    for _ in range(PIECES):
        detector.append_audio(bytes(PIECE_BYTES), is_speech=True)
    await detector.analyze_end_of_turn()
    await detector.cleanup()


def _compile_patterns() -> None:
    inspect.getsource(warm_up)  # FastAPI looks up where each of its handlers stands
    WordCompletionTracker("a word")  # of a voice that says when each is spoken
