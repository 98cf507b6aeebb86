"""A number that opts out is listed before the call ends and before the caller is told."""

import asyncio
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import pytest

from bot.call.ending import take_step
from bot.do_not_call import opt_outs
from bot.do_not_call.opt_outs import DoNotCallList, OptOuts
from bot.do_not_call.owed_numbers import OwedNumber, OwedNumbers
from bot.do_not_call.question import MAX_QUESTIONS, OptOutQuestion, Wish
from bot.do_not_call.requests import (
    ASK_FIRST,
    LISTED,
    TAKEN_BACK,
    DoNotCallRequests,
    kept_number,
    list_again,
)
from bot.tools.toolbox import ToolFailed
from calls.events import (
    AgentSaid,
    Event,
    TranscriptFinal,
    TurnDecided,
    TurnEnded,
    UsageMeasured,
)
from calls.operations_events import (
    DoNotCallListed,
    DoNotCallOwed,
    DoNotCallTakenBack,
    DoNotCallWanted,
)
from campaigns.store.contacts import Contacts, NewContact
from fallbacks.events import StageExhausted
from fallbacks.failure import Kind, error_of, failed, finding
from operations.after_call.asking import ResultPen
from operations.database.database import Database, StorageError
from operations.stored_words import without_spoken_cards
from processors.holding.utterance_rules import Situation
from providers.provider import PenAnswer, PenQuestion

pytestmark = pytest.mark.virtual_time

NUMBER = "+15550142"


def said(text: str) -> TranscriptFinal:
    return TranscriptFinal(turn=2, at_s=0.0, provider="deepgram", text=text)


@dataclass
class Judge:
    """A model that answers questions about sentences, after a while."""

    answers: Mapping[Wish, str]
    after_s: float = 0.1
    asked: list[str] = field(default_factory=list)

    async def write(self, question: PenQuestion) -> tuple[str, PenAnswer]:
        self.asked.append(question.text)
        await asyncio.sleep(self.after_s)
        answer = self.answers[Wish(question.instruction)]
        if not answer:
            raise error_of(failed(finding(Kind.NETWORK), "llm", provider="a"))
        return "a", PenAnswer(text=answer, model="m")


@dataclass
class Desks:
    """Makes the desks of one process."""

    folder: Path
    told: list[Event] = field(default_factory=list)  # in calls
    beside: list[Event] = field(default_factory=list)  # outside them
    said: list[Situation] = field(default_factory=list)  # in the agent's voice

    def desk(
        self,
        numbers: DoNotCallList,
        number: str = NUMBER,
        judge: Judge | None = None,
        language: str = "en",
    ) -> DoNotCallRequests:
        question = OptOutQuestion(cast("ResultPen", judge)) if judge else None
        kept = OwedNumbers(self.folder)
        return DoNotCallRequests(
            OptOuts(numbers, kept, emit=self.beside.append, question=question),
            number,
            call_id="c1",
            turn=lambda: 2,
            emit=self.told.append,
            utc_s=lambda: 1000.0,
            say=self.say,
            language=lambda: language,
            stored=without_spoken_cards,
        )

    async def say(self, situation: Situation) -> None:
        self.said.append(situation)


@pytest.fixture
def desks(tmp_path: Path) -> Desks:
    return Desks(tmp_path / "do_not_call")


class AwayList:
    """A list whose database fails for some tries."""

    def __init__(self, times: int) -> None:
        self.times = times
        self.listed: list[str] = []
        self.words: list[str] = []

    async def add_do_not_call(
        self,
        number: str,
        *,
        source: str,
        now: float,
        dial_id: str = "",
        also: str = "",
        words: str = "",
    ) -> bool:
        self.times -= 1
        if self.times >= 0:
            raise StorageError("away")
        self.listed.append(number)
        self.words.append(words)
        return True

    async def remove_do_not_call(
        self, number: str, *, dial_id: str = "", also: str = "", added_s: float | None = None
    ) -> int:
        if self.times > 0:
            raise StorageError("away")
        self.listed.remove(number)
        return 1


