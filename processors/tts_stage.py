"""The voices' stage: what is to be said is said by whichever rung can, every word once.

What comes in is an agenda: replies and other speech, and the frames between them, in order. Each
piece of speech is one utterance (`tts_work`); the frames that leave for it are made here, whichever
rung its sound comes from, so that a switch of voices shows in nothing but the voice. A word leaves
behind the sound in which it is spoken: the line lets it go when it has played that, and so the
assistant's context holds what the caller has heard.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Final

from pipecat.frames.frames import (
    CancelFrame,
    EndFrame,
    ErrorFrame,
    Frame,
    InterruptionFrame,
    LLMAssistantPushAggregationFrame,
    MetricsFrame,
    StartFrame,
    SystemFrame,
    TTSAudioRawFrame,
    TTSStartedFrame,
    TTSStoppedFrame,
    TTSTextFrame,
    TTSUpdateSettingsFrame,
)
from pipecat.metrics.metrics import TTSUsageMetricsData
from pipecat.processors.frame_processor import FrameDirection, FrameProcessor, FrameProcessorSetup
from pipecat.utils.text.base_text_aggregator import TextType

from calls.entry import Tell
from calls.line import CallerLine
from calls.turn import Turn
from fallbacks.classification import classify_error
from fallbacks.failure import Failure, failed
from fallbacks.work import StagePolicy, Work
from processors.seat import Seat
from processors.tts_agenda import Agenda
from processors.tts_rung import TtsRung
from processors.tts_steps import Ask, Close, Do, More, Mute, Over, Play, Said, Won
from processors.tts_work import TtsWork
from processors.utterance import Utterance

RUNG: Final = "rung"
"""The key in a sound's or a word's metadata of the rung that spoke it."""

Exhausted = Callable[[str], Awaitable[None]]
"""Takes what nobody could say. It must not wait for anything: the stage waits for it."""


class TtsStage(FrameProcessor):
    """A ladder of voices in the place of one."""

    def __init__(  # noqa: PLR0913 - the line is one more thing that all parts of a call share
        self,
        rungs: Mapping[str, FrameProcessor],
        *,
        policy: StagePolicy,
        tell: Tell,
        clock: Callable[[], float],
        turn: Turn,
        word_times: Mapping[str, bool],
        line: CallerLine | None = None,
    ) -> None:
        """Take the rungs.

        Args:
            rungs: By name, the preferred one first; each is a `calls.voice.Voice`, too.
            policy: What all calls share about this stage.
            tell: Takes the facts.
            clock: Monotonic, in seconds.
            turn: The turn in progress.
            word_times: By rung, whether it says when each word is spoken.
            line: The caller's.
        """
        super().__init__()
        self._rungs = {
            name: TtsRung(name, each, stage=self, clock=clock, seat=Seat(policy.gates.get(name)))
            for name, each in rungs.items()
        }
        self._policy = policy
        self._tell = tell
        self._now = clock
        self._turn = turn
        self._word_times = word_times
        language = getattr(next(iter(rungs.values())), "text_aggregation_language", None)
        self._agenda = Agenda(self._begin, clock=clock, language=language)
        self._line = line or CallerLine()
        self._rate_hz = 0
        self._lock = asyncio.Lock()
        self._changed = asyncio.Event()
        self._watching: asyncio.Task[None] | None = None
        self._wake_at: float | None = None
        self._told_exhausted: Exhausted | None = None
        self.speaker: str | None = None

    def on_exhausted(self, told: Exhausted) -> None:
        """Have `told` called with the words that no rung could say."""
        self._told_exhausted = told

    async def setup(self, setup: FrameProcessorSetup) -> None:
        """Begin to connect all rungs but cold standbys, and wait for none."""
        await super().setup(setup)
        self._rate_hz = setup.audio_out_sample_rate
        for name, rung in self._rungs.items():
            rung.setup(self, setup, cold=name in self._policy.cold)

    async def cleanup(self) -> None:
        """Let all rungs go, none for long."""
        await super().cleanup()
        task, self._watching = self._watching, None
        if task:
            await self.cancel_task(task)
        await asyncio.gather(*(rung.cleanup() for rung in self._rungs.values()))

    async def process_frame(self, frame: Frame, direction: FrameDirection) -> None:
        """Speak what is to be spoken, and pass on the rest in its place."""
        await super().process_frame(frame, direction)
        match frame:
            case StartFrame():
                await self.push_frame(frame, direction)
                self._watching = self.create_task(self._watch(), "watch the voices")
                for rung in self._rungs.values():
                    rung.start(frame)
            case InterruptionFrame():
                await self._interrupted(frame, direction)
            case CancelFrame():
                self._end_rungs(frame)
                await self.push_frame(frame, direction)
            case _ if isinstance(frame, SystemFrame) or direction is FrameDirection.UPSTREAM:
                await self.push_frame(frame, direction)
            case TTSUpdateSettingsFrame():
                for rung in self._rungs.values():
                    await rung.settle(frame)
            case _:
                async with self._lock:
                    await self._agenda.take(frame)
                    await self._flush()

    async def on_sound(self, attempt: int, pcm: bytes) -> None:
        """Take sound from a rung."""
        await self._during(lambda work: work.sound(attempt, pcm, self._now()))

    async def on_word(
        self, attempt: int, text: str, *, start_s: float, end_s: float | None
    ) -> None:
        """Take a word's time from a rung."""
        await self._during(
            lambda work: work.word(attempt, text, start_s=start_s, end_s=end_s, now=self._now())
        )

    async def on_begun(self, attempt: int) -> None:
        """Take from a cold rung that it is connected, and that an attempt has begun."""
        await self._during(lambda work: work.begun(attempt, self._now()))

    async def on_spoken(self, attempt: int) -> None:
        """Take from a rung that an attempt has been spoken."""
        await self._during(lambda work: work.spoken(attempt, self._now()))

    async def on_failed(self, attempt: int, failure: Failure) -> None:
        """Take from a rung that an attempt has failed."""
        await self._during(lambda work: work.failed(attempt, failure, self._now()))

    async def on_pushed(self, rung: TtsRung, frame: Frame, direction: FrameDirection) -> None:
        """Let a rung's measurements pass; all else of it was told already, or is of no use."""
        del direction
        if isinstance(frame, MetricsFrame):
            heard = rung.name == self.speaker
            frame.data = [
                each for each in frame.data if heard or isinstance(each, TTSUsageMetricsData)
            ]  # text that was sent is billed, whoever was heard
            if frame.data:
                await self.push_frame(frame)
        elif isinstance(frame, ErrorFrame) and frame.exception and rung.attempt is not None:
            found = classify_error(frame.exception)
            reason = type(frame.exception).__name__
            await self.on_failed(
                rung.attempt, failed(found, "tts", provider=rung.name, reason=reason)
            )

    async def _during(self, event: Callable[[TtsWork], None]) -> None:
        async with self._lock:
            head = self._agenda.head
            if head and head.work:
                event(head.work)
                await self._flush()

    def _begin(self, utterance: Utterance) -> None:
        """Bring an utterance under way, by the voice that the caller knows if it is well."""
        work = Work(
            self._policy,
            tell=self._tell,
            numbers=self._turn.attempts,
            stay_with=self.speaker,
            offered=lambda name: self._rungs[name].offered,
        )
        now = self._now()
        utterance.begin(
            TtsWork(work, line=self._line, rate_hz=self._rate_hz, word_times=self._word_times),
            self._turn.patient_until(now),
            now,
        )

    async def _flush(self) -> None:
        """Do all that is to be done. What a cancelled task leaves undone, the next one does."""
        try:
            while True:
                head = self._agenda.head
                if self._agenda.passing:
                    await self._pass(self._agenda.passing.popleft())
                elif head and head.work and head.work.todo:
                    await self._do(head, head.work, head.work.todo.popleft())
                else:
                    break
        finally:
            self._set_alarm()

    async def _pass(self, frame: Frame) -> None:
        if isinstance(frame, EndFrame):
            self._end_rungs(frame)
        await self.push_frame(frame)

    async def _do(self, head: Utterance, work: TtsWork, do: Do) -> None:
        match do:
            case Won():
                self.speaker = do.provider
            case Play() | Said():
                await self._heard(head, do)
            case Over():
                await self._over(head, do)
            case asked:
                await self._instruct(self._rungs[asked.provider], work, asked)

    async def _instruct(self, rung: TtsRung, work: TtsWork, do: Ask | More | Close | Mute) -> None:
        match do:
            case Ask() if not rung.open():
                work.refused(do.attempt, self._now())
            case Ask():
                failure = await rung.ask(do.attempt, do.text, closed=do.closed)
                if failure:
                    work.failed(do.attempt, failure, self._now())
                elif rung.opening:
                    work.waits(do.attempt, self._now())
            case More():
                await rung.more(do.text)
            case Close():
                await rung.close()
            case Mute():
                await rung.mute()

    async def _heard(self, head: Utterance, do: Play | Said) -> None:
        if not head.begun:
            head.begun = True
            started = TTSStartedFrame(context_id=head.context_id)
            started.append_to_context = head.append_to_context
            await self._give(head, started)
        if isinstance(do, Play):
            self._turn.queued(self._line.dry_at)
            sound = TTSAudioRawFrame(do.pcm, self._rate_hz, 1, context_id=head.context_id)
            sound.metadata[RUNG] = self.speaker
            await self._give(head, sound)
        else:
            word = TTSTextFrame(do.word, TextType.WORD, context_id=head.context_id)
            word.append_to_context = head.append_to_context
            word.metadata[RUNG] = self.speaker
            await self._give(head, word)

    async def _over(self, head: Utterance, over: Over) -> None:
        self._agenda.over()
        if head.begun:
            await self._give(head, TTSStoppedFrame(context_id=head.context_id))
            if head.commits:
                await self._give(head, LLMAssistantPushAggregationFrame())
        if over.unsaid and self._told_exhausted:
            await self._told_exhausted(over.unsaid)

    async def _give(self, head: Utterance, frame: Frame) -> None:
        frame.interruptible = head.interruptible
        await self.push_frame(frame)

    async def _interrupted(self, frame: InterruptionFrame, direction: FrameDirection) -> None:
        async with self._lock:
            now, before = self._now(), self._agenda.head
            stopped = await self._agenda.interrupt()
            if before is None or before in stopped:  # else the line keeps what it has
                self._line.flush(now)
                self._turn.flushed(now)
            await self.push_frame(frame, direction)
            for each in stopped:
                if each.work:
                    await self._stop(each.work)
            self._agenda.advance()
            await self._flush()

    async def _stop(self, work: TtsWork) -> None:
        work.todo.clear()
        work.stop(self._now())
        for do in work.todo:
            if isinstance(do, Mute):
                await self._rungs[do.provider].mute()

    def _end_rungs(self, frame: EndFrame | CancelFrame) -> None:
        for rung in self._rungs.values():
            rung.child.end(frame)

    def _set_alarm(self) -> None:
        head = self._agenda.head
        moments = [head.work.wake_at if head and head.work else None]
        moments += [rung.due_at for rung in self._rungs.values()]
        wake_at = min((each for each in moments if each is not None), default=None)
        undone = bool(self._agenda.passing) or bool(head and head.work and head.work.todo)
        self._wake_at = self._now() if undone else wake_at
        self._changed.set()

    async def _watch(self) -> None:
        """Do what is due by the passing of time."""
        while True:
            self._changed.clear()
            at = self._wake_at
            wait_s = None if at is None else max(0.0, at - self._now())
            try:
                async with asyncio.timeout(wait_s):
                    await self._changed.wait()
            except TimeoutError:
                await self._tick(at)

    async def _tick(self, at: float | None) -> None:
        """Do what was due at a moment; a timer may ring a little before it."""
        now = self._now() if at is None else max(at, self._now())
        for rung in self._rungs.values():
            await rung.tick(now)
        async with self._lock:
            head = self._agenda.head
            if head and head.work:
                head.work.tick(now)
            await self._flush()
