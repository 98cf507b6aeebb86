"""A caller reaches a person, or hears that it did not work: at both ears, word by word."""

import asyncio
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import pytest

from calls.campaign_events import CallOrdered
from calls.events import AgentSaid, AnswerHeard, CallEnded, CallerSilent, PersonWanted
from calls.leg_events import CallerReturned, PersonBriefed
from fallbacks.events import HeldTheLine
from lab.simulators.deepgram.simulator import DeepgramSimulator
from lab.simulators.faults import Refuse
from lab.simulators.receptionist import script
from lab.simulators.receptionist.notes import Notes, Turn
from lab.simulators.receptionist.understood import Understood
from lab.simulators.schedule import Window
from tests.bot.call.test_summary_post import owner
from tests.bot.call.transfer.transfer_bench import (
    BACK,
    CALLED_BACK,
    CONNECTING,
    HOURS,
    KEYS,
    NOBODY,
    OFFER,
    PLAIN,
    SETTLE_S,
    TOGETHER,
    WARM,
    People,
    Telephone,
    WorkerPool,
    asked,
    pool,
)
from tests.kit.dials import orders_of

pytestmark = [
    pytest.mark.virtual_time,
    pytest.mark.slow,
    pytest.mark.usefixtures("quiet_log"),
]


async def test_a_person_hears_the_summary_in_the_agents_language(
    tmp_path: Path,
) -> None:
    async with pool(tmp_path, agent={**WARM, "language": "multi"}, people=People()) as there:
        for instance in there.lab.instances.values():
            if isinstance(instance, DeepgramSimulator):
                instance.spoken = "es"
        await asked(there)
        await there.picked_up()
        await there.until(lambda: there.events(PersonBriefed))
        asked_of_voice = [request.details for request in there.lab.record.requests("cartesia")]
        (told,) = [detail for detail in asked_of_voice if "press 1" in detail.get("text", "")]
        heard = [event.text for event in there.events(AgentSaid)]

        assert told["language"] == "en"
        assert told["text"].startswith("Hello. I have a caller on the line")
        assert "Le paso ahora mismo." in heard  # the caller


async def test_a_person_who_hangs_up_gives_the_caller_back_to_the_agent(tmp_path: Path) -> None:
    async with pool(tmp_path, agent=WARM, people=People()) as there:
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
        assert there.outcomes == ["connected"]


async def test_two_silent_parties_are_left_alone_until_the_agent_asks_again(
    tmp_path: Path,
) -> None:
    limit = {"max_call_s": 60.0}
    async with pool(tmp_path, agent={**WARM, **limit}, people=People()) as there:
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


@pytest.mark.parametrize(
    ("word", "outcome", "why"), [("yes", "connected", ""), ("no", "declined", "declined")]
)
async def test_a_person_accepts_by_voice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, word: str, outcome: str, why: str
) -> None:
    async with pool(tmp_path, agent=WARM, people=People()) as there:
        heard_s = understands(there, monkeypatch, word)
        await asked(there)
        person = await there.picked_up()
        await person.says("Yes? Who is there?")  # while the agent speaks
        await there.until(lambda: there.events(PersonBriefed))
        early = list(heard_s)
        await person.says(word)
        await there.until(lambda: there.outcomes)
        await asyncio.sleep(1.0)

        assert early == []
        assert len(heard_s) == 1
        assert there.outcomes == [outcome]
        assert person.why == why


def understands(there: WorkerPool, monkeypatch: pytest.MonkeyPatch, *words: str) -> list[float]:
    """Let the server's recogniser, which hears in real time, understand these; return how long."""
    heard_s: list[float] = []
    answers = list(words)

    async def understand(pcm: bytes, rate_hz: int) -> str:
        if pcm:  # without sound it is warmed
            heard_s.append(len(pcm) / 2 / rate_hz)
        return answers.pop(0) if pcm and answers else ""

    monkeypatch.setattr(there.process.shared.last_resort.ear, "understand", understand)
    return heard_s