class SlowList(AwayList):
    """A list from which it takes a second to remove a number."""

    async def add_do_not_call(self, number: str, **fields: Any) -> bool:
        return number in self.listed or await super().add_do_not_call(number, **fields)

    async def remove_do_not_call(self, number: str, **fields: Any) -> int:
        await asyncio.sleep(1.0)
        return await super().remove_do_not_call(number, **fields)


async def test_the_tool_answers_after_the_number_is_on_the_list(
    tmp_path: Path, desks: Desks
) -> None:
    book = Contacts(Database(f"sqlite+aiosqlite:///{tmp_path / 'own.db'}"))
    await book.add("spring", [NewContact(number=NUMBER)], now=1.0)

    answer = await desks.desk(book).tool().run({})
    listed = await book.do_not_call([NUMBER])
    await book.database.close()

    assert answer == LISTED
    assert listed == {NUMBER}
    assert desks.told == [DoNotCallWanted(turn=2, by="model")]


async def test_words_are_enough_without_a_model(tmp_path: Path, desks: Desks) -> None:
    book = Contacts(Database(f"sqlite+aiosqlite:///{tmp_path / 'own.db'}"))
    desk = desks.desk(book)

    desk.notice(said("Please, don't call me again."))
    await desk.close()
    listed = await book.do_not_call([NUMBER])
    await book.database.close()

    assert listed == {NUMBER}
    assert desks.told == [DoNotCallWanted(turn=2, by="words")]


async def test_a_number_that_is_not_listed_yet_is_listed_by_the_process_that_resumes_the_call(
    desks: Desks,
) -> None:
    away, there = AwayList(times=9), AwayList(times=0)
    desk, other = desks.desk(away), desks.desk(there)
    assert not kept_number(desk)
    with pytest.raises(ToolFailed):
        await desk.tool().run({})
    desks.told.clear()
    list_again(other, json.loads(json.dumps(kept_number(desk))))
    await other.close()

    assert there.listed == [NUMBER]
    assert desks.told == [DoNotCallWanted(turn=2, by="model")]


async def test_a_number_that_was_listed_before_a_call_is_resumed_is_reported_and_taken_back(
    desks: Desks, tmp_path: Path
) -> None:
    book = Contacts(Database(f"sqlite+aiosqlite:///{tmp_path / 'own.db'}"))
    desk, other = desks.desk(book), desks.desk(book)
    assert await desk.tool().run({}) == LISTED
    desks.told.clear()
    list_again(other, json.loads(json.dumps(kept_number(desk))))
    await asyncio.sleep(1.0)
    assert await other.undo_tool().run({}) == ASK_FIRST
    confirmed(other, "Yes, please.")
    assert await other.undo_tool().run({}) == TAKEN_BACK
    await other.close()
    listed = await book.do_not_call([NUMBER])
    await book.database.close()

    assert not listed
    assert not kept_number(other)
    assert [type(event) for event in desks.told] == [DoNotCallWanted, DoNotCallTakenBack]


@pytest.mark.parametrize("by", ["model", "words"])
@pytest.mark.parametrize("resumed", [1, 2])
@pytest.mark.parametrize(("away_tries", "event"), [(2, DoNotCallWanted), (9, DoNotCallOwed)])
async def test_an_opt_out_of_a_resumed_call_is_reported_as_that_of_another(
    desks: Desks,
    away_tries: int,
    event: type[DoNotCallWanted] | type[DoNotCallOwed],
    resumed: int,
    by: str,
) -> None:
    desk = desks.desk(AwayList(times=9))
    if by == "model":
        with pytest.raises(ToolFailed):
            await desk.tool().run({})
    else:
        heard(desk, WISH)
        desk.notice(ANSWERED)
        await asyncio.sleep(1.0)
    for tries in (9, away_tries)[-resumed:]:
        kept, desk = kept_number(desk), desks.desk(AwayList(times=tries))
        list_again(desk, json.loads(json.dumps(kept)))
        await asyncio.sleep(0.1)
    desks.told.clear()
    await desk.close()

    assert desks.told == [event(turn=2, by=by)]


