"""Watches the frames of a call from outside and tells what they mean; it delays nothing."""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final, TypeAlias

from pipecat.frames.frames import (
    BotStartedSpeakingFrame,
    BotStoppedSpeakingFrame,
    ErrorFrame,
    Frame,
    InputDTMFFrame,
    InterruptionFrame,
    LLMContextAssistantTurnFrame,
    LLMContextFrame,
    LLMTextFrame,
    MetricsFrame,
    TranscriptionFrame,
    TTSAudioRawFrame,
    VADUserStartedSpeakingFrame,
    VADUserStoppedSpeakingFrame,
)
from pipecat.metrics.metrics import LLMUsageMetricsData, STTUsageMetricsData, TTSUsageMetricsData
from pipecat.observers.base_observer import BaseObserver, FramePushed
from pipecat.processors.frame_processor import FrameDirection

from calls.entry import Tell
from calls.events import (
    AgentSaid,
    BargedIn,
    CallerStarted,
    CallerStopped,
    Event,
    FirstSpeech,
    FirstToken,
    KeyPressed,
    ProviderFailed,
    TranscriptFinal,
    TurnDecided,
    TurnEnded,
    UsageMeasured,
)
from calls.phase import CallPhase, Phase
from calls.timeline import Timeline

Read: TypeAlias = Callable[["CallObserver", Any, FramePushed, float], None]


class CallObserver(BaseObserver):
    """Turns frames into facts, drives the phase and the timeline.

    Args:
        tell: Takes each fact.
        clock: Seconds on the monotonic clock.
        timeline: Of this call.
        provider_of: The rung's name for a Pipecat processor's name.
    """

    def __init__(
        self,
        *,
        tell: Tell,
        clock: Callable[[], float],
        timeline: Timeline,
        provider_of: Mapping[str, str],
    ) -> None:
        super().__init__(observe_every_push=False)
        self.phase = CallPhase()
        self._tell = tell
        self._clock = clock
        self._timeline = timeline
        self._provider_of = provider_of
        self._clock_offset_s: float | None = None
        self._turn_open = False  # the caller has said something that we have not answered
        self._awaited: set[type[Frame]] = set()  # whose first frame of this turn is yet to come
        self._cut_short = False

    async def on_push_frame(self, data: FramePushed) -> None:
        """Read one frame, when it is one that means something."""
        read = READS.get(type(data.frame))
        if read and (data.direction is FrameDirection.DOWNSTREAM or type(data.frame) is ErrorFrame):
            read(self, data.frame, data, self._moment_s(data))

    def heard(self, at_s: float) -> None:
        """Note the first audible sample of an utterance on the caller's line."""
        self._say(*self._timeline.heard(at_s))

    def ended(self) -> None:
        """Note that the call is over."""
        self._move(Phase.ENDED, "call ended")

    def _moment_s(self, data: FramePushed) -> float:
        """Return when the frame was pushed, on the monotonic clock.

        The pipeline's clock started at an unknown moment, and observers run behind a queue: the
        smallest difference seen so far is the one with the least waiting in it.
        """
        pushed_s = data.timestamp / 1e9
        offset_s = self._clock() - pushed_s
        if self._clock_offset_s is None or offset_s < self._clock_offset_s:
            self._clock_offset_s = offset_s
        return pushed_s + self._clock_offset_s

    def _say(self, *events: Event) -> None:
        for event in events:
            self._tell(event)
            self._timeline.handle(event)

    def _move(self, target: Phase, cause: str) -> None:
        self._say(*self.phase.transition_to(target, cause))

    def _provider(self, data: FramePushed) -> str:
        return self._provider_of.get(data.source.name, data.source.name)

    def _caller_started(self, _frame: Frame, _data: FramePushed, at_s: float) -> None:
        self._say(CallerStarted(at_s=at_s))

    def _caller_stopped(
        self, frame: VADUserStoppedSpeakingFrame, _data: FramePushed, at_s: float
    ) -> None:
        self._turn_open = True
        self._say(CallerStopped(at_s=at_s - frame.stop_secs, noticed_at_s=at_s))

    def _transcribed(self, frame: TranscriptionFrame, data: FramePushed, at_s: float) -> None:
        self._turn_open = True
        best, *others = alternatives(frame.result) or [(frame.text, None)]
        self._say(
            TranscriptFinal(
                turn=self._timeline.number + 1,
                at_s=at_s,
                provider=self._provider(data),
                text=frame.text,
                language=str(frame.language) if frame.language else None,
                confidence=best[1],
                alternatives=tuple(text for text, _ in others),
            )
        )

    def _decided(self, _frame: Frame, _data: FramePushed, at_s: float) -> None:
        if not self._turn_open:  # a tool's result, or a reply that the house asked for
            return
        self._turn_open = False
        self._awaited = {LLMTextFrame, TTSAudioRawFrame}
        self._say(TurnDecided(turn=self._timeline.number + 1, at_s=at_s))
        self._move(Phase.PROCESSING, "turn decided")

    def _first_token(self, frame: LLMTextFrame, data: FramePushed, at_s: float) -> None:
        if LLMTextFrame in self._awaited and frame.text.strip():
            self._awaited.discard(LLMTextFrame)
            turn = self._timeline.number
            self._say(FirstToken(turn=turn, at_s=at_s, provider=self._provider(data)))

    def _first_speech(self, _frame: Frame, data: FramePushed, at_s: float) -> None:
        if TTSAudioRawFrame in self._awaited:
            self._awaited.discard(TTSAudioRawFrame)
            turn = self._timeline.number
            self._say(FirstSpeech(turn=turn, at_s=at_s, provider=self._provider(data)))

    def _speaking(self, _frame: Frame, _data: FramePushed, _at_s: float) -> None:
        self._cut_short = False
        self._move(Phase.SPEAKING, "agent speaks")

    def _interrupted(self, _frame: Frame, _data: FramePushed, at_s: float) -> None:
        if self.phase.current_state is Phase.SPEAKING:
            self._cut_short = True
            self._say(BargedIn(turn=self._timeline.number, at_s=at_s))
        self._move(Phase.LISTENING, "caller speaks")

    def _silent(self, _frame: Frame, _data: FramePushed, at_s: float) -> None:
        if self.phase.current_state is Phase.SPEAKING:
            self._move(Phase.LISTENING, "agent has spoken")
        turn = self._timeline.number
        self._say(TurnEnded(turn=turn, at_s=at_s, interrupted=self._cut_short))

    def _agent_said(
        self, frame: LLMContextAssistantTurnFrame, _data: FramePushed, _at_s: float
    ) -> None:
        if frame.text:
            self._say(AgentSaid(turn=self._timeline.number, text=frame.text))

    def _key(self, frame: InputDTMFFrame, _data: FramePushed, _at_s: float) -> None:
        self._say(*(KeyPressed(key=each.value) for each in frame.buttons))

    def _failed(self, frame: ErrorFrame, data: FramePushed, _at_s: float) -> None:
        source = frame.processor.name if frame.processor else data.source.name
        cause = type(frame.exception).__name__ if frame.exception else "error"
        self._say(
            ProviderFailed(
                stage=stage_of(source),
                provider=self._provider_of.get(source, source),
                error=f"{frame.category.value}: {cause}",
            )
        )

    def _measured(self, frame: MetricsFrame, _data: FramePushed, _at_s: float) -> None:
        for each in frame.data:
            if usage := USES.get(type(each)):
                stage, amounts = usage
                self._say(
                    UsageMeasured(
                        turn=self._timeline.number,
                        stage=stage,
                        provider=self._provider_of.get(each.processor, each.processor),
                        model=each.model or "",
                        **amounts(each),
                    )
                )


