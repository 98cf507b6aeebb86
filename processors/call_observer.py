"""Turns the frames of a call into events, from outside the pipeline, without delaying frames."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, Final, TypeAlias

from pipecat.frames.frames import (
    BotStartedSpeakingFrame,
    BotStoppedSpeakingFrame,
    ErrorFrame,
    Frame,
    InputAudioRawFrame,
    InterruptionFrame,
    LLMContextAssistantTurnFrame,
    LLMContextFrame,
    LLMMessagesTransformFrame,
    LLMTextFrame,
    TTSAudioRawFrame,
    TTSStoppedFrame,
    TTSTextFrame,
)
from pipecat.observers.base_observer import BaseObserver, FrameProcessed, FramePushed
from pipecat.pipeline.worker_observer import WorkerObserver
from pipecat.processors.aggregators.llm_response_universal import LLMAssistantAggregator
from pipecat.processors.frame_processor import FrameDirection
from pipecat.transports.base_output import BaseOutputTransport

from calls.entry import Emit
from calls.events import (
    AgentSaid,
    BargedIn,
    CallerStarted,
    CallerStopped,
    DictationHeard,
    Event,
    FirstSpeech,
    FirstToken,
    TurnDecided,
    TurnEnded,
)
from calls.timeline import CallPhase, Phase, Timeline
from calls.turn import Turn
from processors.holding.own_voice import ClipAudioRawFrame
from processors.readings import READINGS, Seen
from processors.speaking.captions import join_speech
from processors.speaking.speech_queue import CORRECTIONS, WITHDRAWN
from processors.turn.floor import Floor, FloorEvent

# Read again, after the first push, when the output passes them on: by `UnkeptWords`, `Captions`.
READ_AGAIN: Final = (TTSTextFrame, TTSStoppedFrame, InterruptionFrame)


class DirectObserver(WorkerObserver):
    """Pipecat's proxy for a call's observers, without the reports that no observer reads.

    Pipecat's class wakes every observer's task for each pushed frame, and again when a processor
    begins to process it. Our observers read only pushed frames, and none of the caller's audio.
    Of most frames they read only the first push. Waking them for the others, such as for each piece
    of the agent's audio at every processor, would cost a tenth of a call's processor time.
    """

    async def on_process_frame(self, data: FrameProcessed) -> None:
        """Ignore that a processor begins to process a frame."""

    async def on_push_frame(self, data: FramePushed) -> None:
        """Forward the pushes that an observer may read.

        Those are the first push of each frame, and every push of `READ_AGAIN`; none of the caller's
        audio.
        """
        frame = data.frame
        if isinstance(frame, InputAudioRawFrame):
            return
        if frame.id not in self._frames_pushed or isinstance(frame, READ_AGAIN):
            await super().on_push_frame(data)


FrameReader: TypeAlias = Callable[[Any, FramePushed, float], None]
"""Reads a frame of one type; gets its push, and the time of the push (monotonic, s)."""


class CallObserver(BaseObserver):
    """Turns frames into events, and drives the phase and the timeline.

    Args:
        timeline: The call's timeline.
        provider_of: Returns the active rung for a Pipecat processor's name.
        floor: The call's floor.
        turn: The turn in progress; this class sets its number.
        emit: Publishes events.
        clock: Monotonic, in seconds.
        unkept: Also gets each push; here and not as an observer of its own, which would be woken
            for every frame.
    """

    def __init__(
        self,
        *,
        timeline: Timeline,
        provider_of: Callable[[str], str],
        floor: Floor,
        turn: Turn,
        emit: Emit,
        clock: Callable[[], float],
        unkept: "UnkeptWords | None" = None,
    ) -> None:
        super().__init__(observe_every_push=True)
        self._unkept = unkept
        self.phase = CallPhase()
        self._emit = emit
        self._clock = clock
        self._timeline = timeline
        self._turn = turn
        self._floor = floor
        floor.listeners.append(self._on_floor_event)
        self._provider_of = provider_of
        self._clock_offset_s: float | None = None
        self._awaited: set[type[Frame]] = set()  # types whose first frame of this turn is pending
        self._cut_short = False
        self._interruption: Frame | None = None  # the latest since the agent began to speak
        self._said: AgentSaid | None = None  # waits for corrections
        self._corrections = 0  # that it waits for
        self._played: set[type[Frame]] = set()  # types of audio since the agent began to speak
        self._heard_at_s: float | None = None  # not published yet
        self._frame_readers: Mapping[type[Frame], FrameReader] = {
            LLMContextFrame: self._note_question,
            LLMContextAssistantTurnFrame: self._note_agent_turn,
            LLMMessagesTransformFrame: self._note_correction,
            LLMTextFrame: self._note_first_token,
            TTSAudioRawFrame: self._note_first_speech,
            ClipAudioRawFrame: self._note_first_speech,
            BotStartedSpeakingFrame: self._note_speech,
            InterruptionFrame: self._note_interruption,
            BotStoppedSpeakingFrame: self._note_silence,
        }

    async def on_push_frame(self, data: FramePushed) -> None:
        """Read one frame, if its type is relevant.

        `unkept` gets every push, other code only the first of a frame. A first audible sample that
        `heard` recorded is published after it.
        """
        if self._unkept:
            self._unkept.take(data)
        if not data.first_push:
            return
        kind = type(data.frame)
        if data.direction is FrameDirection.DOWNSTREAM or kind is ErrorFrame:
            if reading := READINGS.get(kind):
                self._publish(*reading(data.frame, self._seen_at(data)))
            elif reader := self._frame_readers.get(kind):
                reader(data.frame, data, self._seen_at(data).at_s)
        self._emit_heard()

    def heard(self, at_s: float) -> None:
        """Record the first audible sample of an utterance on the caller's line.

        The line reports this before the observer has read all earlier frames from its queue. So the
        event is published only with the next frame that is read. Until then, further samples are
        ignored.
        """
        if self._heard_at_s is None:
            self._heard_at_s = at_s

    def _emit_heard(self) -> None:
        """Publish the first audible sample that `heard` recorded, if that is pending."""
        if self._heard_at_s is not None:
            at_s, self._heard_at_s = self._heard_at_s, None
            self._publish(*self._timeline.heard(at_s))

    def notice(self, event: Event) -> None:
        """Tell the timeline to measure a turn that stayed open from the end of its wait."""
        if isinstance(event, DictationHeard):
            self._timeline.handle(event)

    def _on_floor_event(self, event: FloorEvent) -> None:
        """Publish that the caller began or stopped speaking."""
        if isinstance(event, CallerStarted | CallerStopped):
            self._emit_heard()
            self._publish(event)

    def ended(self) -> None:
        """Record that the call is over; publish words that still wait for corrections."""
        self._emit_said()
        self._publish(*self.phase.transition_to(Phase.ENDED, "call_ended"))

    def _seen_at(self, data: FramePushed) -> Seen:
        """Return when and where a frame was pushed, and the state of the call.

        The pipeline's clock started at an unknown moment, and frames wait in the observer's queue.
        The smallest difference between the clocks so far contains the least waiting time. It is
        added to the pipeline's time, to get a time on the monotonic clock.
        """
        pushed_s = data.timestamp / 1e9  # nanoseconds to seconds
        now = self._clock()
        offset_s = now - pushed_s
        if self._clock_offset_s is None or offset_s < self._clock_offset_s:
            self._clock_offset_s = offset_s
        return Seen(
            at_s=pushed_s + self._clock_offset_s,
            source=data.source.name,
            turn=self._timeline.number,
            unanswered=self._floor.unanswered or self._floor.caller_speaking,
            provider_of=self._provider_of,
        )

    def _publish(self, *events: Event) -> None:
        """Publish events, and pass each to the timeline."""
        for event in events:
            self._emit(event)
            self._timeline.handle(event)

    def _note_question(self, _frame: Frame, data: FramePushed, at_s: float) -> None:
        """Publish that the caller's turn is decided, if the model is asked about its words.

        This gives the turn its number, and begins the phase of processing.
        """
        if not self._floor.unanswered:  # a tool's result, or a reply that our own code requested
            return
        if isinstance(data.source, LLMAssistantAggregator):  # it only stores the heard words
            return
        self._floor.model_asked()
        self._awaited = {LLMTextFrame, TTSAudioRawFrame}
        self._turn.number = self._timeline.number + 1
        self._publish(TurnDecided(turn=self._timeline.number + 1, at_s=at_s))
        self._publish(*self.phase.transition_to(Phase.PROCESSING, "turn_decided"))

    def _note_first_token(self, frame: LLMTextFrame, data: FramePushed, at_s: float) -> None:
        """Publish the first word of a turn's answer."""
        if LLMTextFrame in self._awaited and frame.text.strip():
            self._awaited.discard(LLMTextFrame)
            turn = self._timeline.number
            provider = self._provider_of(data.source.name)
            self._publish(FirstToken(turn=turn, at_s=at_s, provider=provider))

    def _note_first_speech(self, frame: TTSAudioRawFrame, data: FramePushed, at_s: float) -> None:
        """Publish the first audio of a turn's answer; note what kind of audio the output plays."""
        if isinstance(data.source, BaseOutputTransport):
            self._played.add(type(frame))
        if type(frame) in self._awaited:
            self._awaited.discard(TTSAudioRawFrame)
            turn = self._timeline.number
            provider = self._provider_of(data.source.name)
            self._publish(FirstSpeech(turn=turn, at_s=at_s, provider=provider))

    def _note_agent_turn(
        self, frame: LLMContextAssistantTurnFrame, _data: FramePushed, _at_s: float
    ) -> None:
        """Publish what the agent said; after an interruption, wait for corrections of it."""
        self._emit_said()
        self._said = AgentSaid(turn=self._timeline.number, text=frame.text)
        interrupted = self._interruption
        self._corrections = interrupted.metadata.get(CORRECTIONS, 0) if interrupted else 0
        if not self._corrections:
            self._emit_said()

    def _note_correction(
        self, frame: LLMMessagesTransformFrame, _data: FramePushed, _at_s: float
    ) -> None:
        """Correct the words to be published; publish them after the last correction."""
        if self._said is None or CORRECTIONS not in frame.metadata:
            return
        said: Any = {"role": "assistant", "content": self._said.text}
        heard: list[Any] = frame.transform([said])
        self._said = replace(self._said, text=heard[-1]["content"] if heard else "")
        self._corrections -= 1
        if self._corrections <= 0:
            self._emit_said()

    def _emit_said(self) -> None:
        """Publish the agent's words that wait for corrections, as they are now."""
        said, self._said = self._said, None
        if said and said.text:
            self._publish(said)

    def _note_speech(self, _frame: Frame, _data: FramePushed, _at_s: float) -> None:
        """Publish the words of the agent's last speech, and begin the phase of speaking."""
        self._emit_said()
        self._interruption = None
        self._cut_short = False
        self._played.clear()
        self._publish(*self.phase.transition_to(Phase.SPEAKING, "agent_speaks"))

    def _note_interruption(self, frame: Frame, _data: FramePushed, at_s: float) -> None:
        """Publish a barge-in if the agent was speaking, and begin the phase of listening.

        An interruption by our own code is ignored.
        """
        if frame.metadata.get(WITHDRAWN):
            return  # no caller interrupted the agent
        self._interruption = frame
        if self.phase.current_state is Phase.SPEAKING:
            self._cut_short = True
            self._publish(BargedIn(turn=self._timeline.number, at_s=at_s))
        self._publish(*self.phase.transition_to(Phase.LISTENING, "caller_speaks"))

    def _note_silence(self, _frame: Frame, _data: FramePushed, at_s: float) -> None:
        """Begin the phase of listening; publish the end of the turn, unless an answer is pending.

        It is if only our own speech, a filler or a clip, was played.
        """
        if self.phase.current_state is Phase.SPEAKING:
            self._publish(*self.phase.transition_to(Phase.LISTENING, "agent_has_spoken"))
        if self._played == {ClipAudioRawFrame}:
            return  # only a filler or clip; the answer is still pending
        turn = self._timeline.number
        self._publish(TurnEnded(turn=turn, at_s=at_s, interrupted=self._cut_short))