async def test_the_caller_is_told_only_after_the_commit(desks: Desks) -> None:
    numbers = AwayList(times=3)
    desk = desks.desk(numbers)

    with pytest.raises(ToolFailed, match="tried again"):
        await desk.tool().run({})
    assert desks.told == []
    await asyncio.sleep(2.0)  # the goodbye
    await desk.close()  # the ending call waits for it

    assert numbers.listed == [NUMBER]
    assert desks.told == [DoNotCallWanted(turn=2, by="model")]


async def test_a_number_is_listed_even_if_the_database_returns_long_after_the_call(
    desks: Desks,
) -> None:
    numbers = AwayList(times=20)
    desk = desks.desk(numbers)

    with pytest.raises(ToolFailed, match="tried again"):
        await desk.tool().run({})
    await take_step("listing a number", desk.close(), call_id="c1")
    ended = list(desks.told)
    await asyncio.sleep(600.0)

    assert ended == desks.told == [DoNotCallOwed(turn=2, by="model")]
    assert desks.beside == [DoNotCallListed(call_id="c1", tries=21)]
    assert numbers.listed == [NUMBER]


async def test_asking_twice_lists_once(desks: Desks) -> None:
    numbers = AwayList(times=0)
    desk = desks.desk(numbers)

    desk.notice(said("Stop calling me."))
    await asyncio.gather(desk.tool().run({}), desk.tool().run({}))
    desk.notice(said("I said stop calling me."))
    await desk.close()

    assert numbers.listed == [NUMBER]


@pytest.mark.parametrize("number", ["", "+266696687", "sip:12345@a.long.name.example"])
async def test_a_caller_without_a_number_is_told_so(desks: Desks, number: str) -> None:
    with pytest.raises(ToolFailed, match="not known"):
        await desks.desk(AwayList(times=0), number=number).tool().run({})


WISH = "Please don't call me again."
ANSWERED = TurnEnded(turn=2, at_s=1.0, interrupted=False)


def heard(desk: DoNotCallRequests, *texts: str, turn: int = 2) -> None:
    """Let a turn of the caller's end with these transcripts."""
    for text in texts:
        desk.notice(said(text))
    desk.notice(TurnDecided(turn=turn, at_s=0.5))


async def test_the_model_judges_before_the_words(desks: Desks) -> None:
    numbers = AwayList(times=0)
    desk = desks.desk(numbers)

    heard(desk, WISH)
    await asyncio.sleep(1.0)
    unjudged = list(numbers.listed)
    await desk.tool().run({})
    desk.notice(ANSWERED)
    await desk.close()

    assert unjudged == []
    assert (numbers.listed, numbers.words) == ([NUMBER], [WISH])
    assert desks.told == [DoNotCallWanted(turn=2, by="model")]
    assert desks.said == []  # the model says it


@pytest.mark.parametrize("by_model", [True, False])
async def test_the_list_gets_the_words_as_they_may_be_stored(
    desks: Desks,
    by_model: bool,  # noqa: FBT001
) -> None:
    numbers = AwayList(0)
    desk = desks.desk(numbers)
    desk.notice(said("My card is 4242 4242, 4242 4242."))
    desk.notice(said(WISH))
    desk.notice(TurnDecided(turn=2, at_s=0.0))
    if by_model:
        await desk.tool().run({})
    await desk.close()

    assert numbers.words == [f"My card is ************4242. {WISH}"]


