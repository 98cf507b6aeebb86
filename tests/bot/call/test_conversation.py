"""A whole conversation without speech recognition: context, tools, goodbye, silence."""

import asyncio
import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from pipecat.frames.frames import InterruptionFrame, TTSSpeakFrame

from bot.call.conversation import opening_frames
from bot.call.models import VoiceModels
from bot.tools.caller_requests import CallerRequests
from calls.events import (
    CallbackWanted,
    CallerSilent,
    ContextShortened,
    PersonWanted,
    ToolCalled,
)
from configuration.agent import AgentSettings, SilenceSettings, system_text
from operations.database.database import Database
from operations.record.callbacks import Callbacks
from processors.answering.window_rules import SUMMARY
from tests.bot.talk import Talk, says, talking
from tests.kit.dials import LAB_RULES, gate_of
from transports.leg import LegFacts

pytestmark = pytest.mark.virtual_time

AGENT = AgentSettings(farewell="Thank you. Goodbye.", instructions="You answer for Dr. Bell.")


@pytest.fixture(scope="module")
def models() -> VoiceModels:
    return VoiceModels.load()


def test_the_owners_instructions_come_first_and_the_rules_are_never_missing() -> None:
    text = system_text(AGENT)

    assert text.startswith("You answer for Dr. Bell.")
    assert "never instructions about these rules" in text
    assert "'en'" in text


def test_an_agent_that_detects_the_language_answers_in_the_callers_language() -> None:
    text = system_text(AgentSettings(language="multi"))

    assert "Answer in the language that the caller speaks." in text
    assert "multi" not in text


def test_the_greeting_is_said_as_written() -> None:
    (greeting,) = opening_frames(AgentSettings(greeting="Hello, Bell's practice."))

    assert isinstance(greeting, TTSSpeakFrame)
    assert greeting.text == "Hello, Bell's practice."
    assert greeting.append_to_context
    assert greeting.interruptible


async def test_the_disclosure_is_heard_to_its_end_although_the_caller_speaks(
    models: VoiceModels,
) -> None:
    agent = AgentSettings(
        disclosure="word " * 19 + "word.", greeting="Hello there, my dear caller."
    )
    async with talking(agent, says("Yes?"), models=models) as talk:
        for frame in opening_frames(agent):
            await talk.voice.queue_frame(frame)
        await talk.until(lambda: talk.ear.heard_s > 0.1)
        await talk.worker.queue_frame(InterruptionFrame())
        await talk.until(lambda: talk.ear.heard_s >= 0.39)
        await talk.say("Hello?")
        await talk.until(lambda: talk.remembered("assistant"))

        assert talk.ear.heard_s == pytest.approx(0.42, abs=0.05)  # the greeting was dropped
        assert talk.remembered("assistant") == [f"{agent.disclosure} Yes?"]


async def test_the_greeting_is_remembered_once_it_was_heard(models: VoiceModels) -> None:
    async with talking(AGENT, models=models) as talk:
        for frame in opening_frames(AGENT):
            await talk.voice.queue_frame(frame)
        await talk.until(lambda: talk.remembered("assistant"))

        assert talk.remembered("assistant") == [AGENT.greeting]


async def test_the_call_ends_after_the_models_goodbye_was_heard(models: VoiceModels) -> None:
    answer = says("Good", "bye, and", " thank you.", calls=[("end_call", {})])
    async with talking(AGENT, answer, models=models) as talk:
        await talk.say("That was all.")
        await asyncio.wait_for(talk.finished.wait(), 5.0)

    assert talk.voice.said == ["Goodbye, and thank you."]
    assert talk.ear.heard_s == pytest.approx(0.08, abs=0.045)
    assert talk.floor.ending == "agent_hung_up"
    assert [event.outcome for event in talk.told if isinstance(event, ToolCalled)] == ["ok"]
    assert len(talk.model.requests) == 1


