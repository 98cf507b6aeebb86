"""Work after a call's end: known data is stored first, then a model is asked, within its bounds."""

import asyncio
import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime
from pathlib import Path

import pytest
from sqlalchemy import insert

from calls.events import Event, UsageMeasured
from calls.operations_events import CallSummarised, DoNotCallWanted
from operations.after_call.work import CallPurpose
from operations.crm.crm_outbox import CrmOutbox
from operations.crm.customer import CrmReport
from operations.database.database import Database
from operations.database.tables import MESSAGES
from tests.kit.clock import always
from tests.operations.after_call.bench import (
    BEGIN_S,
    GOOD,
    NUMBER,
    Bench,
    pen_of,
    simulated_model,
    url_of,
    utc_s,
)

pytestmark = pytest.mark.virtual_time

WORDS = ("This is Ada, I need another date.", "Call me tomorrow at nine.")
BEGAN = "2026-11-21T16:00:00+00:00"
PLAIN = "The caller said: This is Ada, I need another date. Call me tomorrow at nine."
TOMORROW_S = 1_795_356_000.0  # 22 November 2026, 9:00 in New York


@asynccontextmanager
async def working(bench: Bench) -> AsyncIterator[Bench]:
    async with asyncio.TaskGroup() as tasks:
        tasks_of = [
            tasks.create_task(bench.after_calls.run()),
            tasks.create_task(bench.reporter.run()),
        ]
        try:
            yield bench
        finally:
            for task in tasks_of:
                task.cancel()
    await bench.close()


async def told_of(bench: Bench, count: int = 1) -> list[CallSummarised]:
    async with asyncio.timeout(600):
        while len(found := [x for x in bench.told if isinstance(x, CallSummarised)]) < count:  # noqa: ASYNC110
            await asyncio.sleep(0.1)
    return found


async def due(outbox: CrmOutbox, at_s: float) -> CrmReport | None:
    lent = await outbox.lend(now_s=always(at_s))
    return lent.report if lent else None


async def recorded(database: Database, role: str, text: str) -> None:
    row = {"call_id": "c1", "turn": 1, "role": role, "text": text, "spans": []}
    async with database.transaction() as connection:
        await connection.execute(insert(MESSAGES).values(at=datetime.fromisoformat(BEGAN), **row))


@pytest.mark.parametrize("own", [(), WORDS[1:]], ids=["silent since", "spoke since"])
async def test_a_resumed_calls_result_knows_the_words_before(
    tmp_path: Path, own: tuple[str, ...]
) -> None:
    async with simulated_model() as model:
        bench = Bench(url_of(tmp_path), pen=pen_of(model))
        await recorded(bench.database, "caller", WORDS[0])
        await recorded(bench.database, "agent", "When may we call?")
        async with working(bench):
            await bench.call(words=own, began_at=BEGAN)
            await told_of(bench)
        (asked,) = model.asked

    transcript = f"Person: {WORDS[0]}\nAgent: When may we call?"
    assert (
        "\n".join((transcript, *(f"Person: {it}" for it in own)))
        in asked["messages"][-1]["content"]
    )


@pytest.mark.parametrize(
    ("began_at", "summary"), [(BEGAN, PLAIN), ("", f"The caller said: {WORDS[1]}")]
)
async def test_a_resumed_calls_summary_without_a_model_has_the_words_before(
    tmp_path: Path, began_at: str, summary: str
) -> None:
    bench = Bench(url_of(tmp_path))
    await recorded(bench.database, "caller", WORDS[0])
    async with working(bench):
        await bench.call(words=WORDS[1:], began_at=began_at)
        await told_of(bench)
        result = await bench.results.find("c1")

    assert result
    assert result.summary == summary


async def test_a_model_gives_a_calls_result(tmp_path: Path) -> None:
    async with simulated_model() as model:
        purpose = CallPurpose(campaign="spring", goals=("Find a date.",), results=("date_found",))
        bench = Bench(url_of(tmp_path), pen=pen_of(model), purpose=purpose)
        async with working(bench):
            await bench.call(words=WORDS)
            (told,) = await told_of(bench)
            result = await bench.results.find("c1")
            await asyncio.sleep(1.0)
            report = await due(bench.outbox, utc_s())

    assert result is not None
    assert (result.outcome, result.summary) == ("callback", "Ada wants another date.")
    assert (result.callback_at_s, result.notes) == (TOMORROW_S, "Mornings are best.")
    assert (result.made_by, result.provider, result.number) == ("model", "model-0", NUMBER)
    assert report is not None
    assert (report.result, report.summary) == ("callback", "Ada wants another date.")
    assert (report.outcome, report.campaign) == ("caller_hung_up", "spring")
    assert report.callback_at == "2026-11-22T14:00:00+00:00"
    assert (told.made_by, told.outcome, told.why) == ("model", "callback", "")
    system, user = model.asked[0]["messages"]
    assert "date_found" in system["content"]
    assert "- Find a date." in system["content"]
    assert "2026-11-21T11:00-05:00, which is Saturday" in system["content"]
    assert user["content"] == f"Person: {WORDS[0]}\nPerson: {WORDS[1]}"
    assert not [item for item in bench.told if "Ada" in str(item) or NUMBER in str(item)]


