"""The outbox of alerts, on a real SQLite and a real PostgreSQL."""

import asyncio
import os
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import update

from calls.incident import IncidentBegan, IncidentEnded, IncidentGrew
from fallbacks.failure import Severity
from operations.database.database import Database
from operations.database.row_outbox import LENT_S
from operations.database.tables import ALERTS
from operations.notify.alert import Alert, AlertRules, IncidentLasted
from operations.notify.alert_outbox import (
    AlertChannel,
    AlertOutbox,
    ReportedEvent,
    RoundOutcome,
    fact_as_json,
    read_alert,
    read_fact,
    write_alert,
)
from operations.notify.alerting_rules import Alerting
from tests.kit.clock import always
from tests.kit.databases import on_sqlite

BEGAN = IncidentBegan(
    stage="tts", rung="", kind="exhausted", severity=Severity.CRITICAL, reason="", then="clips"
)
ENDED = IncidentEnded(stage="tts", rung="", kind="exhausted", lasted_s=60.0, failures=3)
MAIL, CHAT = AlertChannel(name="email", edits=False), AlertChannel(name="telegram", edits=True)
NOW = 1_800_000_000.0

Open = Callable[[], AlertOutbox]
"""Opens the outbox for one more process."""


def reported(fact: IncidentBegan | IncidentEnded | IncidentLasted, at_s: float) -> ReportedEvent:
    return ReportedEvent(fact=fact, at_s=at_s, holder="one")


def decide(known: Sequence[Alert], facts: Sequence[ReportedEvent]) -> RoundOutcome:
    alerting = Alerting(AlertRules(), known)
    told = [
        action for fact in facts for action in alerting.handle(fact.fact, fact.at_s, by=fact.holder)
    ]
    return RoundOutcome(known=tuple(alerting.alerts.values()), messages=told)


