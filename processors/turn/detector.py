"""Decides for one call whether a caller who fell silent has finished, before it is asked."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, Final, TypeAlias

import numpy as np
from numpy.typing import NDArray
from pipecat.audio.turn.base_turn_analyzer import EndOfTurnState
from pipecat.audio.turn.smart_turn.base_smart_turn import BaseSmartTurn, SmartTurnParams
from pipecat.audio.turn.smart_turn.local_smart_turn_v3 import LocalSmartTurnAnalyzerV3
from pipecat.audio.vad.vad_analyzer import VADAnalyzer, VADState
from pipecat.metrics.metrics import MetricsData, TurnMetricsData

from calls.entry import Tell
from fallbacks.facts import PauseJudged
from processors.turn.faintness import Faintness
from processors.turn.features import log_mel
from processors.turn.judges import Judgement, PendingJudgement, TurnJudges
from processors.turn.pauses import PauseBegan, PauseEnded, PauseFrame, PauseSoundsFinal

EARLY_S: Final = 0.09  # three of the VAD's windows of 32 ms: the first 0.1 s of a silence
KEPT_S: Final = 16.0  # of a caller's sound, at most; the model hears the last 8 s

Sound: TypeAlias = NDArray[np.float32]
TellPause: TypeAlias = Callable[[type[PauseFrame]], None]


def silence_of(vad: VADAnalyzer) -> float | None:
    """Return for how long a caller who spoke has been silent, in seconds; 0: not silent.

    None: the utterance is over, or has not begun.
    """
    match vad._vad_state:  # noqa: SLF001 - Pipecat tells only when it is sure
        case VADState.SPEAKING:
            return 0.0
        case VADState.STOPPING:
            return vad._vad_stopping_count * vad._vad_frames / vad.sample_rate  # noqa: SLF001
        case _:
            return None


def heard_again(vad: VADAnalyzer) -> bool:
    """Say whether there is sound that may become speech; the VAD is not sure yet."""
    return vad._vad_state is VADState.STARTING  # noqa: SLF001


@dataclass(frozen=True, slots=True, kw_only=True)
class DetectorSettings:
    """How long a turn detector may take, and when it begins; in seconds."""

    unfinished_s: float = 1.2  # of silence end a turn that did not sound finished
    within_s: float = 0.25  # of the VAD's stop; then silence has decided
    stop_s: float = 0.2  # of silence make the VAD's stop
    early: bool = True


class TurnDetector(LocalSmartTurnAnalyzerV3):
    """Pipecat's turn detector with a model and threads that all calls share, and a time limit.

    It begins when 0.1 s of silence has passed, and has the answer ready when the VAD is sure that
    the caller stopped. The model knows the sound of a caller who has been silent for 0.2 s, so the
    silence that is to come is put behind what there is. If the caller speaks on, the look is
    dropped. One that says "not finished" is worth a second, with all of the silence: it
    would cost the caller a second of waiting, and nobody is kept waiting by asking.

    What has no answer in time was the end of the turn: silence has decided, if it is silence.

    Attributes:
        tell_pause: Called with the news of a pause, before the VAD is sure of it.
    """

    def __init__(  # noqa: PLR0913 - what it hears, and what it judges with
        self,
        session: Any,
        *,
        vad: VADAnalyzer,
        faintness: Faintness,
        settings: DetectorSettings,
        judges: TurnJudges,
        clock: Callable[[], float],
        tell: Tell,
    ) -> None:
        """Prepare.

        Args:
            session: The loaded model.
            vad: Hears each piece of sound before it comes here.
            faintness: Hears it with the VAD.
            settings: How long it may take.
            judges: Look for all calls.
            clock: Monotonic, in seconds.
            tell: Takes the facts.
        """
        params = SmartTurnParams(stop_secs=settings.unfinished_s)
        BaseSmartTurn.__init__(self, params=params)  # past the parent: it would load
        self._log_data = False
        self._session = session
        self._vad = vad
        self._faintness = faintness
        self._settings = settings
        self._judges = judges
        self._clock = clock
        self._tell = tell
        self._begun: PendingJudgement | None = None
        self._paused = False  # and above they know
        self.tell_pause: TellPause = lambda _: None
        self._dropped: list[
            PendingJudgement
        ] = []  # looks whose answers nobody needed, since the last stop

    def append_audio(self, buffer: bytes, is_speech: bool) -> EndOfTurnState:  # noqa: FBT001 - Pipecat's
        """Keep sound, and drop what is too old to be looked at."""
        state = super().append_audio(buffer, is_speech)
        if self._audio_buffer and self._audio_buffer[-1][0] - self._audio_buffer[0][0] > KEPT_S:
            del self._audio_buffer[: len(self._audio_buffer) // 2]
        return state

    def note_silence(self) -> None:
        """Begin when the caller has been silent for a moment; forget it if they speak on."""
        silence_s = silence_of(self._vad)
        if silence_s is None or not self._settings.early:
            self._paused = False
            return
        silence_s = max(silence_s, self._faintness.lasts_s)
        ahead_s = self._settings.stop_s - silence_s
        if silence_s < EARLY_S:
            self.forget()
            if self._paused:
                self._paused = False
                self.tell_pause(PauseEnded)
        elif self._begun is None and ahead_s > 0:
            self._begun = self._ask(self._clock() + ahead_s + self._settings.within_s, ahead_s)
            self._begun.on_end = partial(self._found_early, self._begun)
            self._paused = True
            self.tell_pause(PauseBegan)

    def _found_early(self, look: PendingJudgement, judgement: Judgement | None) -> None:
        of_this_pause = self._paused and self._begun is look  # a dropped one may end in the next
        if of_this_pause and judgement and judgement.finished:
            self.tell_pause(PauseSoundsFinal)

    def forget(self) -> None:
        """Drop what was begun: the caller speaks on, or somebody else ended the turn."""
        if self._begun is not None:
            self._judges.drop(self._begun)
            self._dropped.append(self._begun)
            self._begun = None

    async def analyze_end_of_turn(self) -> tuple[EndOfTurnState, MetricsData | None]:
        """Return whether the caller has finished, in no more than the time there is."""
        if not self._audio_buffer:  # it was silent for so long that there is nothing to look at
            return EndOfTurnState.INCOMPLETE, None
        begin_s = self._clock()
        until = begin_s + self._settings.within_s
        early = self._begun is not None
        judgement = await self._answer(until)
        if judgement is None or not judgement.finished:
            early = early and judgement is not None
            self._begun = self._ask(until)
            if again := await self._answer(until):
                judgement, early = again, False
        if judgement is None:  # perhaps given up before its time
            await asyncio.sleep(until - self._clock())
        finished = judgement.finished if judgement else not heard_again(self._vad)
        self._tell_of(judgement, finished=finished, early=early, waited_s=self._clock() - begin_s)
        state = EndOfTurnState.COMPLETE if finished else EndOfTurnState.INCOMPLETE
        if finished:
            self._clear(state)
        return state, _measured(judgement)

    def clear(self) -> None:
        """Forget what was said: the turn is over."""
        self.forget()
        super().clear()

    async def _answer(self, until: float) -> Judgement | None:
        """Return what comes of what was begun."""
        if self._begun is None:
            return None
        judgement = None
        try:
            judgement = await self._begun.wait(until - self._clock())
        finally:
            if judgement is None:  # late, or the caller speaks on
                self.forget()
            self._begun = None
        return judgement

    def _ask(self, due_at: float, ahead_s: float = 0.0) -> PendingJudgement:
        look = partial(self._look, self._sound(), round(ahead_s * self.sample_rate))
        return self._judges.ask(self, look, due_at=due_at)

    def _sound(self) -> list[NDArray[np.int16]]:
        """Return what is looked at, uncopied: the last of what was said since the turn began."""
        lead_s = self._params.pre_speech_ms / 1000 + self._vad_start_secs
        since = self._speech_start_time - lead_s
        left = round(self._params.max_duration_secs * self.sample_rate)
        pieces: list[NDArray[np.int16]] = []
        for at, piece in reversed(self._audio_buffer):
            if at < since or left <= 0:
                break
            pieces.append(piece)
            left -= len(piece)
        return pieces[::-1]

    def _look(self, pieces: list[NDArray[np.int16]], ahead: int) -> Judgement:
        """Ask the model, in a thread."""
        begin_s = self._clock()
        silence = np.zeros(ahead, dtype=np.int16)
        sound: Sound = np.concatenate([*pieces, silence]).astype(np.float32) / 32768.0
        features = log_mel(self._resample_to_model_rate(sound))
        (found,) = self._session.run(None, {"input_features": features[np.newaxis]})
        return Judgement(probability=float(found[0].item()), took_s=self._clock() - begin_s)

    def _tell_of(
        self, judgement: Judgement | None, *, finished: bool, early: bool, waited_s: float
    ) -> None:
        dropped, self._dropped = self._dropped, []
        self._tell(
            PauseJudged(
                finished=finished,
                by="detector" if judgement else "silence",
                early=early,
                waited_s=waited_s,
                took_s=judgement.took_s if judgement else 0.0,
                dropped=sum(each.began for each in dropped),
                dropped_s=sum(each.took_s for each in dropped),
            )
        )


def _measured(judgement: Judgement | None) -> TurnMetricsData | None:
    if judgement is None:
        return None
    return TurnMetricsData(
        processor="BaseSmartTurn",
        is_complete=judgement.finished,
        probability=judgement.probability,
        e2e_processing_time_ms=judgement.took_s * 1000,
    )