@pytest.mark.parametrize(
    ("answers", "refusal", "why", "asked"),
    [
        (["no JSON at all"], None, "malformed", 2),
        ([json.dumps(GOOD | {"outcome": "sold"})], None, "malformed", 2),
        ([json.dumps(GOOD)], "I cannot help with that.", "refused", 1),
        ([401], None, "no_model", 1),
        ([503], None, "no_model", 4),
    ],
    ids=["no JSON", "not the schema", "refused", "a wrong key", "a dead ladder"],
)
async def test_fields_that_a_model_leaves_out_follow_from_events(
    tmp_path: Path, answers: list[str | int], refusal: str | None, why: str, asked: int
) -> None:
    async with simulated_model() as model:
        model.answers, model.refusal = answers, refusal
        bench = Bench(url_of(tmp_path), pen=pen_of(model))
        async with working(bench):
            await bench.call(words=WORDS)
            (told,) = await told_of(bench)
            result = await bench.results.find("c1")
            await asyncio.sleep(1.0)
            report = await due(bench.outbox, utc_s())

    assert len(model.asked) == asked
    assert result is not None
    assert (result.made_by, result.why, told.why) == ("facts", why, why)
    assert (result.outcome, result.summary) == ("unclear", PLAIN)
    assert report is not None
    assert (report.made_by, report.result, report.summary) == ("facts", "unclear", PLAIN)


async def test_each_answer_of_a_model_is_reported_with_its_call_and_its_price(
    tmp_path: Path,
) -> None:
    told: list[Event] = []
    async with simulated_model() as model:
        model.answers = ['{"summary": "x"}', json.dumps(GOOD)]
        model.usage = {
            "prompt_tokens": 1000,
            "completion_tokens": 50,
            "total_tokens": 1050,
            "prompt_tokens_details": {"cached_tokens": 400},
        }
        bench = Bench(url_of(tmp_path), pen=pen_of(model, told=told))
        async with working(bench):
            await bench.call(words=WORDS)
            await told_of(bench)

    assert "answer.outcome is missing" in model.asked[1]["messages"][0]["content"]
    uses = [event for event in told if isinstance(event, UsageMeasured)]
    assert [(use.behind_call, use.provider, use.model) for use in uses] == [
        ("c1", "model-0", "m")
    ] * 2, "an answer that cannot be read is billed, too"
    assert [use.cost for use in uses] == [pytest.approx(0.0012 + 0.0004 + 0.0005)] * 2
    assert not any(use.estimated for use in uses)


async def test_we_estimate_the_use_of_a_model_that_does_not_report_it(tmp_path: Path) -> None:
    told: list[Event] = []
    async with simulated_model() as model:
        bench = Bench(url_of(tmp_path), pen=pen_of(model, told=told))
        async with working(bench):
            await bench.call(words=WORDS)
            await told_of(bench)

    (used,) = [event for event in told if isinstance(event, UsageMeasured)]
    assert used.estimated
    assert used.completion_tokens == len(json.dumps(GOOD)) // 4
    assert used.prompt_tokens > len("".join(WORDS)) // 4


async def test_the_next_rung_answers_if_one_is_down(tmp_path: Path) -> None:
    async with simulated_model() as down, simulated_model() as well:
        down.answers = [503]
        bench = Bench(url_of(tmp_path), pen=pen_of(down, well))
        async with working(bench):
            await bench.call(words=WORDS)
            (told,) = await told_of(bench)

    assert (told.made_by, told.provider) == ("model", "model-1")
    assert told.took_s < 1.0


async def test_a_call_without_words_asks_no_model(tmp_path: Path) -> None:
    async with simulated_model() as model:
        bench = Bench(url_of(tmp_path), pen=pen_of(model))
        async with working(bench):
            await bench.call()
            (told,) = await told_of(bench)
            await asyncio.sleep(1.0)
            report = await due(bench.outbox, utc_s())

    assert model.asked == []
    assert (told.made_by, told.why, told.outcome) == ("facts", "no_words", "not_reached")
    assert report is not None


async def test_a_model_cannot_undo_an_opt_out(tmp_path: Path) -> None:
    async with simulated_model() as model:
        bench = Bench(url_of(tmp_path), pen=pen_of(model))
        async with working(bench):
            await bench.call(DoNotCallWanted(turn=1, by="words"), words=WORDS)
            (told,) = await told_of(bench)

    assert (told.made_by, told.outcome) == ("model", "do_not_call")


async def test_a_hanging_model_has_a_bounded_time(tmp_path: Path) -> None:
    async with simulated_model() as model:
        model.after_s = 3600.0
        bench = Bench(url_of(tmp_path), pen=pen_of(model), within_s=20.0)
        async with working(bench):
            began = time.monotonic()
            await bench.call(words=WORDS)
            (told,) = await told_of(bench)
            took = time.monotonic() - began
            model.after_s = 0.0

    assert (told.made_by, told.why) == ("facts", "too_late")
    assert took == pytest.approx(20.0, abs=0.5)


