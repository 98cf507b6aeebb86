"""Voice activity detection: whether the caller speaks, on a model that all calls share."""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from pipecat.audio.vad.silero import SileroOnnxModel, SileroVADAnalyzer
from pipecat.audio.vad.vad_analyzer import VADAnalyzer, VADParams, VADState

from processors.turn.echo import EchoEar
from processors.turn.sound_path import Faintness
from processors.turn.speech_rules import Background, BeginningOfSpeech
from runtime import clock


class _SharedSileroModel(SileroOnnxModel):
    """Silero on a shared session, with its own state."""

    def __init__(self, session: Any) -> None:  # no super().__init__(): it would load the model
        self.session = session
        self.sample_rates = [8000, 16000]
        self.reset_states()


class SharedSilero(SileroVADAnalyzer):
    """One call's voice activity detector on the shared model.

    Our own echo and speech in the background count as silence.

    Attributes:
        faintness: Follows the level of all analysed audio.
    """

    def __init__(
        self,
        session: Any,
        *,
        params: VADParams,
        echo: EchoEar | None = None,
        background: Background | None = None,
    ) -> None:
        VADAnalyzer.__init__(self, params=params)  # skips the parent, which would load the model
        self._model = _SharedSileroModel(session)
        self._windows_since_reset = 0
        self._low_confidence_windows = 0
        self._beginning = BeginningOfSpeech()
        self.faintness = Faintness()
        self._echo = echo
        self._background = background

    @property
    def quiet(self) -> bool:
        """Whether there is no speech and no possible beginning of speech."""
        return self._vad_state is VADState.QUIET

    def voice_confidence(self, buffer: bytes) -> float:
        """Return how probable it is that the next window is the caller's speech, 0 to 1.

        Windows must come in order, each once; they also go to the echo detector. Echo and
        background count as 0.
        """
        confidence = float(np.asarray(super().voice_confidence(buffer)).item())
        required = self._params.confidence
        samples = np.frombuffer(buffer, np.int16)
        if self._echo:
            self._echo.hear_caller(samples)
        starting = self._vad_state is VADState.STARTING
        score = self._beginning.score(confidence, threshold=required, starting=starting)
        return 0.0 if score >= required and self._is_not_the_callers(samples) else score

    def set_sample_rate(self, sample_rate: int) -> None:
        """Set the line's sample rate, here and for the echo."""
        super().set_sample_rate(sample_rate)
        if self._echo:
            self._echo.set_rate(self.sample_rate)

    def _is_not_the_callers(self, samples: NDArray[np.int16]) -> bool:
        """Return whether a window that sounds like speech is our echo or background speech."""
        if self._echo and self._echo.goes_on(2 * samples.size):
            return True
        # Whether this window would turn the possible beginning into speech.
        is_last = self._vad_starting_count == self._vad_start_frames - 1
        begins = self._vad_state is VADState.STARTING and is_last
        if self._echo and begins and self._echo.begins():
            return True
        if self._background is None:
            return False
        level = float(np.sqrt(np.mean(np.square(samples.astype(np.float64)))))
        return self._background.hides(level, clock.monotonic())

    async def analyze_audio(self, buffer: bytes) -> VADState:
        """Return the state after some audio, computed in the event loop.

        Pipecat uses a thread per call, fifty times a second: the two thread switches took more CPU
        time than the inference itself, which takes 0.15 ms for each 32 ms of audio.
        """
        self.faintness.hear(np.frombuffer(buffer, np.int16), self.sample_rate)
        return self._run_analyzer(buffer)
