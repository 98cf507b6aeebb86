"""The turn detector: decides whether a caller who paused has finished, before Pipecat asks."""

import asyncio
import os
from collections.abc import Callable, Hashable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Any, Final, TypeAlias

import numpy as np
from loguru import logger
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray
from pipecat.audio.turn.base_turn_analyzer import EndOfTurnState
from pipecat.audio.turn.smart_turn import _whisper_features as whisper
from pipecat.audio.turn.smart_turn.base_smart_turn import BaseSmartTurn, SmartTurnParams
from pipecat.audio.turn.smart_turn.local_smart_turn_v3 import LocalSmartTurnAnalyzerV3
from pipecat.audio.vad.vad_analyzer import VADAnalyzer, VADState
from pipecat.metrics.metrics import MetricsData, TurnMetricsData

from calls.entry import Emit
from fallbacks.events import PauseJudged
from processors.turn.ending import PauseBegan, PauseEnded, PauseFrame, PauseSoundsFinal
from processors.turn.judging_rules import AnalysisQueue, AnalysisRequest
from processors.turn.sound_path import Faintness

SAMPLES: Final = 8 * 16_000  # the model's input: 8 s at 16 kHz
WINDOW: Final = 400  # samples; this and `HOP` are those of Whisper's feature extractor
HOP: Final = 160  # samples from one window to the next
MIN_POWER: Final = 1e-10  # the least power in a band
MIN_VARIANCE: Final = 1e-7
DECADES: Final = 8.0  # dynamic range: bands further below the loudest are raised to this level
HANN: Final = np.hanning(WINDOW + 1)[:-1]
BANDS: Final = whisper._MEL_FILTERS.T  # noqa: SLF001 - 80 bands (Slaney); computed once at import

STEP_FRAMES: Final = 50  # computed at a time; windows and spectra take 160 kB each (chosen)