async def test_a_models_answer_during_a_database_outage_is_stored_afterwards(
    tmp_path: Path,
) -> None:
    async with simulated_model() as model:
        model.after_s = 5.0
        bench = Bench(url_of(tmp_path), pen=pen_of(model))
        async with working(bench):
            await bench.call(words=WORDS)
            await asyncio.sleep(2.0)
            bench.away = True
            (told,) = await told_of(bench)
            await asyncio.sleep(600.0)
            bench.away = False
            await asyncio.sleep(30.0)
            result = await bench.results.find("c1")

    assert told.made_by == "model"
    assert told.took_s < 10.0
    assert result is not None
    assert (result.made_by, result.summary) == ("model", "Ada wants another date.")


async def test_calls_that_end_together_are_processed_in_turn(tmp_path: Path) -> None:
    async with simulated_model() as model:
        model.after_s = 2.0
        bench = Bench(url_of(tmp_path), pen=pen_of(model), within_s=9.0)
        async with working(bench):
            for index in range(12):
                await bench.call(words=WORDS, call_id=f"c{index}")
            told = await told_of(bench, 12)

    assert model.most_at_once == 2
    assert sorted({item.made_by for item in told}) == ["facts", "model"]
    assert max(item.took_s for item in told) < 10.0
    assert {entry.call_id for entry in told} == {f"c{index}" for index in range(12)}


async def test_a_process_killed_meanwhile_leaves_the_data_for_its_successor(
    tmp_path: Path,
) -> None:
    async with simulated_model() as model:
        model.after_s = 3600.0
        bench = Bench(url_of(tmp_path), pen=pen_of(model), within_s=60.0)
        async with asyncio.TaskGroup() as tasks:
            running = [
                tasks.create_task(bench.after_calls.run()),
                tasks.create_task(bench.reporter.run()),
            ]
            await bench.call(words=WORDS)
            await asyncio.sleep(5.0)
            for item in running:  # and nothing is done after it, as in a killed process
                item.cancel()
        too_early = await due(bench.outbox, BEGIN_S + 30.0)
        report = await due(bench.outbox, BEGIN_S + 62.0)
        result = await bench.results.find("c1")
        model.after_s = 0.0
        await bench.close()

    assert too_early is None
    assert report is not None
    assert (report.made_by, report.summary) == ("facts", PLAIN)
    assert result is not None
    assert result.made_by == "facts"


async def test_a_stopping_process_stores_the_last_calls(tmp_path: Path) -> None:
    bench = Bench(url_of(tmp_path))
    await bench.call(words=WORDS)

    await bench.after_calls.close()
    await bench.reporter.write()
    result = await bench.results.find("c1")
    report = await due(bench.outbox, utc_s())
    await bench.close()

    assert result is not None
    assert report is not None


async def test_a_forgotten_dial_blocks_nothing(tmp_path: Path) -> None:
    bench = Bench(url_of(tmp_path), purpose=CallPurpose(campaign="spring"), forgotten=True)
    async with working(bench):
        await bench.call(words=WORDS)
        await told_of(bench)
        result = await bench.results.find("c1")

    assert result is not None
    assert (result.campaign, result.summary) == ("", PLAIN)


async def test_unstorable_text_is_cleaned(tmp_path: Path) -> None:
    bench = Bench(url_of(tmp_path))
    async with working(bench):
        await bench.call(words=("One\0 two\ud800 three.",))
        await told_of(bench)
        result = await bench.results.find("c1")

    assert result is not None
    assert result.summary == "The caller said: One two three."


async def test_a_report_being_sent_is_not_changed(tmp_path: Path) -> None:
    outbox = CrmOutbox(Database(url_of(tmp_path)))
    facts = CrmReport(key="call-1", call_id="1", direction="inbound", number=NUMBER)
    whole = CrmReport(key="call-1", call_id="1", direction="inbound", number=NUMBER, result="x")
    await outbox.put(facts, now=1.0, due_s=60.0)

    assert await outbox.complete(whole, now=2.0)
    lent = await outbox.lend(now_s=always(3.0))
    again = await outbox.complete(facts, now=4.0)
    await outbox.database.close()

    assert lent is not None
    assert lent.report.result == "x"
    assert not again


async def test_a_models_text_is_not_replaced_by_events(tmp_path: Path) -> None:
    async with simulated_model() as model:
        bench, other = (Bench(url_of(tmp_path), pen=pen_of(model)) for _ in range(2))
        async with working(bench):
            await bench.call(words=WORDS)
            await told_of(bench)
        async with working(other):  # the same call, told again by another process
            await other.call(words=("Something else.",))
            await told_of(other)
            result = await other.results.find("c1")

    assert result is not None
    assert result.made_by == "model"