async def test_a_machine_that_accepts_nothing_is_dropped_and_the_agent_returns(
    tmp_path: Path,
) -> None:
    async with pool(tmp_path, agent=WARM, people=People()) as there:
        asked_s = await asked(there)
        await there.picked_up()
        await there.said(OFFER)

        assert there.people.person
        assert there.people.person.why == "not_accepted"
        assert there.events(CallerSilent) == []  # a waiting caller gets no prompt
        assert there.caller.longest_silence_s(asked_s) < 2.0
        assert there.outcomes == ["no_answer"]


async def test_a_caller_who_hangs_up_leaves_no_listening_person_on_the_line(tmp_path: Path) -> None:
    async with pool(tmp_path, agent=WARM, people=People()) as there:
        await asked(there)
        person = await there.picked_up()
        await there.caller.put_down()
        await there.until(lambda: there.events(CallEnded))

        assert person.over.is_set()


async def test_a_leg_that_can_transfer_releases_the_caller(tmp_path: Path) -> None:
    caller = Telephone(hands_on="connected")
    async with pool(tmp_path, agent=PLAIN, people=None, caller=caller) as there:
        await asked(there)
        await there.until(lambda: there.events(CallEnded))

        assert caller.handed_on[0].number == "+15550123"
        assert caller.times(CONNECTING) == 1
        assert there.outcomes == ["connected"]
        assert there.events(CallEnded)[0].reason == "transfer"


async def test_a_failed_transfer_by_the_leg_keeps_the_caller(tmp_path: Path) -> None:
    caller = Telephone(hands_on="no_answer")
    async with pool(tmp_path, agent=PLAIN, people=None, caller=caller) as there:
        asked_s = await asked(there)
        await there.said(OFFER)

        assert caller.longest_silence_s(asked_s) < 2.0
        assert there.outcomes == ["no_answer"]


async def test_an_unanswered_transfer_by_the_leg_is_reported_and_offers_a_callback(
    tmp_path: Path,
) -> None:
    async with pool(tmp_path, agent=PLAIN, people=None) as there:
        await asked(there)
        await there.until(lambda: there.events(PersonWanted))
        await there.until(lambda: there.events(AnswerHeard))

        assert there.outcomes == []
        assert there.caller.times(CONNECTING) == 0


WAYS = {"we call the person": (WARM, None), "the line transfers": (PLAIN, "connected")}


FIRST = "One moment please, I will look for a colleague."


@pytest.mark.parametrize(("agent", "hands_on"), WAYS.values(), ids=WAYS)
async def test_a_transfer_to_a_forbidden_number_is_reported_after_the_models_words(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, agent: dict[str, Any], hands_on: Any
) -> None:
    def adds_words(notes: Notes, heard: Understood) -> Turn:
        notes, answer = step(notes, heard)
        wanted = answer.tool == "transfer_to_person"
        return notes, replace(answer, text=FIRST) if wanted else answer

    step = script.step
    monkeypatch.setattr(script, "step", adds_words)
    telephone = Telephone(hands_on=hands_on)
    outbound = {"countries": ["US"]}  # the number is not in use there
    async with pool(
        tmp_path, agent=agent, people=People(), caller=telephone, outbound=outbound
    ) as there:
        await asked(there)
        await there.said(OFFER)
        (order,) = await orders_of(there.process.database)

    assert (there.people.called, telephone.handed_on) == ([], [])
    assert there.outcomes == ["failed"]
    assert there.said_texts[1:] == [FIRST, *([CONNECTING] if hands_on else []), NOBODY, OFFER]
    assert (order.source, order.outcome, order.reason) == ("transfer", "refused", "cost_class")


@pytest.mark.parametrize(("agent", "hands_on"), WAYS.values(), ids=WAYS)
async def test_a_transfer_is_recorded_with_its_call_and_its_outcome(
    tmp_path: Path, agent: dict[str, Any], hands_on: Any
) -> None:
    telephone = Telephone(hands_on=hands_on)
    async with pool(tmp_path, agent=agent, people=People(), caller=telephone) as there:
        await asked(there)
        person = None if hands_on else await there.picked_up()
        if person:
            await there.until(lambda: there.events(PersonBriefed))
            await person.press("1")
        await there.until(lambda: there.outcomes)
        await asyncio.sleep(SETTLE_S)
        if person:
            await person.put_down()
            await asyncio.sleep(SETTLE_S)
        (order,) = await orders_of(there.process.database)

    ends = [event.outcome for event in there.events(CallOrdered)]
    assert ends == ["accepted", "connected"]
    assert (order.source, order.outcome, order.number) == ("transfer", "connected", "+15550123")
    assert order.ordered_by.startswith("call ")
    assert (order.length_s or 0.0) > 5.0 or hands_on  # a call that has left us has no known length


