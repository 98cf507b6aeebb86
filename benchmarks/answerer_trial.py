"""Runs a greeting through answering machine detection, on a clock that advances with the audio."""

import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Final, Protocol

from pipecat.frames.frames import (
    Frame,
    InputAudioRawFrame,
    InterimTranscriptionFrame,
    TranscriptionFrame,
)
from pipecat.processors.frame_processor import FrameDirection

from benchmarks.greetings import RATE_HZ, RenderedGreeting
from calls.line import CallerLine
from processors.answerer.answerer_rules import (
    Answerer,
    AnsweringAction,
    AnsweringPlan,
    Decide,
    LeaveMessage,
    Open,
    PartFromMachine,
    SayWho,
    StopTalking,
)
from processors.answerer.watch import AnswererWatch, SpeechDetector
from processors.turn.floor import Floor
from providers.sphinx import Recogniser
from providers.sphinx_ear import Ear

PIECE_S: Final = 0.02
PIECE_BYTES: Final = round(PIECE_S * RATE_HZ) * 2
WORD_LAG_S: Final = 0.35  # until a word is transcribed (chosen: like a streaming recogniser)
MISHEARD_SHARE: Final = 0.2  # of the words
SUBSTITUTES: Final = (
    *[""] * 12,  # half of the misrecognised words are left out
    *("the", "a", "you", "not", "for", "is", "one", "place", "yes", "call", "now", "home"),
)
"""One of these replaces a misrecognised word."""
PLAN: Final = AnsweringPlan(
    who="This is Holdline, about your appointment.", message="Call us back."
)

Transcripts = Iterator[tuple[str, bool]]
"""The text so far, and whether it is final."""


class Recognise(Protocol):
    """A recogniser of the trial."""

    def __call__(self, now: float, piece: bytes, /, *, speaks: bool) -> Transcripts:
        """Process the next piece of audio; `speaks` is the VAD's result for it."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """The result of one greeting; moments are seconds from the answer."""

    rendered: RenderedGreeting
    done: Sequence[tuple[float, AnsweringAction]]

    @property
    def who(self) -> Answerer:
        """The true kind of the answerer."""
        return self.rendered.greeting.who

    @property
    def verdicts(self) -> list[Decide]:
        """The decisions, in order."""
        return [each for _, each in self.done if isinstance(each, Decide)]

    @property
    def first_s(self) -> float:
        """When the first decision was made."""
        return self.verdicts[0].after_s

    @property
    def right_s(self) -> float | None:
        """When the right decision was made; `None` if it never was."""
        is_person = self.who is Answerer.HUMAN
        right = (Answerer.HUMAN, Answerer.UNDECIDED) if is_person else (self.who,)
        return next(
            (verdict.after_s for verdict in self.verdicts if verdict.answerer in right), None
        )

    @property
    def recognisable_s(self) -> float:
        """When a recogniser without mistakes has the words that give the machine away."""
        return self.rendered.told_s + WORD_LAG_S

    @property
    def treated_as_machine(self) -> bool:
        """Whether the answerer was treated as a machine."""
        machines = LeaveMessage | PartFromMachine | StopTalking | SayWho
        return any(isinstance(each, machines) for _, each in self.done)

    @property
    def opened_s(self) -> float | None:
        """When the agent began to talk; `None` if it never did."""
        return next((at for at, each in self.done if isinstance(each, Open)), None)


async def _do_nothing(_: object) -> None:
    """Do nothing, in place of speaking and hanging up."""


class _RecordingWatch(AnswererWatch):
    """The processor outside any pipeline: frames that it pushes are dropped."""

    def __init__(self, speech: SpeechDetector, clock: Callable[[], float]) -> None:
        super().__init__(
            PLAN,
            say=_do_nothing,
            end_call=_do_nothing,
            floor=Floor(CallerLine()),
            remember=lambda _: None,
            emit=lambda _: None,
            clock=clock,
            speech=speech,
        )
        self.done: list[tuple[float, AnsweringAction]] = []

    async def push_frame(
        self, frame: Frame, direction: FrameDirection = FrameDirection.DOWNSTREAM
    ) -> None:
        """Drop the frame."""

    async def _carry_out(self, actions: Sequence[AnsweringAction]) -> None:
        self.done += [(round(self._now(), 3), action) for action in actions]
        await super()._carry_out(actions)


async def try_greeting(
    rendered: RenderedGreeting,
    speech: SpeechDetector,
    recognise: Recognise,
    *,
    answered_s: float = 0.0,
) -> Trial:
    """Return the decisions about a greeting; audio before `answered_s` is early media."""
    now = 0.0
    watch = _RecordingWatch(speech, clock=lambda: now)
    watch.ear.prepare(RATE_HZ)
    ringing = True
    for at in range(0, len(rendered.pcm) - PIECE_BYTES, PIECE_BYTES):
        now = (at + PIECE_BYTES) / 2 / RATE_HZ
        if ringing and now > answered_s:
            ringing = False
            watch.answered()
        while (due := watch.judge.wake_at) is not None and due <= now:
            await watch.act(now)
        piece = rendered.pcm[at : at + PIECE_BYTES]
        await watch.hear_sound(InputAudioRawFrame(piece, RATE_HZ, 1))
        for text, final in recognise(now, piece, speaks=watch.ear.speaking):
            await watch.read(_transcription_frame(text, final=final))
    return Trial(rendered=rendered, done=tuple(watch.done))


def _transcription_frame(
    text: str, *, final: bool
) -> TranscriptionFrame | InterimTranscriptionFrame:
    kind = TranscriptionFrame if final else InterimTranscriptionFrame
    return kind(text, "", "")


def words_as_spoken(rendered: RenderedGreeting) -> Recognise:
    """Return a recogniser without mistakes, with the delay of a streaming one."""
    waiting = list(rendered.words)
    heard: list[str] = []

    def recognise(now: float, _: bytes, *, speaks: bool) -> Transcripts:
        del speaks
        more = False
        while waiting and waiting[0][0] + WORD_LAG_S <= now:
            heard.append(waiting.pop(0)[1])
            more = True
        if more:
            yield " ".join(heard), False

    return recognise


def words_misheard(rendered: RenderedGreeting, seed: int) -> Recognise:
    """Return a recogniser like `words_as_spoken` that gets every fifth word wrong, by a seed."""
    dice = random.Random(f"{seed} {rendered.greeting.name}")  # noqa: S311 - reproducible
    heard = [
        (at_s, word if dice.random() >= MISHEARD_SHARE else dice.choice(SUBSTITUTES))
        for at_s, word in rendered.words
    ]
    words = tuple((at_s, word) for at_s, word in heard if word)
    return words_as_spoken(replace(rendered, words=words))


def words_of_sphinx() -> Recognise:
    """Return the bundled local recogniser, used as in a call."""
    ear, speaking = Recogniser(Ear(rate_hz=RATE_HZ)), False

    def recognise(_: float, piece: bytes, *, speaks: bool) -> Transcripts:
        nonlocal speaking
        if speaks and not speaking:
            ear.start_utterance()
        results = [*ear.hear(piece), *([ear.finish()] if speaking and not speaks else [])]
        speaking = speaks
        for result in results:
            yield result.text, result.what == "final"

    return recognise


def no_words() -> Recognise:
    """Return a recogniser that never answers."""

    def recognise(_: float, __: bytes, *, speaks: bool) -> Transcripts:
        del speaks
        return iter(())

    return recognise
