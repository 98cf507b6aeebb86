"""The sentences for a caller whose call finds no seat, in the language of the call."""

import pytest

from bot.call.waiting_answers import waiting_answers
from processors.holding.utterance_rules import FallbackText, Situation, built_in_texts, merged
from tests.transports.test_announcements import Inbox, shared
from transports.announcements import Announcement, WaitingCall

OWN = FallbackText(language="de", situation=Situation.BRIDGE, number=0, text="Augenblick bitte.")


@pytest.mark.parametrize(
    ("language", "own", "text", "spoken"),
    [
        pytest.param("", (), "One moment, please.", "en-US", id="not begun"),
        pytest.param("de", (), "Einen Moment, bitte.", "de-DE", id="usual region"),
        pytest.param("en-GB", (), "One moment, please.", "en-GB", id="own region"),
        pytest.param("de-AT", (), "Einen Moment, bitte.", "de-DE", id="region without a voice"),
        pytest.param("es-AR", (), "Un momento, por favor.", "es-ES", id="another one"),
        pytest.param("de", (OWN,), "Augenblick bitte.", "de-DE", id="owner's text"),
        pytest.param("cs", (), "One moment, please.", "en-US", id="no text"),
    ],
)
def test_a_caller_is_asked_to_wait_in_the_language_of_the_call(
    language: str, own: tuple[FallbackText, ...], text: str, spoken: str
) -> None:
    process = shared(Inbox())
    process.last_resort.utterances = merged(own, built_in_texts())
    said = waiting_answers(process).wait(WaitingCall(call_id="c", language=language))

    assert said == Announcement(text=text, language=spoken, asks_again=True)


@pytest.mark.parametrize("number", ["", "anonymous"])
async def test_a_caller_without_a_number_is_asked_to_call_again(number: str) -> None:
    inbox = Inbox()
    said = await waiting_answers(shared(inbox)).call_back(WaitingCall(call_id="c", number=number))

    assert said.text.startswith("I am sorry, I cannot note a callback.")
    assert not said.asks_again
    assert inbox.kept == []
