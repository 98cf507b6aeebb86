"""Captions show the spoken words, and the voice of each if there were several."""

from typing import Any

import pytest
from pipecat.frames.frames import LLMContextAssistantTurnFrame, TTSTextFrame
from pipecat.observers.base_observer import FramePushed
from pipecat.processors.filters.identity_filter import IdentityFilter
from pipecat.processors.frame_processor import FrameDirection
from pipecat.utils.text.base_text_aggregator import TextType

from calls.events import AgentSaid
from processors.speaking.captions import Captions
from processors.speaking.speech_queue import RUNG

pytestmark = pytest.mark.virtual_time


class Screen:
    """The captions on a caller's screen."""

    def __init__(self, *, voices: bool = True) -> None:
        self.shown: list[dict[str, Any]] = []
        self._line = IdentityFilter(name="line")
        self._captions = Captions(show=self.shown.append, output="line", voices=voices)

    async def pushed(self, frame: Any) -> None:
        await self._captions.on_push_frame(
            FramePushed(
                source=self._line,
                destination=self._line,
                frame=frame,
                direction=FrameDirection.DOWNSTREAM,
                timestamp=0,
                first_push=True,
            )
        )

    def notice(self, event: AgentSaid) -> None:
        self._captions.notice(event)

    async def spoken(
        self, word: str, rung: str | None = None, *, spaced: bool = False, kept: bool = True
    ) -> None:
        frame = TTSTextFrame(word, TextType.WORD)
        frame.append_to_context = kept
        frame.includes_inter_frame_spaces = spaced
        if rung:
            frame.metadata[RUNG] = rung
        await self.pushed(frame)

    async def over(self, text: str) -> None:
        await self.pushed(LLMContextAssistantTurnFrame(text=text, timestamp=""))


@pytest.fixture
def screen() -> Screen:
    return Screen()


async def test_captions_for_public_callers_name_no_provider() -> None:
    screen = Screen(voices=False)
    await screen.spoken("We", "cartesia")
    await screen.spoken("open", "elevenlabs")

    assert screen.shown[-1] == {"type": "said", "who": "agent", "text": "We open", "final": False}
    screen.notice(AgentSaid(turn=1, text="One moment.", by="local"))
    assert "voices" not in screen.shown[-1]


async def test_one_voice_needs_no_mention(screen: Screen) -> None:
    for word in ("We", "open"):
        await screen.spoken(word, "cartesia")
    await screen.over("We open")

    assert [text["text"] for text in screen.shown] == ["We", "We open", "We open"]
    assert screen.shown[-1]["final"]
    assert not any("voices" in text for text in screen.shown)


async def test_no_space_is_inserted_in_a_script_without_spaces(
    screen: Screen,
) -> None:
    await screen.spoken("Say")
    for sign in (" 你", "好"):
        await screen.spoken(sign, spaced=True)
    await screen.spoken("now")

    assert screen.shown[-1]["text"] == "Say 你好 now"


async def test_a_sentence_of_two_voices_names_the_voice_of_each_word(screen: Screen) -> None:
    for word, rung in (("We", "cartesia"), ("open", "cartesia"), ("at", None), ("nine.", "other")):
        await screen.spoken(word, rung)
    await screen.over("We open at nine.")

    voices = [
        {"provider": "cartesia", "words": "We open at"},
        {"provider": "other", "words": "nine."},
    ]
    assert [text.get("voices") for text in screen.shown] == [None, None, None, voices, voices]


async def test_the_next_sentence_begins_without_the_voices_of_the_last(screen: Screen) -> None:
    await screen.spoken("We", "cartesia")
    await screen.spoken("open.", "other")
    await screen.over("We open.")

    await screen.spoken("Yes.", "other")

    assert screen.shown[-1] == {"type": "said", "who": "agent", "text": "Yes.", "final": False}


async def test_fixed_sentences_of_the_call_are_shown_with_their_voice(screen: Screen) -> None:
    await screen.spoken("We", "cartesia")
    screen.notice(AgentSaid(turn=1, text="One moment.", by="local"))

    shown = screen.shown[-1]
    assert (shown["text"], shown["final"]) == ("One moment.", True)
    assert shown["voices"] == [{"provider": "local", "words": "One moment."}]


async def test_captions_outside_the_conversation_stay_when_the_answer_follows(
    screen: Screen,
) -> None:
    await screen.spoken("Checking.", "cartesia", kept=False)
    await screen.spoken("Yes.", "cartesia")
    await screen.over("Yes.")

    assert [shown["text"] for shown in screen.shown if shown["final"]] == ["Checking.", "Yes."]