@pytest.mark.parametrize(
    "over", [ANSWERED, StageExhausted(stage="llm", attempts=3), TurnDecided(turn=3, at_s=9.0)]
)
async def test_opt_out_words_that_no_model_judged_count_and_are_confirmed_aloud(
    desks: Desks, over: Event
) -> None:
    numbers = AwayList(times=0)
    desk = desks.desk(numbers)

    heard(desk, WISH)
    desk.notice(over)
    await asyncio.sleep(1.0)

    assert (numbers.listed, numbers.words) == ([NUMBER], [WISH])
    assert desks.told == [DoNotCallWanted(turn=2, by="words")]
    assert desks.said == [Situation.NOT_CALLED]
    await desk.close()


async def test_a_turn_is_judged_as_a_whole(desks: Desks) -> None:
    numbers = AwayList(times=0)
    desk = desks.desk(numbers)

    heard(desk, "Don't call me", "before noon.")
    desk.notice(ANSWERED)
    await desk.close()

    assert numbers.listed == []


async def test_an_earlier_turns_end_judges_nothing(desks: Desks) -> None:
    numbers = AwayList(times=0)
    desk = desks.desk(numbers)

    heard(desk, WISH)
    desk.notice(TurnEnded(turn=1, at_s=0.6, interrupted=True))
    await asyncio.sleep(1.0)

    assert numbers.listed == []
    await desk.close()


ASKED = "Shall I take your number off the list?"


def confirmed(desk: DoNotCallRequests, answer: str, turn: int = 3, asked: str = ASKED) -> None:
    """Let the agent ask whether the number shall come off the list, and the caller answer."""
    desk.notice(AgentSaid(turn=turn - 1, text=asked))
    heard(desk, answer, turn=turn)


async def test_an_opt_out_can_be_withdrawn_in_the_same_call(tmp_path: Path, desks: Desks) -> None:
    book = Contacts(Database(f"sqlite+aiosqlite:///{tmp_path / 'own.db'}"))
    await book.add("spring", [NewContact(number=NUMBER)], now=1.0)
    desk = desks.desk(book)

    await desk.tool().run({})
    first = await desk.undo_tool().run({})
    still = await book.do_not_call([NUMBER])
    confirmed(desk, "Yes, please.")
    answer = await desk.undo_tool().run({})
    listed = await book.do_not_call([NUMBER])
    again = await book.add("spring", [NewContact(number=NUMBER)], now=2.0)
    await desk.close()
    await book.database.close()

    assert (first, still) == (ASK_FIRST, {NUMBER})
    assert answer == TAKEN_BACK
    assert (listed, again) == (frozenset(), ["known"])
    assert desks.told == [
        DoNotCallWanted(turn=2, by="model"),
        DoNotCallTakenBack(turn=2, by="model"),
    ]


async def test_a_yes_takes_the_number_off_even_if_the_model_forgets_its_tool(desks: Desks) -> None:
    numbers = AwayList(times=0)
    desk = desks.desk(numbers)

    await desk.tool().run({})
    await desk.undo_tool().run({})
    confirmed(desk, "Ja, bitte.")
    await asyncio.sleep(1.0)

    assert numbers.listed == []
    await desk.close()


@pytest.mark.parametrize("answer", ["", "Yes, but not now.", "Yes I want you to stop calling."])
@pytest.mark.parametrize("again", [False, True])
async def test_any_answer_but_a_clear_yes_leaves_the_number_on_the_list(
    desks: Desks, answer: str, *, again: bool
) -> None:
    numbers = AwayList(times=0)
    desk = desks.desk(numbers)

    await desk.tool().run({})
    await desk.undo_tool().run({})
    confirmed(desk, answer)
    if again:
        with pytest.raises(ToolFailed, match="clear yes"):
            await desk.undo_tool().run({})
    await asyncio.sleep(1.0)

    assert numbers.listed == [NUMBER]
    await desk.close()


@pytest.mark.parametrize("asked", ["Thank you, goodbye.", "Shall I take your num"])
async def test_a_yes_to_no_question_leaves_the_number_on_the_list(desks: Desks, asked: str) -> None:
    numbers = AwayList(times=0)
    desk = desks.desk(numbers)

    await desk.tool().run({})
    await desk.undo_tool().run({})
    confirmed(desk, "Yes.", asked=asked)
    await asyncio.sleep(1.0)

    assert numbers.listed == [NUMBER]
    await desk.close()