class TestOutbox:
    @pytest.fixture
    async def outbox(self, url: str) -> AsyncIterator[Open]:
        async with AsyncExitStack() as stack:

            def another() -> AlertOutbox:
                opened = AlertOutbox(Database(url))
                stack.push_async_callback(opened.database.close)
                return opened

            yield another

    async def test_a_report_of_one_process_is_sent_once_by_another(self, outbox: Open) -> None:
        worker, leader = outbox(), outbox()
        await worker.report([reported(BEGAN, NOW)])

        told = await leader.run_round(decide, channels=[MAIL, CHAT], now=NOW)
        again = await leader.run_round(decide, channels=[MAIL, CHAT], now=NOW)

        assert [tell_alert.alert.reason for tell_alert in told] == [""]
        assert again == ()

    async def test_a_message_sent_under_a_long_name_is_not_sent_again(self, outbox: Open) -> None:
        box, began = outbox(), replace(BEGAN, stage="campaign", rung="x" * 64)
        await box.report([reported(began, NOW)])
        await box.run_round(decide, channels=[MAIL], now=NOW)
        post = await box.lend("email", now_s=always(NOW))
        assert post

        await box.record_sent(post, handle=f"<{post.alert.key}.1@holdline.invalid>")

        assert await box.lend("email", now_s=always(NOW + LENT_S)) is None

    @on_sqlite
    async def test_an_end_held_back_by_quiet_hours_is_reported_after_them(
        self, outbox: Open
    ) -> None:
        box, evening, morning = outbox(), NOW + 1800.0, NOW + 9 * 3600.0

        async def round_at(now: float) -> list[Alert]:
            def decide_at(known: Sequence[Alert], facts: Sequence[ReportedEvent]) -> RoundOutcome:
                alerting = Alerting(
                    AlertRules(), known, quiet=lambda moment: evening <= moment < morning
                )
                said = [alerting.handle(fact.fact, fact.at_s) for fact in facts]
                told = [action for item in (*said, alerting.tick(now)) for action in item]
                return RoundOutcome(known=tuple(alerting.alerts.values()), messages=told)

            return [
                tell_alert.alert
                for tell_alert in await box.run_round(decide_at, channels=[MAIL], now=now)
            ]

        await box.report([reported(replace(BEGAN, severity=Severity.MEDIUM), NOW)])
        (began,) = await round_at(NOW + 60)
        await box.report([reported(ENDED, evening + 3600)])
        at_night = await round_at(evening + 3600)
        (ended,) = await round_at(morning)

        assert at_night == []
        assert (ended.key, ended.ended_s) == (began.key, evening + 3600)
        assert await round_at(morning + 1) == []

    async def test_an_alert_is_pending_for_each_channel_until_it_was_sent(
        self, outbox: Open
    ) -> None:
        box = outbox()
        await box.report([reported(BEGAN, NOW)])
        await box.run_round(decide, channels=[MAIL, CHAT], now=NOW)

        mail, chat = (
            await box.lend("email", now_s=always(NOW)),
            await box.lend("telegram", now_s=always(NOW)),
        )
        assert mail
        assert chat
        assert await box.lend("email", now_s=always(NOW)) is None  # a process is about to send it
        await box.record_sent(chat, handle="7")

        again = await box.lend("email", now_s=always(NOW + LENT_S))
        assert again == mail  # the sender was killed
        assert await box.lend("telegram", now_s=always(NOW + LENT_S)) is None

    @on_sqlite
    async def test_a_change_during_sending_is_pending_with_the_id_of_the_message(
        self, outbox: Open
    ) -> None:
        box = outbox()
        await box.report([reported(BEGAN, NOW)])
        await box.run_round(decide, channels=[CHAT], now=NOW)
        post = await box.lend("telegram", now_s=always(NOW))
        assert post
        await box.report([reported(ENDED, NOW + 60)])
        await box.run_round(decide, channels=[CHAT], now=NOW + 60)
        await box.record_sent(post, handle="7")

        last = await box.lend("telegram", now_s=always(NOW + 60))

        assert last
        assert (last.handle, last.alert.ended_s) == ("7", NOW + 60)

    @on_sqlite
    async def test_an_unreadable_alert_does_not_block_others(self, outbox: Open, url: str) -> None:
        box = outbox()
        for at_s, rung in ((NOW, "newer"), (NOW + 1, "known")):
            await box.report([reported(replace(BEGAN, rung=rung), at_s)])
            await box.run_round(decide, channels=[MAIL], now=at_s)
        newer, known = (
            await box.lend("email", now_s=always(NOW + 1)),
            await box.lend("email", now_s=always(NOW + 1)),
        )
        assert newer
        assert known
        written, database = write_alert(newer.alert), Database(url)
        engine = await database.engine()
        of_newer = update(ALERTS).where(ALERTS.c.key == newer.alert.key)
        async with engine.begin() as connection:
            await connection.execute(of_newer.values(alert='{"severity": "grave"}'))

        later = NOW + 1 + LENT_S
        assert await box.lend("email", now_s=always(later)) == known
        assert await box.lend("email", now_s=always(later)) is None
        async with engine.begin() as connection:
            await connection.execute(of_newer.values(alert=written))
        await database.close()

        assert await box.lend("email", now_s=always(later + LENT_S)) == newer  # still pending

    @on_sqlite
    async def test_a_refused_message_is_postponed(self, outbox: Open) -> None:
        box = outbox()
        await box.report([reported(BEGAN, NOW)])
        await box.run_round(decide, channels=[MAIL], now=NOW)
        post = await box.lend("email", now_s=always(NOW))
        assert post
        await box.put_off(post, until_s=NOW + 900)

        assert await box.lend("email", now_s=always(NOW + 899)) is None
        assert await box.lend("email", now_s=always(NOW + 900)) == post

    @on_sqlite
    async def test_a_channel_is_not_asked_to_report_its_own_failure(self, outbox: Open) -> None:
        box = outbox()
        trouble = replace(BEGAN, stage="alert", rung="email")
        await box.report([reported(trouble, NOW)])
        await box.run_round(decide, channels=[MAIL, CHAT], now=NOW)

        assert await box.lend("email", now_s=always(NOW)) is None
        assert await box.lend("telegram", now_s=always(NOW))

    async def test_several_leaders_at_once_make_one_alert(self, outbox: Open) -> None:
        boxes = [outbox() for _ in range(3)]
        await boxes[0].report([reported(BEGAN, NOW) for _ in range(5)])
        for box in boxes:
            await box.recent(1)  # connected

        told = await asyncio.gather(
            *(box.run_round(decide, channels=[MAIL], now=NOW) for box in boxes)
        )

        assert sum(map(len, told)) == 1
        assert len(await boxes[0].recent(9)) == 1

    @on_sqlite
    async def test_a_missing_database_is_not_created_by_reading(
        self, outbox: Open, tmp_path: Path
    ) -> None:
        (tmp_path / "holdline.db").unlink()
        box = outbox()

        assert await box.run_round(decide, channels=[MAIL], now=NOW) == ()
        assert await box.lend("email", now_s=always(NOW)) is None
        assert not os.listdir(tmp_path)  # noqa: PTH208 - nothing waits for a folder here

    @on_sqlite
    async def test_a_lease_begins_once_the_wait_for_other_writers_is_over(
        self, outbox: Open
    ) -> None:
        box, other, now = outbox(), outbox(), NOW
        await box.report([reported(BEGAN, NOW)])
        await box.run_round(decide, channels=[MAIL], now=NOW)

        async with other.database.transaction():
            lending = asyncio.ensure_future(box.lend("email", now_s=lambda: now))
            await asyncio.wait([lending], timeout=0.1)
            now += 2.0
        post = await lending

        assert post
        assert post.lent_until_s == NOW + 2.0 + LENT_S


@pytest.mark.parametrize(
    "fact",
    [
        BEGAN,
        ENDED,
        IncidentLasted(stage="stt", rung="ear"),
        IncidentGrew(
            stage="tts",
            rung="a",
            kind="auth",
            severity=Severity.HIGH,
            reason="r",
            then="t",
            failures=2,
        ),
    ],
    ids=lambda fact: type(fact).__name__,
)
def test_an_event_is_read_as_it_was_written(fact: IncidentBegan) -> None:
    assert read_fact(fact_as_json(fact)) == fact


def test_an_alert_is_read_as_it_was_written() -> None:
    (told,) = decide((), [reported(BEGAN, NOW)]).messages

    assert read_alert(write_alert(told.alert)) == told.alert


@pytest.mark.parametrize("text", ["", "[]", '{"fact": "Other"}', '{"fact": "IncidentBegan"}'])
def test_an_entry_of_another_version_ends_nothing(text: str) -> None:
    assert read_fact(text) is None
    assert read_alert(text) is None