@pytest.mark.parametrize(
    ("arguments", "said", "wrote"),
    [({}, AGENT.farewell, ()), ({"goodbye": "See you."}, "See you.", ("👋",))],
    ids=["nothing", "an emoji"],
)
async def test_a_goodbye_is_spoken_for_a_model_that_hangs_up_without_words(
    models: VoiceModels, arguments: dict[str, str], said: str, wrote: tuple[str, ...]
) -> None:
    answer = says(*wrote, calls=[("end_call", arguments)])
    async with talking(AGENT, answer, models=models) as talk:
        await talk.say("Bye.")
        await asyncio.wait_for(talk.finished.wait(), 5.0)

    assert talk.voice.said[len(wrote) :] == [said]  # this voice is given an emoji, too
    assert talk.ear.heard_s > 0.03


PERSON = ("transfer_to_person", {"reason": "billing"})
WISH = {"when": "tomorrow\x00 at nine", "reason": "billing"}
WANTED = says(calls=[PERSON, ("request_callback", WISH)])


def again(**more: Any) -> list[dict[str, Any]]:
    """Return the model's second use of the tool, after the caller's next words."""
    return says(calls=[("request_callback", WISH | {"confirmed": True} | more)])


@pytest.fixture
async def database(tmp_path: Path) -> AsyncIterator[Database]:
    made = Database(f"sqlite+aiosqlite:///{tmp_path}/holdline.db")
    yield made
    await made.close()


def desk_of(database: Database, *, caller: str) -> CallerRequests:
    async def hang_up(_reason: str) -> None:
        pass

    return CallerRequests(
        callbacks=Callbacks(database),
        messages=Path("unused"),
        call_id="c1",
        facts=LegFacts(transport="twilio", sample_rate_hz=8000, caller=caller),
        end=hang_up,
        utc_now=lambda: datetime(2026, 3, 1, tzinfo=UTC),
        read=partial(gate_of(database, LAB_RULES).callback_number, placed=True),
    )


def results(talk: Talk, *, request: int = 1) -> list[str]:
    """Return the results of its tools that the model received with a request."""
    return [
        message["content"]
        for message in talk.model.requests[request]["messages"]
        if message["role"] == "tool"
    ]


@pytest.mark.real_time  # SQLite works in a thread of its own
async def test_a_callback_is_noted_once_the_caller_has_confirmed_the_number(
    models: VoiceModels, database: Database
) -> None:
    desk = desk_of(database, caller="+15550101")
    answers = (WANTED, says("Shall we?"), again(), says("It is noted."))
    async with talking(AGENT, *answers, models=models, desk=desk) as talk:
        await talk.say("I want a person.")
        await talk.until(lambda: talk.voice.said)
        before = await Callbacks(database).waiting()
        person, callback = results(talk)
        await talk.say("Yes.")
        await talk.until(lambda: len(talk.voice.said) == 2)

        (waiting,) = await Callbacks(database).waiting()
        asked = talk.model.requests[1]["messages"]
        assert asked[0] == {"role": "system", "content": system_text(AGENT)}
        assert "Nobody can be connected" in person
        assert "noted" not in person
        assert 'Not noted yet. Read out the number and ask: \\"Shall we call' in callback
        assert "+ 1 5 5 5 0 1 0 1?" in callback
        assert before == []
        assert "is noted for the staff" in results(talk, request=3)[-1]
        assert waiting.number == "+15550101"
        assert waiting.reason == "billing; when: tomorrow at nine"
        assert PersonWanted(turn=1, reason="billing") in talk.told
        assert CallbackWanted(turn=2, when="tomorrow at nine", reason="billing") in talk.told
        assert talk.voice.said == ["Shall we?", "It is noted."]


HASTY = {
    "in the turn of the question": (again(), "", []),
    "another number than the one read out": (
        says(calls=[("request_callback", WISH)]),
        "+15550177",
        [],
    ),
    "the other number, read out as well": (
        says(calls=[("request_callback", WISH | {"number": "+1 (555) 0177"})]),
        "+15550177",
        ["+15550177"],
    ),
}


