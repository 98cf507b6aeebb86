"""The TTS stage: each word is spoken once, by whichever rung can.

The input is a queue of replies and other speech, and of the frames between them, in order. Each
piece of speech is one `SpokenUtterance`. The stage makes the frames itself, whichever rung the
audio comes from, so a switch of rungs changes only the voice. A word's frame follows the audio of
that word. The output passes it on when it has played this audio, so the assistant's context holds
exactly the words that the caller has heard.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Final, Protocol, TypeAlias

from pipecat.frames.frames import (
    CancelFrame,
    EndFrame,
    Frame,
    InterruptionFrame,
    LLMFullResponseStartFrame,
    LLMMessagesTransformFrame,
    StartFrame,
    SystemFrame,
    TTSUpdateSettingsFrame,
)
from pipecat.processors.frame_processor import FrameDirection, FrameProcessor, FrameProcessorSetup

from calls.entry import Emit
from calls.line import CallerLine
from calls.turn import Turn
from fallbacks.attempt_events import EmitEvent, Use
from fallbacks.attempts import Attempting
from fallbacks.ladder import ClauseRule, StagePolicy, rank
from fallbacks.tts_times import ALIGN_LONG_S, ALIGN_S
from processors.ladder.gate import Seat
from processors.ladder.stage import Stage
from processors.speaking.aligner import align_in_thread
from processors.speaking.alignment_rules import AlignSound
from processors.speaking.clause_rules import HURRY_S
from processors.speaking.decision import SpokenUtterance
from processors.speaking.ledger_rules import PlaySound
from processors.speaking.rung import VoiceRung
from processors.speaking.speech_actions import (
    AddSentence,
    AskVoice,
    CorrectHeard,
    EndSpeech,
    EndText,
    MuteVoice,
    QueuedAction,
    SpeechAction,
    VoiceEvent,
)
from processors.speaking.speech_queue import (
    CORRECTIONS,
    NEXT_S,
    WITHDRAWN,
    SpeechQueue,
    SpokenPiece,
    TakeBackFrame,
)
from processors.speaking.told_words import as_heard, without_words
from processors.turn.floor import Floor

DEFAULT_LANGUAGE: Final = "en"

ToDo: TypeAlias = Frame | tuple[SpokenPiece, QueuedAction]
"""A frame to pass on, or an action for a piece of speech."""


class Unsaid(Protocol):
    """Takes over words that no voice could say.

    The stage waits for it, and continues only then: the words come before all later ones.
    """

    async def __call__(self, rest: str, *, protected: bool) -> None:
        """Take over words that no rung could say.

        Args:
            rest: The words.
            protected: Whether the words cannot be interrupted.
        """
        ...


class TtsStage(Stage[VoiceEvent]):
    """A ladder of voices in place of one service.

    Attributes:
        speaker: The name of the rung in use; `None` before the first speech.
        queue: The speech and frames to send.

    Args:
        rungs: By name, the preferred one first; each is also a `calls.voice.Voice`.
        policy: The stage's settings and state, shared by all calls.
        emit: Publishes events.
        clock: Monotonic, in seconds.
        turn: The turn in progress.
        line: The caller's line; `None` if only this stage speaks on it.
        floor: The call's floor; `None` if only this stage reads it.
        say_unsaid: Takes over words that no rung could say; `None` if they are dropped.
    """

    def __init__(
        self,
        rungs: Mapping[str, FrameProcessor],
        *,
        policy: StagePolicy,
        emit: Emit,
        clock: Callable[[], float],
        turn: Turn,
        line: CallerLine | None = None,
        floor: Floor | None = None,
        say_unsaid: Unsaid | None = None,
    ) -> None:
        """Wrap each service in a rung, and begin with an empty queue; connect nothing."""
        super().__init__(clock=clock)
        self.speaker: str | None = None
        self._say_unsaid = say_unsaid
        self._rungs = _voice_rungs(self, rungs, policy)
        self._policy = policy
        self._emit = emit
        self._turn = turn
        self._line = line or CallerLine()
        self._rate_hz = 0
        language = getattr(next(iter(rungs.values())), "text_aggregation_language", None)
        rule = partial(_clause_rule, policy, turn, lambda: self.speaker, clock)
        self.queue = SpeechQueue(
            language=language,
            floor=floor or Floor(self._line),
            clock=clock,
            clause_rule=rule,
            queued_s=lambda: self._line.queued_s(self.now()),
        )
        self._spoken = self._before = SpokenPiece()  # the last two that were started
        self._alignments: set[asyncio.Task[None]] = set()
        self._to_do: deque[ToDo] = deque()  # outlives a cancelled task: the next one continues

    @property
    def wake_at(self) -> float | None:
        """When to call `tick`, or `None`."""
        if self._to_do:
            return self.now()
        moments = [self._spoken.utterance.wake_at if self._spoken.utterance else None]
        moments += [rung.due_at for rung in self._rungs.values()]
        hurriable = self.queue.hurriable and self._spoken.starved
        moments += [self._line.dry_at - HURRY_S] if hurriable else []
        moments += [self._line.dry_at - NEXT_S] if self.queue.waiting else []
        return min((moment for moment in moments if moment is not None), default=None)

    async def setup(self, setup: FrameProcessorSetup) -> None:
        """Begin to connect all rungs except cold standbys, without waiting for them."""
        await super().setup(setup)
        self._rate_hz = setup.audio_out_sample_rate
        for name, rung in self._rungs.items():
            rung.setup(self, setup)
            if name not in self._policy.cold:
                rung.open()

    async def cleanup(self) -> None:
        """End the attempts in progress, and close all rungs, each within its time limit."""
        await super().cleanup()
        await self.stop_watching()
        if self._spoken.utterance:
            self._queue_actions(self._spoken, self._spoken.utterance.interrupt(self.now()))
        for task in tuple(self._alignments):
            await self.cancel_task(task)
        await asyncio.gather(*(rung.close() for rung in self._rungs.values()))

    async def process_frame(self, frame: Frame, direction: FrameDirection) -> None:
        """Queue text and the frames between texts; pass on system and upstream frames at once.

        New settings are given to the rungs, and are not passed on.
        """
        await super().process_frame(frame, direction)
        match frame:
            case InterruptionFrame() | TakeBackFrame():
                async with self.working():
                    await self._take_back(frame, direction)
            case StartFrame():
                await self.push_frame(frame, direction)
                self.watch()
                for rung in self._rungs.values():
                    rung.start(frame)
            case _ if isinstance(frame, SystemFrame) or direction is FrameDirection.UPSTREAM:
                _end_rungs_with_call(self._rungs.values(), frame)
                await self.push_frame(frame, direction)
            case TTSUpdateSettingsFrame():
                for rung in self._rungs.values():
                    await rung.settle(frame)
            case _:
                async with self.working():
                    for piece, sentence in await self.queue.add(frame):
                        self._queue_actions(piece, piece.add(sentence, self.now()))
                    await self._go_on()

    async def handle(self, report: VoiceEvent, now: float) -> None:
        """Pass a voice's event to the latest utterance, and carry out the actions."""
        if self._spoken.utterance:
            self._queue_actions(self._spoken, self._spoken.utterance.handle(report, now))
            await self._go_on()

    async def tick(self, now: float) -> None:
        """Fail attempts that have waited too long to connect, and do what else is due by now."""
        for rung in self._rungs.values():
            if given_up := rung.give_up(now):
                await self.handle(given_up, now)
        if self._spoken.utterance:
            self._queue_actions(self._spoken, self._spoken.utterance.tick(now))
        await self._go_on()

    async def _take_back(
        self, frame: InterruptionFrame | TakeBackFrame, direction: FrameDirection
    ) -> None:
        """Stop speech that must not go on, or forget words that are not part of a piece yet.

        If some of the words taken back are part of a piece, the whole reply is withdrawn.
        """
        if isinstance(frame, InterruptionFrame):
            await self._stop_and_pass_on(frame, direction)
        elif self.queue.withdraws(frame):
            await self._withdraw_reply()
        else:
            await self.queue.add(frame)

    async def _stop_and_pass_on(self, frame: InterruptionFrame, direction: FrameDirection) -> None:
        """Flush the line, stop interruptible speech and push the frame; other speech goes on.

        If a caller interrupted, the frame's metadata says how many corrections of the words that
        were heard will follow.
        """
        now, head = self.now(), self.queue.head
        unplayed_s = self._line.queued_s(now)
        self._line.flush(now)  # keeps audio that cannot be interrupted
        stopped = await self.queue.interrupt()
        if head is None or head in stopped:
            self._turn.flushed(now)
        self._to_do = deque(to_do for to_do in self._to_do if _outlasts_interruption(to_do))
        await self.push_frame(frame, direction)
        if not frame.metadata.get(WITHDRAWN):
            frame.metadata[CORRECTIONS] = self._align_heard(unplayed_s)
        for piece in stopped:
            if piece.utterance:
                self._queue_actions(piece, piece.utterance.interrupt(now))
        await self._go_on()

    def _align_heard(self, unplayed_s: float) -> int:
        """Queue requests to find out how much an interrupted caller heard of an untimed voice.

        Only the two latest pieces are considered.

        Returns:
            How many corrections of what was heard will follow.
        """
        corrections = 0
        for piece in (self._spoken, self._before):
            utterance = piece.utterance
            if utterance is None or unplayed_s <= 0.0 or not piece.interruptible:
                break
            if piece.append_to_context:
                asked = utterance.align_heard(unplayed_s)
                corrections += len(asked)
                self._queue_actions(piece, asked)
            unplayed_s -= utterance.released_s
        return corrections

    async def _withdraw_reply(self) -> None:
        """Stop the reply so far, which was no speech, and remove what was heard from the context.

        Only the processors below are interrupted: the model goes on writing.
        """
        said = self.queue.reply
        interruption = InterruptionFrame()
        interruption.metadata[WITHDRAWN] = True
        await self._stop_and_pass_on(interruption, FrameDirection.DOWNSTREAM)
        self.queue.begin_again()
        await self.push_frame(LLMMessagesTransformFrame(partial(without_words, said)))
        await self.push_frame(LLMFullResponseStartFrame())

    def _queue_actions(self, piece: SpokenPiece, actions: Iterable[SpeechAction]) -> None:
        """Queue actions for `_go_on`; emit events at once, as an interruption may drop the queue.

        The turn is told when audio is queued.
        """
        for action in actions:
            if isinstance(action, EmitEvent):
                self._emit(action.fact)
                continue
            if isinstance(action, PlaySound):
                self._turn.queued(self._line.dry_at)
            self._to_do.append((piece, action))

    async def _go_on(self) -> None:
        """Carry out the queued actions in order, and start the next pieces; needs the lock.

        Sentences that wait are spoken early if the line is about to fall silent.
        """
        now = self.now()
        if self._spoken.starved and now >= self._line.dry_at - HURRY_S:
            for piece, sentence in self.queue.hurry():  # so that the line does not fall silent
                self._queue_actions(piece, piece.add(sentence, now))
        while True:
            entry = self.queue.next_entry()
            waits = self.queue.waiting and now < self._line.dry_at - NEXT_S
            if isinstance(entry, SpokenPiece) and not waits:
                self._start_piece(entry)
            elif isinstance(entry, Frame):
                self._to_do.append(entry)
            elif self._to_do:
                await self._carry_out(self._to_do.popleft())
            else:
                return

    def _start_piece(self, piece: SpokenPiece) -> None:
        """Start a piece of speech, preferably with the voice that was used before.

        The piece before it is kept as well, until the next one starts.
        """
        attempting = Attempting(
            self._policy,
            numbers=self._turn.attempts,
            stay_with=self.speaker,
            offered=lambda name: self._rungs[name].seat.offered,
        )
        now = self.now()
        until = self._turn.patient_until(now)
        utterance = SpokenUtterance(
            attempting,
            line=self._line,
            rate_hz=self._rate_hz,
            until=until,
            protected=not piece.interruptible,
        )
        self._before, self._spoken = self._spoken, piece
        self._queue_actions(piece, piece.start_with(utterance, now))

    async def _carry_out(self, entry: ToDo) -> None:
        """Push a frame, or carry out an action; unsaid words go to `say_unsaid`."""
        match entry:
            case Frame():
                _end_rungs_with_call(self._rungs.values(), entry)
                await self.push_frame(entry)
            case (piece, AskVoice() | AddSentence() | EndText() | MuteVoice() as action):
                await self._tell_voice(piece, action)
            case (_, Use() as action):
                self.speaker = action.provider
            case (piece, AlignSound() | CorrectHeard() as action):
                await self._find_words(piece, action)
            case (piece, action):
                for frame in piece.frames_of(action, rate_hz=self._rate_hz, rung=self.speaker):
                    await self.push_frame(frame)
                if isinstance(action, EndSpeech) and action.unsaid and self._say_unsaid:
                    await self._say_unsaid(action.unsaid, protected=not piece.interruptible)

    async def _find_words(self, piece: SpokenPiece, action: AlignSound | CorrectHeard) -> None:
        """Push a correction of the words that were heard, or begin an alignment in a task."""
        if isinstance(action, CorrectHeard):
            correction = LLMMessagesTransformFrame(partial(as_heard, action.words, action.heard))
            correction.metadata[CORRECTIONS] = 1
            await self.push_frame(correction)
            return
        task = self.create_task(self._align_and_report(piece, action), f"{self.name}: align")
        self._alignments.add(task)
        task.add_done_callback(self._alignments.discard)

    async def _align_and_report(self, piece: SpokenPiece, asked: AlignSound) -> None:
        """Align a voice's sound in a thread, tell the utterance, and carry out what follows."""
        rung = self._rungs.get(self.speaker or "")
        language = getattr(rung.pipe.service, "text_aggregation_language", None) if rung else None
        aligned = await align_in_thread(
            asked,
            language=str(language or DEFAULT_LANGUAGE),
            rate_hz=self._rate_hz,
            within_s=ALIGN_S if asked.heard_s is not None else ALIGN_LONG_S,
        )
        async with self.working():
            if piece.utterance:
                self._queue_actions(piece, piece.utterance.handle(aligned, self.now()))
            await self._go_on()

    async def _tell_voice(
        self, piece: SpokenPiece, action: AskVoice | AddSentence | EndText | MuteVoice
    ) -> None:
        """Give a rung an action; an event that it returns at once goes to the utterance."""
        rung = self._rungs[action.provider]
        match action:
            case AskVoice():
                event = await rung.speak(action)
                if event and piece.utterance:
                    self._queue_actions(piece, piece.utterance.handle(event, self.now()))
            case AddSentence():
                await rung.add(action.sentence)
            case EndText():
                await rung.end_text()
            case MuteVoice():
                await rung.mute()


