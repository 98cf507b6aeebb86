"""Erasing a number deletes all data about it, everywhere, also during calls."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

import pytest

from bot.__main__ import run
from calls.campaign_events import OutboundCallBegan
from calls.entry import Entry
from calls.events import (
    AgentSaid,
    CallEnded,
    CallStarted,
    Event,
    MessageLeft,
    TranscriptFinal,
    TurnDecided,
    UsageMeasured,
)
from calls.outbound import Claim, DialOutcome, DialResult, NextStep
from campaigns.guard import rules_of
from campaigns.order_gate import Order
from campaigns.order_rules import OrderRules
from campaigns.store.claim import MAX_UNFINISHED_DIAL_S
from campaigns.store.contacts import Contacts, NewContact
from configuration.settings import Settings
from contacts.numbers import readings_of, same_as
from operations.database.database import Database
from operations.record.callbacks import Callback, Callbacks
from operations.record.fold_rules import RecordFold
from operations.record.forgetting import forget_number
from operations.record.reader import RecordReader
from operations.record.writer import RecordWriter
from operations.telemetry.journal import Journal
from runtime import clock
from tests.campaigns.store.campaign_queue import CONSENT, FAST, NOON, OpenQueue, queues
from tests.kit.clock import always
from tests.kit.databases import on_sqlite
from tests.kit.dials import dials_of, gate_of, orders_of
from tests.operations.database.kept_voicemails import kept_voicemails
from tests.operations.record.test_record_listener import STAGES

MARY, BOB = "+493012345678", "+493087654321"
OURS = "+4930999999"


def settings_of(url: str, folder: Path) -> Settings:
    tree = {"stages": STAGES, "logs": {"dir": folder}, "storage": {"url": url}}
    tree["transports"] = {"livekit": {"sip": {"number": OURS}}}
    return Settings.model_validate({**tree, "server": {"region": "DE"}})


def events(caller: str) -> list[Event]:
    return [
        CallStarted(transport="twilio", agent="desk", caller=caller, called=OURS),
        TranscriptFinal(turn=1, at_s=1.0, provider="a", text="My name is Secret"),
        TurnDecided(turn=1, at_s=1.0),
        AgentSaid(turn=1, text="Good day, Secret"),
        MessageLeft(length_s=4.0),
        CallEnded(reason="caller_hung_up", length_s=12.5),
    ]


async def keep(
    settings: Settings, call_id: str, said: list[Event], *, ago_s: float = 600.0
) -> RecordFold:
    """Leave data of a call in every possible place; return what its process knows of it."""
    logs = settings.logs.dir
    folded = RecordFold(holder=call_id, messages=str(logs / "messages"))
    journal = Journal(logs / "calls")
    for number, event in enumerate(said, start=1):
        at = (clock.utc_now() - timedelta(seconds=ago_s)).isoformat()
        entry = Entry(call_id=call_id, number=number, at=at, event=event)
        folded.add(entry)
        await journal.hear(entry)
    batch = folded.take()
    recording = logs / "recordings" / f"{call_id}.wav"
    for row in batch.calls:
        row["recording"] = str(recording)
    writer = RecordWriter(Database(settings.storage.url), holder=call_id)
    await writer.write(batch, number=1, now=clock.utc_now())
    await writer.database.close()
    for path in (recording, logs / "messages" / f"{call_id}.wav"):
        path.parent.mkdir(exist_ok=True)
        path.write_text("sound", encoding="utf-8")
    (logs / "messages" / f"{call_id}.text.json").write_text("{}", encoding="utf-8")
    return folded


async def wish(settings: Settings, call_id: str, number: str) -> None:
    database = Database(settings.storage.url)
    await Callbacks(database).add(
        Callback(call_id=call_id, number=number, reason="r", asked_at=clock.utc_now())
    )
    await database.close()


async def ordered(settings: Settings, number: str) -> None:
    database = Database(settings.storage.url)
    gate = gate_of(database, OrderRules(countries=("DE",)))
    await gate.admit(Order(id=number, source="api", by="an operator", number=number))
    await database.close()


async def called(queue: OpenQueue, *, held_s: float = 60.0) -> Claim:
    """Let a campaign call MARY, with a lease of this length, and know BOB."""
    mary, bob = (
        NewContact(number=item, zones=("Europe/Berlin",), consent=CONSENT) for item in (MARY, BOB)
    )
    await queue.fill([mary, bob])
    claim = await queue.store.claim(
        "spring",
        rules_of(FAST, now=NOON),
        now_s=always(NOON),
        lease_s=clock.utc_s() + held_s - NOON,
    )
    assert isinstance(claim, Claim)
    return claim


def files(folder: Path) -> set[str]:
    return {
        path.stem.partition(".")[0]
        for path in folder.rglob("*.*")
        if "holdline.db" not in path.name
    }


class TestForgetting:
    async def test_a_listed_number_stays_listed_without_its_words(
        self, url: str, tmp_path: Path
    ) -> None:
        async with Database(url) as database:
            book = Contacts(database)
            for number in (MARY, BOB):
                await book.add_do_not_call(number, source="voice", now=NOON, words="No calls.")

            await forget_number(settings_of(url, tmp_path), MARY)

            words = {entry.number: entry.words for entry in await book.do_not_call_entries()}
        assert words == {MARY: "", BOB: "No calls."}

    async def test_only_the_data_of_the_number_is_erased_and_completely(
        self, url: str, tmp_path: Path
    ) -> None:
        settings = settings_of(url, tmp_path)
        for call_id, number in (("m1", MARY), ("m2", "sip:030-12345678@10.0.0.1"), ("b1", BOB)):
            await keep(settings, call_id, events(number))
        await wish(settings, "m9", MARY)
        await wish(settings, "b9", BOB)
        for number in (MARY, BOB):
            await ordered(settings, number)

        forgotten = await forget_number(settings, MARY)

        assert files(tmp_path) == {"b1"}
        reader, database = RecordReader(Database(url)), Database(url)
        assert [call.id for call in await reader.calls()] == ["b1"]
        day = timedelta(days=1)
        told = await reader.happenings(clock.utc_now() - day, clock.utc_now() + day)
        assert {happening.call_id for happening in told} == {"b1"}
        assert [callback.number for callback in await Callbacks(database).waiting()] == [BOB]
        assert [order.number for order in await orders_of(database)] == [BOB]
        assert [kept_voicemail.call_id for kept_voicemail in await kept_voicemails(url)] == ["b1"]
        await reader.database.close()
        await database.close()
        assert forgotten.live == 0
        assert {name: count for name, count in forgotten.counts.items() if count} == {
            "calls": 1 + 1,
            "call records": 2,
            "callbacks": 1,
            "happenings": 12,
            "messages": 4,
            "orders": 1,
            "recordings": 2,
            "turns": 2,
            "voicemail files": 2,
            "voicemails": 2,
        }
        again = await forget_number(settings, MARY)
        assert not any(again.counts.values())

    @pytest.mark.parametrize(
        "spelling", ["030-123-456-78", "+49 (30) 123 45-678", "sip:%2B49-30-1234-5678@10.0.0.1"]
    )
    async def test_data_of_a_number_is_found_despite_punctuation_in_it(
        self, url: str, tmp_path: Path, spelling: str
    ) -> None:
        settings = settings_of(url, tmp_path)
        await keep(settings, "m1", events(spelling))
        (tmp_path / "calls" / "m1.jsonl").unlink()  # its age came before that of the rows
        await wish(settings, "m9", spelling)

        counts = (await forget_number(settings, MARY)).counts

        assert (counts["calls"], counts["callbacks"], counts["voicemails"]) == (1, 1, 1)
        assert (counts["recordings"], files(tmp_path)) == (1, set())

    @on_sqlite
    async def test_a_running_call_is_named_and_left(self, url: str, tmp_path: Path) -> None:
        settings = settings_of(url, tmp_path)
        await keep(settings, "on", events(MARY)[:2])
        await keep(settings, "over", events(MARY))

        forgotten = await forget_number(settings, MARY)

        assert forgotten.live == 1
        assert files(tmp_path) == {"on"}

    async def test_a_call_that_ended_just_now_is_named_because_it_is_still_written(
        self, url: str, tmp_path: Path
    ) -> None:
        settings = settings_of(url, tmp_path)
        folded = await keep(settings, "just", events(MARY), ago_s=30.0)
        await keep(settings, "over", events(MARY))

        forgotten = await forget_number(settings, MARY)

        summary = UsageMeasured(
            turn=0, stage="llm", provider="a", model="m", cost=0.1, behind_call="just"
        )
        folded.add(Entry(call_id="", number=1, at=clock.utc_now().isoformat(), event=summary))
        writer, reader = RecordWriter(Database(url), holder="just"), RecordReader(Database(url))
        await writer.write(folded.take(), number=2, now=clock.utc_now())
        assert [call.id for call in await reader.calls()] == ["just"]  # with its caller's number
        assert forgotten.live == 1
        await writer.database.close()
        await reader.database.close()

    @on_sqlite
    async def test_in_an_outbound_call_the_number_is_the_called_one(
        self, url: str, tmp_path: Path
    ) -> None:
        settings = settings_of(url, tmp_path)
        placed = CallStarted(
            transport="twilio", agent="desk", caller=OURS, called=MARY, direction="outbound"
        )
        await keep(settings, "out", [placed, *events(MARY)[1:]])
        await keep(settings, "in", events(BOB))

        await forget_number(settings, OURS)
        assert files(tmp_path) == {"out", "in"}

        await forget_number(settings, MARY)
        assert files(tmp_path) == {"in"}

    @on_sqlite
    async def test_an_outbound_livekit_call_with_swapped_numbers_is_erased_too(
        self, url: str, tmp_path: Path
    ) -> None:
        settings = settings_of(url, tmp_path)
        turned, placed = (
            CallStarted(
                transport="livekit", agent="desk", caller=one, called=other, direction="outbound"
            )
            for one, other in ((MARY, OURS), (OURS, BOB))
        )
        await keep(settings, "turned", [turned, *events(MARY)[1:]])
        await keep(settings, "row", [turned, *events(MARY)[1:]])
        (tmp_path / "calls" / "row.jsonl").unlink()
        await keep(settings, "out", [placed, *events(BOB)[1:]])

        await forget_number(settings, OURS)  # of no caller
        assert files(tmp_path) == {"turned", "row", "out"}
        counts = (await forget_number(settings, MARY)).counts

        assert files(tmp_path) == {"out"}
        assert (counts["calls"], counts["recordings"], counts["call records"]) == (2, 2, 1)

    @on_sqlite
    @pytest.mark.parametrize("name", ["m1.wav", "m1.wav.part", "m1-7.wav", "m1-7.wav.part"])
    async def test_a_recording_of_any_process_is_erased_whole_or_not_at_all(
        self, url: str, tmp_path: Path, name: str
    ) -> None:
        settings = settings_of(url, tmp_path)
        await keep(settings, "m1", events(MARY))
        (tmp_path / "recordings" / "m1.wav").rename(tmp_path / "recordings" / name)

        await forget_number(settings, MARY)

        assert files(tmp_path) == set()

    @on_sqlite
    async def test_a_call_of_which_only_its_own_record_file_is_left_is_erased_too(
        self, url: str, tmp_path: Path
    ) -> None:
        settings = settings_of(url, tmp_path)
        journal = Journal(tmp_path / "calls")
        for number, event in enumerate(events(MARY), start=1):
            await journal.hear(Entry(call_id="c1", number=number, at="", event=event))

        for folder in ("messages", "recordings"):
            (tmp_path / folder).mkdir()
            (tmp_path / folder / "c1.wav").write_text("sound", encoding="utf-8")

        counts = (await forget_number(settings, MARY)).counts

        kinds = ("call records", "recordings", "voicemail files")
        assert [counts[kind] for kind in kinds] == [1, 1, 1]
        assert files(tmp_path) == set()

    async def test_a_contact_being_called_is_named_and_left_until_the_dial_has_its_outcome(
        self, url: str, tmp_path: Path
    ) -> None:
        settings = settings_of(url, tmp_path)
        async with queues(url, 2) as (queue, other):
            claim = await called(queue)

            during = await forget_number(settings, MARY)

            over_s = claim.dial.lease_until_s
            (taken,) = await other.store.adopt_expired(
                ["spring"], now_s=always(over_s), lease_s=60.0
            )
            assert (during.live, taken.dial.id) == (1, claim.dial.id)
            assert taken.contact == claim.contact  # with its consent
            await other.store.settle(
                taken.dial,
                DialResult(outcome=DialOutcome.COMPLETED),
                then=NextStep(state="done"),
                now=NOON + 60.0,
            )

            after = await forget_number(settings, MARY)

            assert after.live == 0
            assert {name for name, count in after.counts.items() if count} == {
                "contacts",
                "consents",
                "dials",
            }
            assert (await queue.take(now=NOON + 61.0)).contact.number == BOB

    @on_sqlite
    async def test_a_contact_of_a_removed_campaign_is_erased_two_hours_after_its_dial(
        self, url: str, tmp_path: Path
    ) -> None:
        settings = settings_of(url, tmp_path)
        async with queues(url, 1) as (queue,):
            claim = await called(queue, held_s=60.0 - MAX_UNFINISHED_DIAL_S)
            before = await forget_number(settings, MARY)
            await queue.store.renew(
                claim.dial, now_s=always(clock.utc_s() - MAX_UNFINISHED_DIAL_S - 60.0), lease_s=0.0
            )

            after = await forget_number(settings, MARY)

        assert (before.live, before.counts["contacts"]) == (1, 0)
        assert after.live == 0
        assert {name for name, count in after.counts.items() if count} == {
            "contacts",
            "consents",
            "dials",
        }

    @on_sqlite
    async def test_a_contact_called_in_the_end_is_not_named_twice(
        self, url: str, tmp_path: Path
    ) -> None:
        settings = settings_of(url, tmp_path)
        async with queues(url, 1) as (queue,):
            dial_id = (await called(queue)).dial.id
        placed = CallStarted(transport="twilio", agent="desk", called=MARY, direction="outbound")
        await keep(settings, "on", [placed, OutboundCallBegan(dial_id=dial_id)])

        assert (await forget_number(settings, MARY)).live == 1

    @on_sqlite
    async def test_a_waiting_contact_is_erased_at_once(self, url: str, tmp_path: Path) -> None:
        settings = settings_of(url, tmp_path)
        async with queues(url, 1) as (queue,):
            claim = await called(queue)
            await queue.store.release(claim.dial)

            forgotten = await forget_number(settings, MARY)

            assert forgotten.live == 0
            assert (await queue.take(FAST)).contact.number == BOB
        assert [dial.number for dial in await dials_of(url, "spring")] == [BOB]


@pytest.mark.parametrize(
    ("text", "region", "found"),
    [
        ("+49 30 12345678", None, MARY),
        ("0049 30 12345678", "DE", MARY),
        ("(030) 1234-5678", "DE", MARY),
        ("sip:+493012345678@10.0.0.1;transport=tcp", None, MARY),
        ("tel:+49-30-12345678", None, MARY),
        ("030 12345678", None, None),
        ("anonymous", "DE", None),
        ("+266696687", "DE", None),  # "anonymous" on a telephone's keys
        ("+0000000000", "DE", None),
        ("", "DE", None),
        ("+15550101", None, "+15550101"),  # of a film, and too short for its country
        ("493012345678", "DE", MARY),
        ("447911123456", "US", "+447911123456"),
    ],
)
def test_a_number_has_one_form(text: str, region: str | None, found: str | None) -> None:
    assert readings_of(text, region=region) == ((found,) if found else ())


@pytest.mark.parametrize(
    ("text", "same"),
    [
        (MARY, True),
        ("493012345678", True),  # as some carriers write it
        ("03012345678", True),
        ("sip:493012345678@10.0.0.1", True),
        ("0049 30/1234-5678", True),
        ("49 30 1234 5678", True),
        ("sip:%2B493012345678@10.0.0.1", True),
        ("3012345678", True),  # as others do, of their own country
        ("3012345670", False),
        (BOB, False),
        ("", False),
    ],
)
def test_a_carriers_number_is_compared_whole(text: str, *, same: bool) -> None:
    assert same_as(MARY, region="DE")(text) is same


@pytest.mark.parametrize("text", ["49 (30) 1234-5678", "0049-30-12345678", "+49 30 12345678"])
def test_a_number_with_its_country_code_needs_no_region_to_match(text: str) -> None:
    assert same_as(MARY, region=None)(text)


CONFIG = """
storage: {{url: "sqlite+aiosqlite:///{folder}/holdline.db"}}
logs: {{dir: {folder}}}
"""


@contextmanager
def configured(folder: Path) -> Iterator[str]:
    path = folder / "holdline.yaml"
    path.write_text(CONFIG.format(folder=folder), encoding="utf-8")
    yield str(path)


def test_the_command_prints_the_erased_data(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = settings_of(f"sqlite+aiosqlite:///{tmp_path}/holdline.db", tmp_path)
    asyncio.run(keep(settings, "c1", events(MARY)))
    with configured(tmp_path) as config:
        assert run(["forget", "+49 30 1234 5678", "--config", config]) == 0

    lines = capsys.readouterr().out.splitlines()
    assert {"calls: 1", "messages: 2", "recordings: 1", "call records: 1"} <= set(lines)
    assert MARY not in "".join(lines)


def test_an_ambiguous_number_erases_nothing_and_names_both_readings(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "holdline.yaml"
    path.write_text(CONFIG.format(folder=tmp_path) + "server: {region: DE}\n", encoding="utf-8")

    assert run(["forget", "4915112345678", "--config", str(path)]) == 2

    told = capsys.readouterr()
    (line,) = told.err.splitlines()
    assert "+4915112345678" in line
    assert "+494915112345678" in line
    assert not told.out


def test_an_invalid_number_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with configured(tmp_path) as config:
        assert run(["forget", "030 12345678", "--config", config]) == 2

    (line,) = capsys.readouterr().err.splitlines()
    assert "server.region" in line


def test_a_missing_database_is_one_line_and_erases_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with configured(tmp_path) as config:
        assert run(["forget", MARY, "--config", config]) == 2

    told = capsys.readouterr()
    (line,) = told.err.splitlines()
    assert "there is no such database" in line
    assert told.out == ""
    assert not (tmp_path / "holdline.db").exists()


def test_a_number_in_a_running_call_must_be_erased_again(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = settings_of(f"sqlite+aiosqlite:///{tmp_path}/holdline.db", tmp_path)
    asyncio.run(keep(settings, "c1", events(MARY)[:2]))
    with configured(tmp_path) as config:
        assert run(["forget", MARY, "--config", config]) == 1

    assert "run it again" in capsys.readouterr().err


@pytest.mark.parametrize(
    "name", ["recordings/c1.wav", "recordings/c1-7.wav", "calls/c1.summary.json"]
)
def test_an_undeletable_file_is_named_and_keeps_only_its_own_call(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    settings = settings_of(f"sqlite+aiosqlite:///{tmp_path}/holdline.db", tmp_path)
    for call_id in ("c1", "c2"):
        asyncio.run(keep(settings, call_id, events(MARY)))
    stuck = tmp_path / name
    stuck.unlink(missing_ok=True)
    stuck.mkdir()  # like another user's file, it cannot be deleted
    with configured(tmp_path) as config:
        assert run(["forget", MARY, "--config", config]) == 1

        (line,) = capsys.readouterr().err.splitlines()
        assert str(stuck.parent / "c1") in line
        assert "c2" not in files(tmp_path)
        stuck.rmdir()
        assert run(["forget", MARY, "--config", config]) == 0
    assert "calls: 1" in capsys.readouterr().out.splitlines()