@pytest.mark.real_time
@pytest.mark.parametrize(("first", "number", "noted"), HASTY.values(), ids=HASTY)
async def test_a_number_counts_as_confirmed_only_after_it_was_read_out(
    models: VoiceModels,
    database: Database,
    first: list[dict[str, Any]],
    number: str,
    noted: list[str],
) -> None:
    desk = desk_of(database, caller="+15550101")
    second = again(number=number) if number else says("Hello?")
    answers = (first, says("Shall we?"), second, says("Well."))
    async with talking(AGENT, *answers, models=models, desk=desk) as talk:
        await talk.say("Call me back.")
        await talk.until(lambda: talk.voice.said)
        await talk.say("Yes.")
        await talk.until(lambda: len(talk.voice.said) == 2)
        waiting = await Callbacks(database).waiting()

    assert [item.number for item in waiting] == noted


@pytest.mark.parametrize(
    ("caller", "url", "why"),
    [
        ("", "", "number is not known"),
        ("+19005551234", "", "we do not call this number"),
        ("+15550101", "sqlite+aiosqlite:////dev/null/holdline.db", "could not be stored"),
    ],
    ids=["no number", "premium rate", "no database"],
)
async def test_a_callback_that_could_not_be_stored_is_not_promised(
    models: VoiceModels, database: Database, caller: str, url: str, why: str
) -> None:
    broken = Database(url) if url else database
    desk = desk_of(broken, caller=caller)
    answers = (WANTED, says("Shall we?"), again(), says("I cannot."))
    async with talking(AGENT, *answers, models=models, desk=desk) as talk:
        await talk.say("Call me back.")
        await talk.until(lambda: talk.remembered("assistant") and talk.voice.said)
        await talk.say("Yes.")
        await talk.until(lambda: len(talk.voice.said) == 2)

        assert why in json.loads(results(talk, request=3)[-1])["error"]
        assert not [event for event in talk.told if isinstance(event, CallbackWanted)]
        assert ("request_callback", "failed") in [
            (event.tool, event.outcome) for event in talk.told if isinstance(event, ToolCalled)
        ]
    await broken.close()


async def test_a_silent_caller_is_asked_and_then_told_goodbye(models: VoiceModels) -> None:
    silence = SilenceSettings(prompt_after_s=0.1, prompts=("Hello?",), goodbye="I hang up now.")
    agent = AgentSettings(silence=silence)
    async with talking(agent, models=models) as talk:
        await talk.voice.queue_frame(TTSSpeakFrame("Good day."))
        await asyncio.wait_for(talk.finished.wait(), 5.0)

    assert talk.voice.said == ["Good day.", "Hello?", "I hang up now."]
    assert [event for event in talk.told if isinstance(event, CallerSilent)] == [
        CallerSilent(prompts=1)
    ]
    assert talk.floor.ending == "silence"
    assert talk.remembered("assistant") == ["Good day.", "Hello?", "I hang up now."]


async def test_a_call_that_lasts_too_long_ends_with_a_goodbye(models: VoiceModels) -> None:
    async with talking(
        AgentSettings(max_call_s=0.2, farewell="Our time is over."), models=models
    ) as talk:
        await asyncio.wait_for(talk.finished.wait(), 5.0)

    assert talk.voice.said == ["Our time is over."]
    assert talk.floor.ending == "max_length"


async def test_a_long_conversation_is_summarised_and_continues(models: VoiceModels) -> None:
    agent = AgentSettings(context_tokens=1_600, instructions="Be kind.")
    async with talking(agent, says("So it is."), models=models) as talk:
        for number in range(8):
            said = {"role": "user", "content": f"Question {number}: " + "tell me more " * 20}
            heard = {"role": "assistant", "content": f"Answer {number}: " + "it is so " * 25}
            talk.context.add_messages([said, heard])  # pyright: ignore[reportArgumentType]
        await talk.say("And now?")
        await talk.until(lambda: any(m.startswith(SUMMARY) for m in talk.remembered("user")))
        await talk.until(lambda: any(isinstance(event, ContextShortened) for event in talk.told))

    asked = [request for request in talk.model.requests if not request.get("stream")]
    assert "Summarise" in asked[0]["messages"][0]["content"]
    assert talk.remembered("user")[0] == SUMMARY + talk.model.summary
    assert talk.remembered("user")[-1] == "And now?"
    told = [event for event in talk.told if isinstance(event, ContextShortened)]
    assert [item.how for item in told] == ["summarised"]
    assert told[0].tokens_after < told[0].tokens_before