def stage_of(processor: str) -> str:
    """Return the stage that a Pipecat processor's name speaks of: stt, llm, tts or line."""
    return next((stage for stage in ("stt", "llm", "tts") if stage in processor.lower()), "line")


def alternatives(result: Any) -> list[tuple[str, float | None]]:
    """Return a recogniser's readings with their confidence (0..1), the best one first.

    Args:
        result: What the service attached to its transcript: Deepgram's Results message, whose
            shape is `channel.alternatives[].{transcript, confidence}`; anything else gives none.
    """
    found = getattr(getattr(result, "channel", None), "alternatives", None) or ()
    return [(str(each.transcript), getattr(each, "confidence", None)) for each in found]


def _tokens(data: LLMUsageMetricsData) -> dict[str, Any]:
    return {
        "prompt_tokens": data.value.prompt_tokens,
        "completion_tokens": data.value.completion_tokens,
        "cached_tokens": data.value.cache_read_input_tokens or 0,
    }


def _characters(data: TTSUsageMetricsData) -> dict[str, Any]:
    return {"characters": data.value}


def _seconds(data: STTUsageMetricsData) -> dict[str, Any]:
    return {"audio_s": data.value.audio_seconds}


USES: Final[Mapping[type, tuple[str, Callable[[Any], dict[str, Any]]]]] = {
    LLMUsageMetricsData: ("llm", _tokens),
    TTSUsageMetricsData: ("tts", _characters),
    STTUsageMetricsData: ("stt", _seconds),
}

READS: Final[Mapping[type[Frame], Read]] = {
    VADUserStartedSpeakingFrame: CallObserver._caller_started,
    VADUserStoppedSpeakingFrame: CallObserver._caller_stopped,
    TranscriptionFrame: CallObserver._transcribed,
    LLMContextFrame: CallObserver._decided,
    LLMTextFrame: CallObserver._first_token,
    TTSAudioRawFrame: CallObserver._first_speech,
    BotStartedSpeakingFrame: CallObserver._speaking,
    InterruptionFrame: CallObserver._interrupted,
    BotStoppedSpeakingFrame: CallObserver._silent,
    LLMContextAssistantTurnFrame: CallObserver._agent_said,
    InputDTMFFrame: CallObserver._key,
    ErrorFrame: CallObserver._failed,
    MetricsFrame: CallObserver._measured,
}

Captions: TypeAlias = Callable[[dict[str, Any]], Awaitable[None]]
"""Shows one caption to the caller's own screen: `who`, `text` and whether it is `final`."""