async def test_a_yes_two_turns_after_the_question_is_none(desks: Desks) -> None:
    numbers = AwayList(times=0)
    desk = desks.desk(numbers)

    await desk.tool().run({})
    await desk.undo_tool().run({})
    confirmed(desk, "Who is calling?")
    heard(desk, "Yes.", turn=4)
    await asyncio.sleep(1.0)

    assert numbers.listed == [NUMBER]
    await desk.close()


async def test_an_opt_out_can_be_withdrawn_without_a_model(desks: Desks) -> None:
    numbers = AwayList(times=0)
    desk = desks.desk(numbers)
    for turn, text in ((2, WISH), (3, "No, you can still call me.")):
        heard(desk, text, turn=turn)
        desk.notice(StageExhausted(stage="llm", attempts=3))
        await asyncio.sleep(1.0)
    still = list(numbers.listed)
    confirmed(desk, "Yes.", turn=4)
    await asyncio.sleep(1.0)

    assert (still, numbers.listed) == ([NUMBER], [])
    assert desks.said == [Situation.NOT_CALLED, Situation.CONFIRM_CALLS, Situation.CALLED_AGAIN]
    await desk.close()


async def test_a_refusal_asks_nothing_and_takes_nothing_back(desks: Desks) -> None:
    numbers = AwayList(times=0)
    desk = desks.desk(numbers)
    for turn, text in ((2, WISH), (3, "No, I do not want that."), (4, "Yes.")):
        heard(desk, text, turn=turn)
        desk.notice(StageExhausted(stage="llm", attempts=3))
        await asyncio.sleep(1.0)

    assert numbers.listed == [NUMBER]
    assert desks.said == [Situation.NOT_CALLED]
    await desk.close()


async def test_withdrawing_an_opt_out_leaves_an_earlier_entry(tmp_path: Path, desks: Desks) -> None:
    book = Contacts(Database(f"sqlite+aiosqlite:///{tmp_path / 'own.db'}"))
    await book.add_do_not_call(NUMBER, source="letter", now=1.0)
    desk = desks.desk(book)

    await desk.tool().run({})
    await desk.undo_tool().run({})
    confirmed(desk, "Yes.")
    await desk.undo_tool().run({})
    listed = await book.do_not_call([NUMBER])
    await desk.close()
    await book.database.close()

    assert listed == {NUMBER}


async def test_a_pending_opt_out_that_is_withdrawn_is_never_listed(desks: Desks) -> None:
    numbers = AwayList(times=2)
    desk = desks.desk(numbers)
    heard(desk, WISH)
    desk.notice(ANSWERED)
    await asyncio.sleep(0.5)

    await desk.undo_tool().run({})
    confirmed(desk, "Yes.")
    with pytest.raises(ToolFailed, match="staff"):  # the database is still away
        await desk.undo_tool().run({})
    await asyncio.sleep(600.0)

    assert numbers.listed == []
    assert not list(desks.folder.glob("*.json"))
    await desk.close()


@pytest.mark.parametrize("away_s", [1.0, 30.0])
@pytest.mark.parametrize("by", ["model", "words"])
async def test_a_request_after_a_withdrawn_one_is_a_new_one(
    desks: Desks, by: str, away_s: float
) -> None:
    numbers = AwayList(times=99)
    desk = desks.desk(numbers)
    with pytest.raises(ToolFailed, match="tried again"):
        await desk.tool().run({})
    await desk.undo_tool().run({})
    confirmed(desk, "Yes.")
    await asyncio.sleep(away_s)

    if by == "model":
        with pytest.raises(ToolFailed, match="tried again"):
            await desk.tool().run({})
    else:
        heard(desk, WISH, turn=4)
        desk.notice(StageExhausted(stage="llm", attempts=3))
        await asyncio.sleep(1.0)
    unlisted = (list(desks.told), list(desks.said), bool(kept_number(desk)))
    numbers.times = 0
    await asyncio.sleep(30.0)
    await desk.close()

    assert unlisted == ([], [], True)
    assert numbers.listed == [NUMBER]
    assert desks.told == [DoNotCallWanted(turn=2, by=by)]


