"""A caller gets to a person, or hears that it did not work: at both ears, word by word."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from calls.events import (
    AgentSaid,
    AnswerHeard,
    CallEnded,
    CallerReturned,
    CallerSilent,
    HandedOver,
    PersonBriefed,
    PersonWanted,
    TurnDecided,
)
from fallbacks.facts import HeldTheLine
from faultlab.deepgram.simulator import DeepgramSimulator
from faultlab.faults import Refuse
from faultlab.schedule import Window
from tests.bot.call.handover_bench import (
    BACK,
    BILLING,
    CALLED_BACK,
    CONNECTING,
    HOURS,
    NOBODY,
    OFFER,
    TOGETHER,
    TONE,
    WISH,
    House,
    People,
    Telephone,
    house,
)

pytestmark = [
    pytest.mark.virtual_time,
    pytest.mark.slow,
    pytest.mark.usefixtures("quiet_log"),
]

WARM: dict[str, Any] = {"destinations": {"billing": {**BILLING, "warm": True}}}
PLAIN: dict[str, Any] = {"destinations": {"billing": BILLING}}


async def asked(there: House) -> float:
    """Let the caller ask for a person; return when that was said, in seconds of the call."""
    await there.greeted()
    await there.caller.says(WISH)
    return there.caller.now_s


def outcomes(there: House) -> list[str]:
    return [each.outcome for each in there.events(HandedOver)]


async def test_a_person_hears_what_it_is_about_accepts_and_talks_with_the_caller(
    tmp_path: Path,
) -> None:
    async with house(tmp_path, agent=WARM, people=People()) as there:
        asked_s = await asked(there)
        person = await there.picked_up()
        await there.until(lambda: there.events(PersonBriefed))
        waited_s = there.caller.longest_silence_s(asked_s)
        tones = there.caller.times(TONE)
        await person.press("1")
        await there.until(lambda: outcomes(there))
        await there.said(TOGETHER)
        question = await person.says("Hello, this is billing.")
        answer = await there.caller.says("I have a question about my bill.")
        await asyncio.sleep(1.0)
        answered = person.hears(answer[800:-800])
        heard = there.caller.hears(question[800:-800])
        turns = len(there.events(TurnDecided))

        assert there.people.called[0].number == "+15550123"
        assert there.caller.times(CONNECTING) == 1
        assert tones > 2
        assert waited_s < 2.0
        assert heard
        assert answered
        assert outcomes(there) == ["connected"]
        assert turns == 1  # the agent has heard nothing of what the two said
        assert there.caller.times(NOBODY) == 0


async def test_a_person_is_told_in_the_agents_language_whatever_the_caller_speaks(
    tmp_path: Path,
) -> None:
    async with house(tmp_path, agent={**WARM, "language": "multi"}, people=People()) as there:
        for each in there.lab.instances.values():
            if isinstance(each, DeepgramSimulator):
                each.spoken = "es"
        await asked(there)
        await there.picked_up()
        await there.until(lambda: there.events(PersonBriefed))
        asked_of_voice = [each.details for each in there.lab.record.requests("cartesia")]
        (told,) = [each for each in asked_of_voice if "press 1" in each.get("text", "")]
        heard = [each.text for each in there.events(AgentSaid)]

        assert told["language"] == "en"
        assert told["text"].startswith("Hello. I have a caller on the line")
        assert "Le paso ahora mismo." in heard  # the caller


async def test_a_person_who_hangs_up_gives_the_caller_back_to_the_agent(tmp_path: Path) -> None:
    async with house(tmp_path, agent=WARM, people=People()) as there:
        await asked(there)
        person = await there.picked_up()
        await there.until(lambda: there.events(PersonBriefed))
        await person.press("1")
        await there.said(TOGETHER)
        await person.put_down()
        await there.said(BACK)
        await there.caller.says(HOURS)
        await there.until(lambda: there.events(AnswerHeard))

        assert len(there.events(CallerReturned)) == 1

        assert person.over.is_set()
        assert outcomes(there) == ["connected"]


async def test_who_speaks_to_the_agent_as_they_are_connected_hears_all_that_the_person_says(
    tmp_path: Path,
) -> None:
    async with house(tmp_path, agent=WARM, people=People()) as there:
        await asked(there)
        person = await there.picked_up()
        await there.until(lambda: there.events(PersonBriefed))
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(there.caller.says(HOURS))
            await asyncio.sleep(1.0)
            await person.press("1")
        await there.until(lambda: outcomes(there))
        await asyncio.sleep(2.5)
        words = [await person.says("Hello, this is billing.") for _ in range(2)]
        await asyncio.sleep(1.0)

        assert len(there.events(TurnDecided)) == 2  # the agent would have an answer
        assert there.caller.times(words[0][800:-800]) == 2


async def test_a_person_who_hangs_up_while_they_are_being_joined_leaves_the_agent_hearing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with house(tmp_path, agent=WARM, people=People()) as there:

        async def load_slowly(*_: object) -> None:
            await asyncio.sleep(3.0)

        await asked(there)
        person = await there.picked_up()
        await there.until(lambda: there.events(PersonBriefed))
        monkeypatch.setattr(there.process.last_resort.clips, "load", load_slowly)
        await person.press("1")
        await asyncio.sleep(1.0)
        await person.put_down()
        await there.said(OFFER)
        await there.caller.says(HOURS)
        await there.until(lambda: there.events(AnswerHeard))

        assert outcomes(there) == ["declined"]
        assert there.caller.times(TOGETHER) == 0


async def test_a_caller_who_is_with_a_person_hears_the_goodbye_of_a_server_that_stops(
    tmp_path: Path,
) -> None:
    async with house(tmp_path, agent=WARM, people=People()) as there:
        await asked(there)
        person = await there.picked_up()
        await there.until(lambda: there.events(PersonBriefed))
        await person.press("1")
        await there.said(TOGETHER)
        (call,) = there.process.switchboard.calls.values()
        await call.end("shutdown")
        await there.until(lambda: there.events(CallEnded))

        assert "Thank you for calling. Goodbye." in [each.text for each in there.events(AgentSaid)]
        assert there.events(CallEnded)[0].reason == "shutdown"


async def test_two_who_are_silent_for_long_are_left_alone_and_then_the_agent_asks_again(
    tmp_path: Path,
) -> None:
    limit = {"max_call_s": 60.0}
    async with house(tmp_path, agent={**WARM, **limit}, people=People()) as there:
        await asked(there)
        person = await there.picked_up()
        await person.press("1")
        await there.said(TOGETHER)
        await asyncio.sleep(70.0)
        left_alone = there.events(CallerSilent) == there.events(CallEnded) == []
        await person.put_down()
        await there.until(lambda: there.events(CallEnded))

        assert left_alone
        assert there.events(CallEnded)[0].reason == "max_length"


@pytest.mark.parametrize("outcome", ["busy", "no_answer", "failed", "declined"])
async def test_a_person_who_is_not_reached_brings_the_agent_back(
    tmp_path: Path, outcome: Any
) -> None:
    async with house(tmp_path, agent=WARM, people=People(comes=outcome)) as there:
        asked_s = await asked(there)
        await there.said(OFFER)

        assert there.caller.times(CONNECTING) == there.caller.times(NOBODY) == 1
        assert there.caller.longest_silence_s(asked_s) < 2.0
        assert outcomes(there) == [outcome]
        assert len(there.events(PersonWanted)) == 1


async def test_a_person_who_declines_is_dropped(tmp_path: Path) -> None:
    async with house(tmp_path, agent=WARM, people=People()) as there:
        await asked(there)
        person = await there.picked_up()
        await person.press("2")
        await there.said(OFFER)

        assert person.over.is_set()
        assert person.why == "declined"
        assert outcomes(there) == ["declined"]


@pytest.mark.parametrize(
    ("word", "outcome", "why"), [("yes", "connected", ""), ("no", "declined", "declined")]
)
async def test_a_person_answers_in_a_word(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, word: str, outcome: str, why: str
) -> None:
    async with house(tmp_path, agent=WARM, people=People()) as there:
        heard_s = understands(there, monkeypatch, word)
        await asked(there)
        person = await there.picked_up()
        await person.says("Yes? Who is there?")  # while the agent speaks
        await there.until(lambda: there.events(PersonBriefed))
        early = list(heard_s)
        await person.says(word)
        await there.until(lambda: outcomes(there))
        await asyncio.sleep(1.0)

        assert early == []
        assert len(heard_s) == 1
        assert outcomes(there) == [outcome]
        assert person.why == why


def understands(there: House, monkeypatch: pytest.MonkeyPatch, *words: str) -> list[float]:
    """Have the ear of the house, which hears in real time, understand these; return how long."""
    heard_s: list[float] = []
    answers = list(words)

    async def understand(pcm: bytes, rate_hz: int) -> str:
        if pcm:  # without sound it is warmed
            heard_s.append(len(pcm) / 2 / rate_hz)
        return answers.pop(0) if pcm and answers else ""

    monkeypatch.setattr(there.process.last_resort.ear, "understand", understand)
    return heard_s


async def test_a_machine_that_accepts_nothing_is_dropped_and_the_agent_comes_back(
    tmp_path: Path,
) -> None:
    async with house(tmp_path, agent=WARM, people=People()) as there:
        asked_s = await asked(there)
        await there.picked_up()
        await there.said(OFFER)

        assert there.people.person
        assert there.people.person.why == "not_accepted"
        assert there.events(CallerSilent) == []  # who waits is not asked whether they are there
        assert there.caller.longest_silence_s(asked_s) < 2.0
        assert outcomes(there) == ["no_answer"]


@pytest.mark.parametrize("when", ["while it rings", "while the person listens"])
async def test_a_caller_who_hangs_up_leaves_no_person_on_the_line(
    tmp_path: Path, when: str
) -> None:
    async with house(tmp_path, agent=WARM, people=People()) as there:
        await asked(there)
        await there.until(lambda: there.people.called)
        if when != "while it rings":
            await there.picked_up()
        await there.caller.put_down()
        await there.until(lambda: there.events(CallEnded))

        person = there.people.person
        assert person.over.is_set() if person else there.people.given_up == 1


@pytest.mark.parametrize("when", ["declines", "hangs up"])
async def test_a_carrier_that_is_slow_to_end_a_persons_call_leaves_the_caller_no_silence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, when: str
) -> None:
    async with house(tmp_path, agent=WARM, people=People()) as there:
        await asked(there)
        person = await there.picked_up()
        await there.until(lambda: there.events(PersonBriefed))
        hang_up = person.hang_up

        async def hang_up_slowly(reason: str = "") -> None:
            await asyncio.sleep(5.0)
            await hang_up(reason)

        monkeypatch.setattr(person, "hang_up", hang_up_slowly)
        if when == "hangs up":
            await person.press("1")
            await there.said(TOGETHER)
        over_s = there.caller.now_s
        await (person.press("2") if when == "declines" else person.put_down())
        await there.said(OFFER if when == "declines" else BACK)

        assert there.caller.first_sound_s(over_s) < 2.0
        assert there.caller.longest_silence_s(over_s) < 2.0
        assert person.over.is_set()


async def test_a_line_that_hands_calls_on_lets_the_caller_go(tmp_path: Path) -> None:
    caller = Telephone(hands_on="connected")
    async with house(tmp_path, agent=PLAIN, people=None, caller=caller) as there:
        await asked(there)
        await there.until(lambda: there.events(CallEnded))

        assert caller.handed_on[0].number == "+15550123"
        assert caller.times(CONNECTING) == 1
        assert outcomes(there) == ["connected"]
        assert there.events(CallEnded)[0].reason == "transfer"


async def test_a_line_that_fails_to_hand_on_keeps_the_caller(tmp_path: Path) -> None:
    caller = Telephone(hands_on="no_answer")
    async with house(tmp_path, agent=PLAIN, people=None, caller=caller) as there:
        asked_s = await asked(there)
        await there.said(OFFER)

        assert caller.longest_silence_s(asked_s) < 2.0
        assert outcomes(there) == ["no_answer"]


async def test_a_line_that_reaches_nobody_says_so_and_offers_a_callback(tmp_path: Path) -> None:
    async with house(tmp_path, agent=PLAIN, people=None) as there:
        await asked(there)
        await there.until(lambda: there.events(PersonWanted))
        await there.until(lambda: there.events(AnswerHeard))

        assert outcomes(there) == []
        assert there.caller.times(CONNECTING) == 0


KEYS: dict[str, Any] = {**WARM, "keys": {"0": "person", "9": "callback"}}


async def test_a_key_reaches_a_person_at_any_time_of_the_conversation(tmp_path: Path) -> None:
    async with house(tmp_path, agent=KEYS, people=People(comes="busy")) as there:
        await there.greeted()
        pressed_s = there.caller.now_s
        await there.caller.press("0")
        await there.said(OFFER)

        assert there.caller.first_sound_s(pressed_s) < 1.0  # no answer is on its way to wait for
        assert there.caller.times(CONNECTING) == 1
        assert [each.name for each in there.people.called] == ["billing"]
        assert outcomes(there) == ["busy"]


async def test_who_reaches_a_person_by_key_in_an_outage_is_not_said_goodbye_to(
    tmp_path: Path,
) -> None:
    async with house(tmp_path, agent=KEYS, people=People(after_s=8.0)) as there:
        await there.greeted()
        for each in there.lab.instances.values():
            each.set_faults([Window(fault=Refuse())])
        await there.caller.says(HOURS)
        await there.until(lambda: there.steps("clip"))
        await there.caller.press("0")
        await there.until(lambda: there.people.called)
        held = len(there.events(HeldTheLine))
        person = await there.picked_up()
        await there.until(lambda: there.events(PersonBriefed))
        await person.press("1")
        await asyncio.sleep(60.0)
        ended, held_since = there.events(CallEnded), there.events(HeldTheLine)[held:]
        await person.put_down()
        await there.said(BACK)
        await there.until(lambda: there.steps("keypad", "words"), within_s=120)

        assert ended == held_since == []
        assert outcomes(there) == ["connected"]


async def test_a_key_notes_a_callback(tmp_path: Path) -> None:
    async with house(tmp_path, agent=KEYS, people=None) as there:
        await there.greeted()
        await there.caller.press("9")
        await there.said(CALLED_BACK)

        (waiting,) = await there.process.last_resort.callbacks.waiting()
        assert waiting.number == "+15550199"


async def test_a_second_key_while_a_person_is_called_calls_nobody_else(tmp_path: Path) -> None:
    async with house(tmp_path, agent=KEYS, people=People(comes="busy")) as there:
        await there.greeted()
        await there.caller.press("00")
        await there.said(OFFER)

        assert len(there.people.called) == 1


@pytest.mark.parametrize(
    ("people", "said"),
    [
        (People(), [CONNECTING, TOGETHER]),
        (People(comes="busy"), [CONNECTING, NOBODY]),
        (None, []),
    ],
    ids=["who accepts", "who is busy", "on a line that reaches nobody"],
)
async def test_0_in_the_menu_reaches_a_person_while_every_provider_is_dead(
    tmp_path: Path, people: People | None, said: list[str]
) -> None:
    async with house(tmp_path, agent=WARM, people=people) as there:
        await there.greeted()
        for each in there.lab.instances.values():
            each.set_faults([Window(fault=Refuse())])
        await there.caller.says(HOURS)
        await there.until(lambda: there.steps("keypad", "words"), within_s=120)
        await there.caller.press("0")
        if people and people.comes is None:
            person = await there.picked_up()
            await there.until(lambda: there.events(PersonBriefed))
            heard = person.hears("To take the call, press 1, or say yes.")
            await person.press("1")
            await asyncio.sleep(10.0)
            await person.put_down()
        else:
            heard = True
        await there.until(lambda: there.events(CallEnded), within_s=120)

        called_back = "en.callback.0" in [each.utterance for each in there.events(HeldTheLine)]
        assert [there.caller.times(each) for each in said] == [1] * len(said)
        assert called_back != (TOGETHER in said)
        assert heard


async def test_the_model_sees_a_name_and_no_number(tmp_path: Path) -> None:
    async with house(tmp_path, agent=WARM, people=People(comes="busy")) as there:
        await asked(there)
        await there.said(OFFER)
        written = "".join(each.read_text() for each in (tmp_path / "logs").rglob("*.log*"))
        tools = there.tools_of_call()

        assert "billing" in tools
        assert "5550123" not in tools
        assert "5550123" not in "".join(map(repr, there.told)) + written