class UnkeptWords:
    """Publishes words of the agent that the caller heard, but that are not added to the context.

    These are the bridge before a late tool's result, and the opening words of a resumed call that
    has a pending answer. The assistant aggregator publishes all other words.

    Args:
        output: The name of the output processor; the caller has heard the words it passes on.
        turn: The turn in progress.
        emit: Publishes events.
    """

    def __init__(self, *, output: str, turn: Turn, emit: Emit) -> None:
        self._output, self._turn, self._emit = output, turn, emit
        self._words = ""

    def take(self, data: FramePushed) -> None:
        """Collect unkept words; publish them before other words, a stop or a barge-in.

        Only frames that the output pushes downstream are read.
        """
        if data.source.name != self._output or data.direction is not FrameDirection.DOWNSTREAM:
            return
        match data.frame:
            case TTSTextFrame(append_to_context=False) as word:
                spaced = word.includes_inter_frame_spaces
                self._words = join_speech(self._words, word.text, spaced=spaced)
            case TTSTextFrame() | TTSStoppedFrame() | InterruptionFrame():
                self.end()
            case _:
                pass

    def end(self) -> None:
        """Publish the words collected so far."""
        words, self._words = self._words, ""
        if words:
            self._emit(AgentSaid(turn=self._turn.number, text=words))