def _end_rungs_with_call(rungs: Iterable[VoiceRung], frame: Frame) -> None:
    """End the rungs' pipelines, without waiting, if this frame ends the call."""
    if isinstance(frame, EndFrame | CancelFrame):
        for rung in rungs:
            rung.pipe.end(frame)


def _clause_rule(
    policy: StagePolicy,
    turn: Turn,
    speaker: Callable[[], str | None],
    clock: Callable[[], float],
) -> ClauseRule | None:
    """Return how much of an unfinished sentence the next voice may get; `None` for nothing."""
    now = clock()
    ranked = rank(policy.usable(now), turn.until(now), now=now, stay_with=speaker())
    return policy.clauses.get(ranked[0]) if ranked else None


def _outlasts_interruption(entry: ToDo) -> bool:
    """Return whether a queued entry outlasts an interruption."""
    if isinstance(entry, Frame):
        return not entry.interruptible
    piece, action = entry
    return not piece.interruptible or isinstance(action, MuteVoice)


def _voice_rungs(
    stage: TtsStage, rungs: Mapping[str, FrameProcessor], policy: StagePolicy
) -> dict[str, VoiceRung]:
    """Return the rungs by name, each with its own seat at the gate of its name."""
    return {
        name: VoiceRung(
            name,
            service,
            stage=stage,
            speaker=lambda: stage.speaker,
            seat=Seat(policy.gates.get(name)),
            lag=policy.lag,
        )
        for name, service in rungs.items()
    }