async def test_a_key_reaches_one_person_at_any_time_of_the_conversation(tmp_path: Path) -> None:
    async with pool(tmp_path, agent=KEYS, people=People(comes="busy")) as there:
        await there.greeted()
        pressed_s = there.caller.now_s
        await there.caller.press("00")
        await there.said(OFFER)

        assert there.caller.first_sound_s(pressed_s) < 1.0  # no answer is on its way to wait for
        assert there.caller.times(CONNECTING) == 1
        assert [item.name for item in there.people.called] == ["billing"]
        assert there.outcomes == ["busy"]


READ_OUT = "We would call you back on + 1 5 5 5 0 1 9 9. To confirm it, press the same key again."


async def test_a_key_requests_a_callback_once_the_number_is_confirmed(tmp_path: Path) -> None:
    async with pool(tmp_path, agent=KEYS, people=None) as there:
        callbacks = there.process.shared.last_resort.callbacks
        await there.greeted()
        await there.caller.press("9")
        await there.said(READ_OUT)
        unconfirmed = await callbacks.waiting()
        await there.caller.press("9")
        await there.said(CALLED_BACK)

        (waiting,) = await callbacks.waiting()
        assert unconfirmed == []
        assert waiting.number == "+15550199"


@pytest.mark.parametrize(
    ("people", "said"),
    [
        (People(), [CONNECTING, TOGETHER]),
        (None, []),
    ],
    ids=["who accepts", "on a line that reaches nobody"],
)
async def test_0_in_the_menu_reaches_a_person_while_every_provider_is_dead(
    tmp_path: Path, people: People | None, said: list[str]
) -> None:
    async with pool(tmp_path, agent=WARM, people=people) as there:
        await there.greeted()
        for instance in there.lab.instances.values():
            instance.set_faults([Window(fault=Refuse())])
        await there.caller.says(HOURS)
        await there.until(lambda: there.steps("keypad", "words"), within_s=120)
        await there.caller.press("0")
        if people:
            person = await there.picked_up()
            await there.until(lambda: there.events(PersonBriefed))
            heard = person.hears("To take the call, press 1, or say yes.")
            await person.press("1")
            await asyncio.sleep(10.0)
            await person.put_down()
        else:
            heard = True
        await there.until(lambda: there.events(CallEnded), within_s=120)

        called_back = "en.callback.0" in [event.utterance for event in there.events(HeldTheLine)]
        assert [there.caller.times(text) for text in said] == [1] * len(said)
        assert called_back != (TOGETHER in said)
        assert there.caller.times(BACK) == 0  # it asks something, and a goodbye follows
        assert heard


@pytest.mark.parametrize("direction", ["inbound", "outbound"])
async def test_the_owner_is_sent_the_other_partys_number_in_either_direction(
    tmp_path: Path, direction: Literal["inbound", "outbound"]
) -> None:
    caller, ours, theirs = Telephone(), "+15550000", "+15550142"
    numbers = (theirs, ours) if direction == "inbound" else (ours, theirs)
    caller.facts = replace(caller.facts, direction=direction, caller=numbers[0], called=numbers[1])
    async with (
        owner() as (url, got),
        pool(
            tmp_path, agent=KEYS, people=People(), caller=caller, transfer={"webhook_url": url}
        ) as there,
    ):
        await there.greeted()
        await there.caller.press("0")
        await there.until(lambda: got)

        assert [item["caller"] for item in got] == [theirs]


async def test_the_model_sees_a_name_and_no_number(tmp_path: Path) -> None:
    async with pool(tmp_path, agent=WARM, people=People(comes="busy")) as there:
        await asked(there)
        await there.said(OFFER)
        written = "".join(path.read_text() for path in (tmp_path / "logs").rglob("*.log*"))
        tools = there.tools_of_call()

        assert "billing" in tools
        assert "5550123" not in tools
        assert "5550123" not in "".join(map(repr, there.notes.entries)) + written
