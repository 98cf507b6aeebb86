"""Ladders of providers in any Pipecat pipeline, in place of its three services.

`Ladders` makes the three stages of one call. Pipecat's own parts surround them: its aggregators
detect the caller's turns and keep the conversation, its transport plays the audio. So the stages
read the call from the frames that pass, and push only frames that Pipecat's parts understand.
"""
# ruff: noqa: SLF001 - parts of Pipecat's models that have no public name

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from inspect import iscoroutinefunction
from pathlib import Path
from typing import Any, Final, NoReturn, cast

import numpy as np
from pipecat.frames.frames import (
    Frame,
    InputAudioRawFrame,
    InterimTranscriptionFrame,
    InterruptionFrame,
    LLMContextFrame,
    LLMTextFrame,
    MetricsFrame,
    ServiceUpdateSettingsFrame,
    SystemFrame,
    TranscriptionFrame,
    UserStartedSpeakingFrame,
    UserStoppedSpeakingFrame,
    VADUserStartedSpeakingFrame,
    VADUserStoppedSpeakingFrame,
)
from pipecat.metrics.metrics import TurnMetricsData
from pipecat.pipeline.pipeline import Pipeline
from pipecat.processors.frame_processor import FrameDirection, FrameProcessor, FrameProcessorSetup
from pipecat.services.llm_service import LLMService
from pipecat.utils.types import NOT_GIVEN

from calls.entry import Emit
from calls.events import CallerStopped, TurnDecided
from calls.line import CallerLine
from calls.turn import Turn
from fallbacks.events import PauseJudged
from holdline.event_hook import EventHook
from holdline.health import STAGES, health_here
from holdline.rescue import make_hold_line
from holdline.rungs import LadderRung, specs_of
from processors.answering.continuation_rules import incomplete_length
from processors.answering.model_stream import Model
from processors.answering.stage import LlmStage
from processors.hearing.stage import SttStage
from processors.holding.hold_line import HoldLine
from processors.holding.utterance_rules import DEFAULT_LANGUAGE
from processors.ladder.rung_pipeline import settings_for
from processors.speaking.speech_queue import TakeBackFrame
from processors.speaking.stage import TtsStage
from processors.turn.ending import TurnOpener
from processors.turn.floor import Floor, FloorEvent, TurnClosed
from processors.turn.sound_path import Faintness, order_interruptions
from providers.adapter.broken import BrokenService
from providers.catalog import provider
from providers.provider import RungSpec, Stage
from runtime import clock

BUDGET_S: Final = 1.5  # from the caller's last voiced sample to the answer
WINDOW_TOKENS: Final = 4000  # left of a conversation that a model refuses as too long (chosen)