def log_mel(sound: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return Whisper's log-mel features of the last 8 s of audio, padded with silence before it.

    The values are those of Pipecat's `compute_whisper_log_mel_features`, computed for 50 frames at
    a time. Pipecat computes all 800 at once: each analysis allocates and frees 6.7 MB, and OpenBLAS
    splits one small product among threads that mostly wait for each other (docs/decisions/0004).

    Args:
        sound: Samples at 16 kHz, from -1 to 1.

    Returns:
        80 bands times 800 frames of 10 ms, about -1 to 1.
    """
    samples = np.zeros(SAMPLES, np.float32)
    kept = sound[-SAMPLES:]
    silent = SAMPLES - len(kept)
    samples[silent:] = kept
    samples = (samples - samples.mean()) / np.sqrt(samples.var() + MIN_VARIANCE)
    decades = np.log10(np.maximum(MIN_POWER, _band_power(samples, silent)))[:, :-1]
    features = (np.maximum(decades, decades.max() - DECADES) + 4.0) / 4.0
    return features.astype(np.float32)


def _band_power(samples: NDArray[np.float32], silent: int) -> NDArray[np.float64]:
    """Return the power by band and frame, with one extra frame at the end.

    The first `silent` samples are equal, so their frames are computed once: three quarters of all
    frames for an utterance of 2 s.
    """
    padded = np.pad(samples.astype(np.float64), WINDOW // 2, mode="reflect")
    windows = sliding_window_view(padded, WINDOW)[::HOP]
    power = np.empty((len(BANDS), len(windows)))
    first = max(0, (silent - WINDOW // 2) // HOP)  # its window is the last without sound
    for at in range(first, len(windows), STEP_FRAMES):
        spectra = np.fft.rfft(windows[at : at + STEP_FRAMES] * HANN, axis=-1)
        power[:, at : at + STEP_FRAMES] = BANDS @ (np.abs(spectra) ** 2).T
    power[:, :first] = power[:, first, None]
    return power


WIDTH: Final = os.cpu_count() or 1  # analyses that run at once


@dataclass(frozen=True, slots=True, kw_only=True)
class Judgement:
    """The result of one analysis."""

    probability: float  # that the caller has finished
    took_s: float  # time in its thread

    @property
    def finished(self) -> bool:
        """Whether the caller has probably finished."""
        return self.probability > 0.5  # the same threshold as Pipecat's


Examine: TypeAlias = Callable[[], Judgement]
"""Analyses a caller's audio; slow, and called in a thread."""

RunBeside: TypeAlias = Callable[[Examine], "asyncio.Future[Judgement]"]
"""Runs an analysis in a thread, while the event loop continues."""


class PendingJudgement:
    """The pending result of an analysis.

    Attributes:
        request: The queued request.
        began: Whether the analysis has started in a thread.
        took_s: How long it took; 0 until it has ended, and if it was skipped or failed.
        on_end: Called with the result, or with `None` if it was skipped or failed.
    """

    def __init__(self, request: AnalysisRequest) -> None:
        self.request = request
        self.on_end: Callable[[Judgement | None], None] = lambda _: None
        self.began = False
        self.took_s = 0.0
        self._judgement: Judgement | None = None
        self._ended = asyncio.Event()

    async def wait(self, wait_s: float) -> Judgement | None:
        """Return the result; `None` if it takes longer than `wait_s`, was skipped, or failed."""
        if not self._ended.is_set() and wait_s > 0:
            try:
                async with asyncio.timeout(wait_s):
                    await self._ended.wait()
            except TimeoutError:
                return None
        return self._judgement

    def end(self, judgement: Judgement | None) -> None:
        """Deliver the result; `None` if it was skipped, or failed.

        This wakes `wait`, and calls `on_end`.
        """
        self._judgement = judgement
        self.took_s = judgement.took_s if judgement else 0.0
        self._ended.set()
        self.on_end(judgement)


class TurnJudges:
    """Queues the analyses of all calls and runs the most urgent first.

    Requests and their order live in the event loop; only the analysis runs in threads.
    """

    def __init__(
        self, *, clock: Callable[[], float], width: int = WIDTH, run: RunBeside | None = None
    ) -> None:
        """Create a queue without requests.

        Args:
            clock: Monotonic, in seconds.
            width: How many analyses may run at once.
            run: Runs an analysis in another thread; `None` to use a pool of threads.
        """
        self._now = clock
        self._queue = AnalysisQueue(width=width)
        self._threads = ThreadPoolExecutor(width, thread_name_prefix="turn judge")
        self._run = run or self._run_in_thread
        self._waiting: dict[AnalysisRequest, tuple[PendingJudgement, Examine]] = {}
        self._logged: set[type[BaseException]] = set()

    def ask(self, call: Hashable, examine: Examine, *, due_at: float) -> PendingJudgement:
        """Request an analysis of a call's audio; the call's earlier, waiting request is dropped.

        A request that would end after `due_at` (monotonic) is dropped without a result.
        """
        pending = PendingJudgement(AnalysisRequest(call, due_at))
        self._waiting[pending.request] = (pending, examine)
        self._skip_waiting(self._queue.add(pending.request))
        self._start_due()
        return pending

    def drop(self, pending: PendingJudgement) -> None:
        """Drop a request that is no longer needed; an analysis that has started continues."""
        self._queue.drop(pending.request)
        if not pending.began:
            self._skip_waiting(pending.request)

    def close(self) -> None:
        """Shut the threads down, without waiting."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    def _start_due(self) -> None:
        """Drop the requests that would end too late, and start the most urgent ones in threads.

        A dropped request has no result.
        """
        for late in self._queue.expire(self._now()):
            self._skip_waiting(late)
        while (request := self._queue.take()) is not None:
            pending, examine = self._waiting.pop(request)
            pending.began = True
            begun_at = self._now()
            self._run(examine).add_done_callback(
                partial(self._deliver_and_start_next, pending, begun_at)
            )

    def _deliver_and_start_next(
        self, pending: PendingJudgement, begun_at: float, done: "asyncio.Future[Any]"
    ) -> None:
        """Deliver an analysis's result, `None` if it failed, and start the next ones.

        A broken model fails in each pause, so each kind of error is logged only once.
        """
        error = None if done.cancelled() else done.exception()
        if error is not None and type(error) not in self._logged:
            self._logged.add(type(error))
            logger.opt(exception=error).error("a pause could not be judged: silence decides")
        self._queue.ended(took_s=self._now() - begun_at)
        pending.end(None if done.cancelled() or error is not None else done.result())
        self._start_due()

    def _skip_waiting(self, request: AnalysisRequest | None) -> None:
        """Deliver no result for a request if it has not been started; `None` does nothing."""
        if request is not None and (waiting := self._waiting.pop(request, None)):
            pending, _ = waiting
            pending.end(None)

    def _run_in_thread(self, examine: Examine) -> "asyncio.Future[Judgement]":
        return asyncio.get_running_loop().run_in_executor(self._threads, examine)


EARLY_S: Final = 0.09  # just under three VAD windows of 32 ms, which are some 0.1 s of silence
SPEECH_KEPT_S: Final = 16.0  # of a caller's audio, at most; the model gets the last 8 s

Sound: TypeAlias = NDArray[np.float32]
TellPause: TypeAlias = Callable[[type[PauseFrame]], None]


def silence_of(vad: VADAnalyzer) -> float | None:
    """Return how long the caller has paused, in seconds; 0 while they speak.

    `None` if the VAD is not in an utterance.
    """
    match vad._vad_state:  # noqa: SLF001 - Pipecat reports only the final decision
        case VADState.SPEAKING:
            return 0.0
        case VADState.STOPPING:
            return vad._vad_stopping_count * vad._vad_frames / vad.sample_rate  # noqa: SLF001
        case _:
            return None


def heard_again(vad: VADAnalyzer) -> bool:
    """Return whether the VAD hears sound that may be the start of speech."""
    return vad._vad_state is VADState.STARTING  # noqa: SLF001


@dataclass(frozen=True, slots=True, kw_only=True)
class DetectorSettings:
    """The time limits of a turn detector, in seconds."""

    unfinished_s: float = 1.2  # silence that ends a turn that did not sound finished
    within_s: float = 0.25  # limit for a result, from the VAD's stop; then silence decides
    stop_s: float = 0.2  # silence after which the VAD reports a stop
    early: bool = True  # whether analyses start before the VAD reports the stop


class TurnDetector(LocalSmartTurnAnalyzerV3):
    """Pipecat's turn detector with a model and threads that all calls share, and a time limit.

    An analysis starts after 0.1 s of silence, so its result can be ready when the VAD reports the
    stop. The model was trained on audio that ends with 0.2 s of silence, so the missing silence is
    appended. If the caller resumes, the analysis is dropped. After "not finished", a second
    analysis gets the audio with all of the silence. It delays nothing, because the turn is waiting
    anyway, and without it a wrong "not finished" would make the caller wait a second longer.

    If there is no result in time, silence decides: the turn ends unless there is new sound.

    Attributes:
        tell_pause: Called when a pause begins, sounds final or ends, before the VAD reports it.
    """

    def __init__(
        self,
        session: Any,
        *,
        vad: VADAnalyzer,
        faintness: Faintness,
        settings: DetectorSettings,
        judges: TurnJudges,
        clock: Callable[[], float],
        emit: Emit,
    ) -> None:
        """Create the detector of one call.

        Args:
            session: The loaded model.
            vad: Has already processed each piece of audio that arrives here.
            faintness: Measures the same audio.
            settings: The time limits.
            judges: Runs the analyses of all calls.
            clock: Monotonic, in seconds.
            emit: Publishes events.
        """
        params = SmartTurnParams(stop_secs=settings.unfinished_s)
        BaseSmartTurn.__init__(self, params=params)  # skips the parent, which would load the model
        self._log_data = False
        self._session = session
        self._vad = vad
        self._faintness = faintness
        self._settings = settings
        self._judges = judges
        self._clock = clock
        self._emit = emit
        self._analysis: PendingJudgement | None = None
        self._paused = False  # a pause is in progress, and was reported with `tell_pause`
        self.tell_pause: TellPause = lambda _: None
        # Analyses since the last stop whose results were not needed.
        self._dropped: list[PendingJudgement] = []

    def append_audio(self, buffer: bytes, is_speech: bool) -> EndOfTurnState:  # noqa: FBT001 - Pipecat's
        """Keep audio; once there is more than `SPEECH_KEPT_S`, drop the older half."""
        state = super().append_audio(buffer, is_speech)
        if (
            self._audio_buffer
            and self._audio_buffer[-1][0] - self._audio_buffer[0][0] > SPEECH_KEPT_S
        ):
            del self._audio_buffer[: len(self._audio_buffer) // 2]
        return state

    def note_silence(self) -> None:
        """Start an analysis when the caller has paused; drop it if they go on; report both.

        Called after the VAD has processed a piece of audio, while the caller speaks or may have
        stopped.
        """
        silence_s = silence_of(self._vad)
        if silence_s is None or not self._settings.early:
            self._paused = False
            return
        silence_s = max(silence_s, self._faintness.lasts_s)
        padding_s = self._settings.stop_s - silence_s
        if silence_s < EARLY_S:
            self.forget()
            if self._paused:
                self._paused = False
                self.tell_pause(PauseEnded)
        elif self._analysis is None and padding_s > 0:
            self._analysis = self._start_analysis(
                self._clock() + padding_s + self._settings.within_s, padding_s
            )
            self._analysis.on_end = partial(self._report_early, self._analysis)
            self._paused = True
            self.tell_pause(PauseBegan)

    def _report_early(self, analysis: PendingJudgement, judgement: Judgement | None) -> None:
        """Report that the pause sounds final, if the analysis of this pause says so."""
        of_this_pause = self._paused and self._analysis is analysis  # a dropped one may still end
        if of_this_pause and judgement and judgement.finished:
            self.tell_pause(PauseSoundsFinal)

    def forget(self) -> None:
        """Drop the analysis: the caller goes on, or the turn has ended in another way.

        If it had started, the next `PauseJudged` counts it as dropped.
        """
        if self._analysis is not None:
            self._judges.drop(self._analysis)
            self._dropped.append(self._analysis)
            self._analysis = None

    async def analyze_end_of_turn(self) -> tuple[EndOfTurnState, MetricsData | None]:
        """Return within the time limit whether the caller has finished, and the metrics.

        The decision is published. If the caller has finished, the audio is cleared. Without audio,
        nothing is published, and the turn stays open.
        """
        if not self._audio_buffer:  # after a long silence there is nothing to analyse
            return EndOfTurnState.INCOMPLETE, None
        begin_s = self._clock()
        until = begin_s + self._settings.within_s
        early = self._analysis is not None
        judgement = await self._wait_for_result(until)
        if judgement is None or not judgement.finished:
            early = early and judgement is not None
            self._analysis = self._start_analysis(until)  # with all of the silence
            if second := await self._wait_for_result(until):
                judgement, early = second, False
        if judgement is None:  # skipped or failed before the limit: listen for new sound until then
            await asyncio.sleep(until - self._clock())
        finished = judgement.finished if judgement else not heard_again(self._vad)
        self._emit_decision(
            judgement, finished=finished, early=early, waited_s=self._clock() - begin_s
        )
        state = EndOfTurnState.COMPLETE if finished else EndOfTurnState.INCOMPLETE
        if finished:
            self._clear(state)
        return state, _metrics_of(judgement)

    def clear(self) -> None:
        """Reset: the turn is over."""
        self.forget()
        super().clear()

    async def _wait_for_result(self, until: float) -> Judgement | None:
        """Return the result of the analysis in progress, or `None` if there is none by `until`.

        That analysis is over then: one that is late is dropped.
        """
        if self._analysis is None:
            return None
        judgement = None
        try:
            judgement = await self._analysis.wait(until - self._clock())
        finally:
            if judgement is None:  # late, or the caller goes on
                self.forget()
            self._analysis = None
        return judgement

    def _start_analysis(self, due_at: float, padding_s: float = 0.0) -> PendingJudgement:
        """Request an analysis of the turn so far and `padding_s` of silence after it."""
        examine = partial(self._run_model, self._turn_audio(), round(padding_s * self.sample_rate))
        return self._judges.ask(self, examine, due_at=due_at)

    def _turn_audio(self) -> list[NDArray[np.int16]]:
        """Return the end of the turn's audio, which is analysed, in pieces that are not copied."""
        lead_s = self._params.pre_speech_ms / 1000 + self._vad_start_secs
        since = self._speech_start_time - lead_s
        missing = round(self._params.max_duration_secs * self.sample_rate)  # samples
        pieces: list[NDArray[np.int16]] = []
        for at, piece in reversed(self._audio_buffer):
            if at < since or missing <= 0:
                break
            pieces.append(piece)
            missing -= len(piece)
        return pieces[::-1]

    def _run_model(self, pieces: list[NDArray[np.int16]], padding: int) -> Judgement:
        """Run the model on the pieces and `padding` samples of silence; called in a thread."""
        begin_s = self._clock()
        silence = np.zeros(padding, dtype=np.int16)
        sound: Sound = np.concatenate([*pieces, silence]).astype(np.float32) / 32768.0
        features = log_mel(self._resample_to_model_rate(sound))
        (found,) = self._session.run(None, {"input_features": features[np.newaxis]})
        return Judgement(probability=float(found[0].item()), took_s=self._clock() - begin_s)

    def _emit_decision(
        self, judgement: Judgement | None, *, finished: bool, early: bool, waited_s: float
    ) -> None:
        """Emit `PauseJudged`, with the analyses that were dropped since the last one.

        Without a judgement, silence has decided. `early` says that it was made before the VAD's
        report, `waited_s` how long the decision took.
        """
        dropped, self._dropped = self._dropped, []
        self._emit(
            PauseJudged(
                finished=finished,
                by="detector" if judgement else "silence",
                early=early,
                waited_s=waited_s,
                took_s=judgement.took_s if judgement else 0.0,
                dropped=sum(item.began for item in dropped),
                dropped_s=sum(item.took_s for item in dropped),
            )
        )


def _metrics_of(judgement: Judgement | None) -> TurnMetricsData | None:
    """Return Pipecat's metrics of a judgement; `None` without one."""
    if judgement is None:
        return None
    return TurnMetricsData(
        processor="BaseSmartTurn",
        is_complete=judgement.finished,
        probability=judgement.probability,
        e2e_processing_time_ms=judgement.took_s * 1000,
    )