async def test_a_repeated_request_that_is_still_pending_at_the_end_is_reported(
    desks: Desks,
) -> None:
    desk = desks.desk(AwayList(times=99))
    heard(desk, WISH)
    desk.notice(ANSWERED)
    await asyncio.sleep(0.5)
    await desk.undo_tool().run({})
    confirmed(desk, "Yes.")
    heard(desk, WISH, turn=4)
    await desk.close()

    assert desks.told == [DoNotCallOwed(turn=2, by="words")]


async def test_a_request_during_a_withdrawal_is_listed_after_it(desks: Desks) -> None:
    numbers = SlowList(times=0)
    desk = desks.desk(numbers)
    await desk.tool().run({})
    await desk.undo_tool().run({})
    confirmed(desk, "Yes.")
    await asyncio.sleep(0.1)  # the number is being removed
    answer = await desk.tool().run({})
    await desk.close()

    assert answer == LISTED
    assert numbers.listed == [NUMBER]
    assert [type(event) for event in desks.told] == [
        DoNotCallWanted,
        DoNotCallTakenBack,
        DoNotCallWanted,
    ]


async def test_a_number_that_could_not_be_removed_counts_as_listed(desks: Desks) -> None:
    numbers = AwayList(times=0)
    desk = desks.desk(numbers)
    await desk.tool().run({})
    await desk.undo_tool().run({})
    numbers.times = 9
    confirmed(desk, "Yes.")
    await asyncio.sleep(1.0)

    assert await desk.tool().run({}) == LISTED
    await desk.close()
    assert desks.told == [DoNotCallWanted(turn=2, by="model")]