class Ladders:
    """The stages of one call, each with a ladder of providers; those left out stay your own.

        call = Ladders(
            stt=[rung(DeepgramSTTService, api_key=...), rung(SonioxSTTService, api_key=...)],
            llm=[rung(OpenAILLMService, api_key=...), rung(AnthropicLLMService, api_key=...)],
            tts=[rung(CartesiaTTSService, api_key=...), rung(OpenAITTSService, api_key=...)],
        )
        Pipeline([transport.input(), call.stt, agg.user(), call.llm, call.tts, ...])

    Attributes:
        stt: In place of a recogniser, directly above the caller's side of the context.
        llm: In place of a model; functions are registered here.
        tts: In place of a voice, directly above the transport's output.
    """

    def __init__(
        self,
        *,
        stt: Sequence[LadderRung] | None = None,
        llm: Sequence[LadderRung] | None = None,
        tts: Sequence[LadderRung] | None = None,
        rescue: str = "",
        clips: Mapping[str, str | Path] | None = None,
        on_event: Callable[[Any], object] | None = None,
    ) -> None:
        """Make the stages of one call, in the running event loop; nothing connects yet.

        Args:
            stt: The recognisers, the preferred one first; `None` to keep your own.
            llm: The models.
            tts: The voices.
            rescue: Said while a stage has no rung left; with it, a filler is said while an answer
                is late. Empty to say nothing. Needs `tts`.
            clips: Audio files of the sentence and of fillers, by their text; other texts are said
                by the local voice.
            on_event: Called with each event of the call and of its rungs' probes, in a thread of
                its own.

        Raises:
            TypeError: An item of a ladder is no rung, or another argument has the wrong type.
            ValueError: A rung cannot be used as it is written.
            RuntimeError: No event loop is running.
        """
        given: dict[Stage, Sequence[LadderRung] | None] = {"stt": stt, "llm": llm, "tts": tts}
        _check_types(rescue, clips, on_event)
        self._specs = _checked_specs(given, rescue, clips)
        self._report: Emit = EventHook(on_event).emit if on_event else lambda _: None
        self._line, self._turn = CallerLine(), Turn(budget_s=BUDGET_S)
        self._floor = Floor(self._line)
        self._health = health_here(clock=clock.monotonic)
        self._shared = self._health.ladders(self._specs)
        self._common = {"emit": self._emit_event, "clock": clock.monotonic, "turn": self._turn}
        self._hold = self._make_hold(rescue, clips or {}) if rescue else None
        self._users = 0  # stages that are set up
        self._make_stages({spec.stage for spec in self._specs})

    def _make_stages(self, stages: Collection[Stage]) -> None:
        """Set `stt`, `llm` and `tts`, each only if it has a ladder."""
        self._hears = "stt" in stages  # so the words of a turn are known
        self._floor.listeners.append(self._note_turn)
        if self._hears:
            self.stt = LatePipeline(self._make_stt, self)
        if "llm" in stages:
            self.llm = self._make_llm()
        if "tts" in stages:
            self.tts = LatePipeline(self._make_tts, self)

    def __getattr__(self, name: str) -> NoReturn:
        reason = f"it was made without {name}=[rung(...)]" if name in STAGES else f"no {name}"
        raise AttributeError(f"Ladders: {reason}")

    def join(self) -> None:
        """Count a stage that is set up; from the first one on, the rungs are probed."""
        self._users += 1
        if self._users == 1:
            self._health.join(self._shared, self._report)

    async def leave(self) -> None:
        """Count a stage that is cleaned up; after the last one, end the rungs' probing.

        Other calls with the same rungs continue it.
        """
        self._users -= 1
        if self._users == 0:
            await self._health.leave(self._shared, self._report)

    def _make_hold(self, sentence: str, clips: Mapping[str, str | Path]) -> HoldLine:
        voices = (spec.language for spec in self._specs if spec.stage == "tts")
        language = next(voices) or DEFAULT_LANGUAGE
        place = {"line": self._line, "floor": self._floor}
        return make_hold_line(sentence, language, clips, **place, **self._common)

    def _make_stt(self, setup: FrameProcessorSetup) -> list[FrameProcessor]:
        services = self._services_for("stt", setup.audio_in_sample_rate)
        policy = self._shared.policies
        turn, now = self._turn, clock.monotonic
        opener = WordedTurnOpener(self._floor, turn=turn, faintness=Faintness(), clock=now)
        return [SttStage(services, policy=policy["stt"], **self._common), opener]

    def _make_llm(self) -> "LadderLlm":
        """Return the stage; without a recogniser ladder, it follows the turns."""
        models, policy = cast("dict[str, Model]", self._services_for("llm")), self._shared.policies
        common = {"policy": policy["llm"], "window_tokens": WINDOW_TOKENS, **self._common}
        stage = LadderLlm(models, floor=self._floor, user=self, leads=not self._hears, **common)
        order_interruptions([stage])
        return stage

    def _make_tts(self, setup: FrameProcessorSetup) -> list[FrameProcessor]:
        services, policy = (
            self._services_for("tts", setup.audio_out_sample_rate),
            self._shared.policies,
        )
        stage = TtsStage(
            services, policy=policy["tts"], line=self._line, floor=self._floor, **self._common
        )
        leads = not self._hears
        follower = TurnFollower(self._floor, turn=self._turn, emit=self._emit_event, leads=leads)
        above = [follower] if all(spec.stage != "llm" for spec in self._specs) else []
        return [*above, stage, self._hold] if self._hold else [*above, stage]

    def _services_for(self, stage: Stage, rate_hz: int = 0) -> dict[str, FrameProcessor]:
        """Return the services of a stage's rungs by name; a broken one refuses all requests."""
        specs = (spec for spec in self._specs if spec.stage == stage)
        return {
            spec.name: _build_or_broken(spec, self._shared.client_of(spec), rate_hz)
            for spec in specs
        }

    def _emit_event(self, event: Any) -> None:
        """Pass an event of this call to `on_event` and the hold line.

        Those of the health of its rungs go to `on_event` alone.
        """
        self._report(event)
        if self._hold:
            self._hold.notice(event)

    def _note_turn(self, event: FloorEvent) -> None:
        """Tell the hold line what Pipecat's turns mean for a pending answer.

        A pause is not taken for the end of the turn before Pipecat says so, and no answer comes to
        a turn that has closed without words.
        """
        if self._hold is None:
            return
        if isinstance(event, CallerStopped):
            self._hold.notice(_pause_judged(finished=False))
        elif isinstance(event, TurnClosed) and self._hears and not self._floor.worded:
            self._hold.note_nothing_said()


