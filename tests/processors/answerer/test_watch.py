"""Words of an answerer from before the conversation begins."""

import pytest
from pipecat.audio.vad.vad_analyzer import VADParams, VADState
from pipecat.frames.frames import Frame, TranscriptionFrame

from calls.line import CallerLine
from processors.answerer.answerer_rules import AnsweringPlan
from processors.answerer.watch import AnswererWatch, FirstWords
from processors.turn.floor import Floor


class NoEar:
    """Hears nothing: the test itself says when the far end speaks."""

    params = VADParams()

    def set_sample_rate(self, sample_rate: int) -> None:
        pass

    async def analyze_audio(self, buffer: bytes) -> VADState:
        return VADState.QUIET


class Answered:
    """A call whose far end has said one short thing, and is greeted."""

    def __init__(self) -> None:
        self.now = 10.0
        self.remembered: list[str] = []
        self.watch = AnswererWatch(
            AnsweringPlan(who="", message=""),
            say=self._say,
            end_call=self._end_call,
            floor=Floor(CallerLine()),
            remember=self.remembered.append,
            emit=lambda _: None,
            clock=lambda: self.now,
            speech=NoEar(),
        )

    async def open(self, *, said: str = "") -> None:
        """Let the far end say something short and pause; it is transcribed if `said` is given."""
        self.watch.answered()
        self.watch.judge.voiced(10.5)
        self.watch.judge.silent(11.0)
        if said:
            await self.write(said)
        self.now = 13.0
        await self.watch.act(self.now)
        assert not self.watch.judge.listens

    async def write(self, text: str) -> bool:
        """Transcribe text; return whether it is a turn of the conversation."""
        return await self.watch.read(TranscriptionFrame(text, "", ""))

    async def _say(self, _: Frame) -> None:
        pass

    async def _end_call(self, _: str) -> None:
        pass


async def test_words_before_the_talk_are_remembered_when_it_begins() -> None:
    call = Answered()

    await call.open(said="Hello?")

    assert call.remembered == ["Hello?"]


async def test_words_written_while_the_agent_already_speaks_are_remembered_too() -> None:
    call = Answered()
    await call.open()

    is_a_turn = await call.write("Hello, this is Anna.")

    assert not is_a_turn  # it would be answered, and has been
    assert call.remembered == ["Hello, this is Anna."]


@pytest.mark.parametrize("more", [[], ["Yes?"]])
def test_a_restarted_talk_does_not_get_the_same_words_twice(more: list[str]) -> None:
    words, remembered = FirstWords(), list[str]()
    words.keep("Hello?")
    words.hand_over(remembered.append)

    for text in more:
        words.keep(text)
    words.hand_over(remembered.append)

    assert remembered == ["Hello?", *more]


def test_first_words_are_remembered_together_and_in_order() -> None:
    words, remembered = FirstWords(), list[str]()

    for text in (" Hello? ", "  ", "Who is there?"):
        words.keep(text)
    words.hand_over(remembered.append)

    assert remembered == ["Hello? Who is there?"]


def test_forgotten_words_are_not_remembered() -> None:
    words, remembered = FirstWords(), list[str]()

    words.keep("Please say your name.")
    words.forget()
    words.hand_over(remembered.append)

    assert remembered == []