async def test_a_request_that_was_dropped_is_not_confirmed_and_is_reported(
    desks: Desks, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(opt_outs, "MAX_OWED", 0)
    desk = desks.desk(AwayList(times=9))

    for _ in range(2):
        with pytest.raises(ToolFailed, match="tried again"):
            await desk.tool().run({})
    kept = kept_number(desk)
    await desk.close()

    assert kept["number"] == NUMBER
    assert desks.told == [DoNotCallOwed(turn=2, by="model")]


async def test_a_dropped_request_that_is_withdrawn_is_not_listed_from_disk(
    desks: Desks, monkeypatch: pytest.MonkeyPatch
) -> None:
    numbers = AwayList(times=2)
    desk = desks.desk(numbers)
    heard(desk, WISH)
    desk.notice(ANSWERED)
    await asyncio.sleep(0.5)
    monkeypatch.setattr(opt_outs, "MAX_OWED", 0)
    another = desk.opt_outs.start_listing(
        OwedNumber(call_id="c2", number="+15550199", source="voice: words", asked_s=1.0)
    )
    on_disk = [path.name for path in desks.folder.glob("*.json")]
    await desk.undo_tool().run({})
    confirmed(desk, "Yes.")
    await asyncio.sleep(1.0)

    assert on_disk == ["c1.json"]
    assert not (desks.folder / "c1.json").exists()
    await asyncio.wait({another})
    await desk.close()


@pytest.mark.parametrize(
    ("words", "answer", "listed"),
    [
        ("Don't bother me with the details.", "No.", False),
        ("Remove me from the email list, calls are fine.", "no", False),
        (WISH, "no", False),  # the model heard the conversation, and the words did not
        ("I have had it with you people ringing here.", "yes", True),
        ("Leave me alone.", "Yes.", True),
        ("Lasst meine Nummer endlich in Ruhe.", "yes", True),
        (WISH, "Ignore that. The number is listed.", True),  # no answer: the words decide
        ("Leave me alone.", "I can help you with that!", False),
        (WISH, "", True),
    ],
)
async def test_a_model_that_did_not_use_its_tool_is_asked_about_the_turn(
    desks: Desks, words: str, answer: str, *, listed: bool
) -> None:
    numbers, judge = AwayList(times=0), Judge({Wish.NO_CALLS: answer})
    desk = desks.desk(numbers, judge=judge)

    heard(desk, words)
    before = list(judge.asked)
    desk.notice(ANSWERED)
    await asyncio.sleep(1.0)

    assert (before, len(judge.asked)) == ([], 1)  # no reply waits for it
    assert words in json.loads(judge.asked[0])["said"]
    assert numbers.listed == ([NUMBER] if listed else [])
    assert desks.said == ([Situation.NOT_CALLED] if listed else [])
    await desk.close()


@pytest.mark.parametrize(("words", "listed"), [(WISH, True), ("Leave me alone.", False)])
@pytest.mark.parametrize("after_s", [4.0, 1e6])
async def test_a_model_that_answers_late_leaves_it_to_the_words(
    desks: Desks, words: str, after_s: float, *, listed: bool
) -> None:
    numbers = AwayList(times=0)
    desk = desks.desk(numbers, judge=Judge({Wish.NO_CALLS: "no"}, after_s=after_s))

    heard(desk, words)
    desk.notice(ANSWERED)
    await desk.close()  # the person has hung up

    assert numbers.listed == ([NUMBER] if listed else [])


async def test_no_model_is_asked_while_none_answers_or_about_other_words(desks: Desks) -> None:
    numbers, judge = AwayList(times=0), Judge({Wish.NO_CALLS: "no"})
    desk = desks.desk(numbers, judge=judge)

    heard(desk, "I would like a table for two.")
    desk.notice(ANSWERED)
    heard(desk, WISH, turn=3)
    desk.notice(StageExhausted(stage="llm", attempts=3))
    await desk.close()

    assert judge.asked == []
    assert numbers.listed == [NUMBER]


async def test_a_model_is_asked_about_every_turn_in_a_language_without_patterns(
    desks: Desks,
) -> None:
    numbers, judge = AwayList(times=0), Judge({Wish.NO_CALLS: "yes"})
    desk = desks.desk(numbers, judge=judge, language="sv-SE")

    heard(desk, "Sluta ringa mig.")
    desk.notice(ANSWERED)
    await desk.close()

    assert numbers.listed == [NUMBER]


async def test_a_model_that_sees_a_wish_for_calls_only_makes_us_ask(desks: Desks) -> None:
    numbers = AwayList(times=0)
    judge = Judge({Wish.NO_CALLS: "yes", Wish.CALLS_AGAIN: "yes"})
    desk = desks.desk(numbers, judge=judge)

    for turn, words in ((2, WISH), (3, "That about the calls was a joke, I like them.")):
        heard(desk, words, turn=turn)
        desk.notice(TurnEnded(turn=turn, at_s=1.0, interrupted=False))
        await asyncio.sleep(1.0)

    assert numbers.listed == [NUMBER]
    assert desks.said == [Situation.NOT_CALLED, Situation.CONFIRM_CALLS]
    assert [event.turn for event in desks.told if isinstance(event, UsageMeasured)] == [2, 2]
    await desk.close()


async def test_questions_to_a_model_are_limited_per_call(desks: Desks) -> None:
    numbers, judge = AwayList(times=0), Judge({Wish.NO_CALLS: "no"})
    desk = desks.desk(numbers, judge=judge)

    for turn in range(2, 40):
        heard(desk, "Which number did you call?", turn=turn)
        await asyncio.sleep(1.0)

    assert len(judge.asked) == MAX_QUESTIONS
    await desk.close()


async def test_an_opt_out_that_was_not_listed_cannot_be_withdrawn(desks: Desks) -> None:
    with pytest.raises(ToolFailed, match="Nothing was listed"):
        await desks.desk(AwayList(times=0)).undo_tool().run({})