class LinkedOnce(FrameProcessor):
    """Belongs to one pipeline: it keeps the state of one call."""

    def link(self, processor: FrameProcessor) -> None:
        """Link it to the next processor.

        Raises:
            RuntimeError: It belongs to another pipeline.
        """
        if self.next is not None:
            raise RuntimeError("Ladders: it is in another pipeline; make one for each call")
        super().link(processor)


class LatePipeline(LinkedOnce, Pipeline):
    """Makes its processors when it is set up, because only then the sample rate is known.

    Args:
        make: Returns the processors.
        user: Joins before that, and leaves after the cleanup.
    """

    def __init__(
        self, make: Callable[[FrameProcessorSetup], list[FrameProcessor]], user: Ladders
    ) -> None:
        super().__init__([])
        self._make, self._user, self._joined = make, user, False

    async def setup(self, setup: FrameProcessorSetup) -> None:
        """Begin to use the rungs, make the processors, and set them up."""
        self._user.join()
        self._joined = True
        made = order_interruptions(self._make(setup))
        self._processors = [self._source, *made, self._sink]
        self._link_processors()
        await super().setup(setup)

    async def process_frame(self, frame: Frame, direction: FrameDirection) -> None:
        """Let settings that name this ladder reach all of its rungs."""
        if isinstance(frame, ServiceUpdateSettingsFrame) and frame.service is self:
            frame.service = None
        await super().process_frame(frame, direction)

    async def cleanup(self) -> None:
        """Clean the processors up, and use the rungs no more; may be repeated."""
        await super().cleanup()
        joined, self._joined = self._joined, False
        if joined:
            await self._user.leave()


class WordedTurnOpener(TurnOpener):
    """Also keeps results from Pipecat's aggregator that it would take for new speech.

    These are results without words, and interim ones when the caller neither speaks nor has an open
    turn: a standby that got the caller's audio late is still reading the end of it.
    """

    def __init__(self, floor: Floor, *, faintness: Faintness, **kwargs: Any) -> None:
        super().__init__(floor, faintness=faintness, **kwargs)
        self._measure = faintness

    async def hear_sound(self, frame: InputAudioRawFrame) -> None:
        """Follow the level of the caller's audio, and pass it on."""
        self._measure.hear(np.frombuffer(frame.audio, np.int16), frame.sample_rate)
        await super().hear_sound(frame)

    async def push_frame(
        self, frame: Frame, direction: FrameDirection = FrameDirection.DOWNSTREAM
    ) -> None:
        """Push a frame, unless Pipecat's aggregator would take it for new speech."""
        match frame:
            case InterimTranscriptionFrame():
                speaks = self._floor.caller_speaking or self._floor.turn_open
                passes = speaks and bool(frame.text.strip())
            case TranscriptionFrame():
                passes = bool(frame.text.strip())
            case _:
                passes = True
        if passes:
            await super().push_frame(frame, direction)


class TurnFollower(FrameProcessor):
    """Follows the caller's turns below the aggregator, above voices whose model is no ladder.

    Args:
        floor: The call's floor.
        turn: The turn in progress.
        emit: Publishes events.
        leads: Whether no ladder above it updates the floor; then the words are not known.
    """

    def __init__(self, floor: Floor, *, turn: Turn, emit: Emit, leads: bool) -> None:
        super().__init__()
        self._floor, self._turn, self._emit, self._leads = floor, turn, emit, leads

    async def process_frame(self, frame: Frame, direction: FrameDirection) -> None:
        """Update the floor, and pass everything on.

        Also emits Pipecat's decisions about pauses and, at the end of a turn that gets an answer,
        counts the turn and emits `TurnDecided`.
        """
        await super().process_frame(frame, direction)
        if self._leads:
            follow(frame, self._floor, self._turn)
        if isinstance(frame, MetricsFrame):
            _report_pauses(frame, self._emit)
        elif isinstance(frame, UserStoppedSpeakingFrame) and (self._leads or self._floor.worded):
            self._turn.number += 1
            self._emit(TurnDecided(turn=self._turn.number, at_s=clock.monotonic()))
        await self.push_frame(frame, direction)


def follow(frame: Frame, floor: Floor, turn: Turn) -> None:
    """Update the floor and the turn's deadline by a frame that begins or ends speech or a turn.

    Other frames change nothing. The words of a turn are not known here.
    """
    now = clock.monotonic()
    match frame:
        case VADUserStartedSpeakingFrame():
            floor.caller_started(now)
        case VADUserStoppedSpeakingFrame():
            stopped_at = now - frame.stop_secs
            turn.caller_stopped(stopped_at)
            floor.caller_stopped(stopped_at, now)
        case UserStartedSpeakingFrame():
            floor.turn_began()
        case UserStoppedSpeakingFrame():
            floor.turn_ended(now)
        case _:
            pass


class LadderLlm(LinkedOnce, LlmStage):
    """Also counts the caller's turns, and reports whether a pause was taken for the end of one.

    Unlike a tool of Holdline's own calls, a function that Pipecat stops waiting for is cancelled.
    """

    stopped_tool = "CANCELLED"  # Pipecat's own result

    def __init__(self, *args: Any, floor: Floor, user: Ladders, leads: bool, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._floor, self._user, self._leads = floor, user, leads
        self._joined = False
        self._half_word = ""  # the end of the answer's text so far, which is not pushed yet
        self._rungs = [model for model in self._models.values() if isinstance(model, LLMService)]
        for rung in self._rungs:  # what Pipecat adds to requests because of functions
            rung._functions = self._functions
            rung._cancel_tool_names = self._cancel_tool_names
            rung._appended_system_instructions = self._appended_system_instructions
            rung._adapter._builtin_tools = self._adapter._builtin_tools

    async def push_frame(
        self, frame: Frame, direction: FrameDirection = FrameDirection.DOWNSTREAM
    ) -> None:
        """Push a frame; hold a word of the answer back until it is complete.

        Another rung writes the whole word if this one breaks off in it, and not every processor
        below understands that part of it is taken back.
        """
        match frame:
            case LLMTextFrame():
                text = self._half_word + frame.text
                end = len(text) - incomplete_length(text)
                frame.text, self._half_word = text[:end], text[end:]
                if not frame.text:
                    return
            case TakeBackFrame():
                held = len(self._half_word)
                self._half_word = self._half_word[: max(0, held - frame.characters)]
                frame.characters = max(0, frame.characters - held)
                if frame.unfinished:
                    self._half_word = ""
                elif not frame.characters:
                    return
            case InterruptionFrame():
                self._half_word = ""
            case _ if self._half_word and not isinstance(frame, SystemFrame):
                rest, self._half_word = self._half_word, ""
                await super().push_frame(LLMTextFrame(rest))
            case _:
                pass
        await super().push_frame(frame, direction)

    def _compose_system_instruction(self) -> None:
        """Also compose the instructions of every rung: only those are sent."""
        super()._compose_system_instruction()
        for rung in self._rungs:
            rung._compose_system_instruction()

    async def setup(self, setup: FrameProcessorSetup) -> None:
        """Begin to use the rungs."""
        self._user.join()
        self._joined = True
        await super().setup(setup)

    async def _update_settings(self, delta: Any) -> dict[str, Any]:
        """Apply settings to every rung, too, except the stage's own: how it reads turns."""
        shared = replace(delta, filter_incomplete_user_turns=NOT_GIVEN)
        for rung in self._rungs:
            await rung._update_settings(settings_for(rung, shared))
        return await super()._update_settings(delta)

    async def cleanup(self) -> None:
        """Close the rungs, and use them no more."""
        await super().cleanup()
        joined, self._joined = self._joined, False
        if joined:
            await self._user.leave()

    async def process_frame(self, frame: Frame, direction: FrameDirection) -> None:
        """Count the turn of a context that the caller's words began, and emit `TurnDecided`.

        Also emits Pipecat's decisions about pauses; passes everything on.
        """
        if self._leads:
            follow(frame, self._floor, self._turn)
        match frame:
            case LLMContextFrame() if self._floor.unanswered:
                self._floor.model_asked()
                self._turn.number += 1
                self._emit(TurnDecided(turn=self._turn.number, at_s=self._now()))
            case MetricsFrame():
                _report_pauses(frame, self._emit)
            case _:
                pass
        await super().process_frame(frame, direction)


def _build_or_broken(spec: RungSpec, shared: Any, rate_hz: int) -> FrameProcessor:
    """Return a rung's service; one that cannot be built refuses every request.

    `rate_hz` is the line's sample rate; 0 for a model, which needs none.
    """
    asked_hz = spec.rate_hz or spec.facts.rate_hz(rate_hz)
    spec = replace(spec, sample_rate_hz=rate_hz, rate_hz=asked_hz, shared=shared)
    try:
        return provider(spec.stage, spec.kind, spec.service).build(spec)
    except Exception as error:  # noqa: BLE001 - a vendor's constructor: the ladder goes on
        return BrokenService(spec, error)


def _checked_specs(
    given: Mapping[Stage, Sequence[LadderRung] | None], rescue: str, clips: object
) -> tuple[RungSpec, ...]:
    """Return all rungs; raise a `ValueError` for arguments that do not fit together."""
    ladders: list[tuple[Stage, Sequence[LadderRung]]] = [
        (stage, rungs) for stage, rungs in given.items() if rungs is not None
    ]
    if not ladders:
        raise ValueError("Ladders: it has no ladder; give it stt=, llm= or tts=[rung(...)]")
    if rescue and given["tts"] is None:
        raise ValueError("Ladders: rescue needs a ladder of voices; give it tts=[rung(...)]")
    if given["llm"] is not None and given["tts"] is None:  # only our voices take back half a word
        raise ValueError("Ladders: llm needs a ladder of voices; give it tts=[rung(...)]")
    if clips and not rescue:
        raise ValueError("Ladders: clips are played by rescue; give it rescue='...'")
    return tuple(spec for item in ladders for spec in specs_of(*item))


def _check_types(rescue: object, clips: object, on_event: object) -> None:
    """Raise a `TypeError` for an argument of the wrong type."""
    if not isinstance(rescue, str | None):
        raise TypeError(f"Ladders: rescue is {rescue!r}; it must be a sentence")
    if not isinstance(clips, Mapping | None):
        raise TypeError(f"Ladders: clips is {clips!r}; it must be files by their text")
    if on_event is not None and (not callable(on_event) or iscoroutinefunction(on_event)):
        raise TypeError(f"Ladders: on_event is {on_event!r}; it must be a function without async")


def _report_pauses(frame: MetricsFrame, emit: Emit) -> None:
    for data in frame.data:
        if isinstance(data, TurnMetricsData):
            took_s = data.e2e_processing_time_ms / 1000
            emit(_pause_judged(finished=data.is_complete, took_s=took_s))


def _pause_judged(*, finished: bool, took_s: float = 0.0) -> PauseJudged:
    """Return Pipecat's decision about a pause as our event; it measures only one time."""
    cost: dict[str, Any] = {"waited_s": took_s, "took_s": took_s, "dropped": 0, "dropped_s": 0.0}
    return PauseJudged(finished=finished, by="detector", early=False, **cost)
