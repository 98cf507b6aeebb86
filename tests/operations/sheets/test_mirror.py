"""The spreadsheet mirror with a real database and a Google on loopback: each row once."""

import json
from collections.abc import AsyncIterator
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Table, insert, update

from calls.events import Event
from calls.incident import IncidentEnded
from configuration.sections import SheetsSettings
from fallbacks.events import AttemptFailed, AttemptWon, RetriesExhausted, RetryPlanned
from fallbacks.failure import Kind
from fallbacks.retrying import RetrySettings
from operations.database.database import Database
from operations.database.tables import ALERTS, CALLS
from operations.notify.alert_outbox import AlertHistory, write_alert
from operations.retrying import Retries
from operations.sheets.mirror import SheetMirror
from operations.sheets.sheet import ServiceAccount, Sheet
from operations.sheets.sheet_outbox import SheetOutbox
from tests.kit.clock import always
from tests.kit.databases import on_sqlite
from tests.operations.postmortem.rows import ALERT, KEY, NUMBER, WORDS, at, call_values, fill
from tests.operations.sheets.google import SPREADSHEET, Google, google_on_loopback


@dataclass
class Mirrored:
    """A mirror, the sheet and the database, and the time."""

    google: Google
    url: str
    folder: Path
    now: datetime = field(default_factory=lambda: at(60))
    told: list[Event] = field(default_factory=list)
    retry: RetrySettings = field(default_factory=RetrySettings)

    def __post_init__(self) -> None:
        self.database = Database(self.url)
        self.outbox, self.alerts = SheetOutbox(self.database), AlertHistory(self.database)
        self.mirror = self.another()

    def another(self) -> SheetMirror:
        """Return the mirror of one more process."""
        settings = SheetsSettings(spreadsheet_id=SPREADSHEET, url=self.google.url)
        account = ServiceAccount(self.google.credentials(self.folder), clock=lambda: 1.0)
        return SheetMirror(
            Sheet(settings, account),
            self.outbox,
            self.alerts,
            tabs={"calls": "calls", "alerts": "alerts"},
            retries=Retries(settings=self.retry, emit=self.told.append, chance=lambda: 0.5),
            leads=lambda: True,
            utc_now=lambda: self.now,
        )

    async def round(self, mirror: SheetMirror | None = None) -> None:
        mirror = mirror or self.mirror
        await mirror.note()
        await mirror.write_all()

    async def later(self, minutes: float) -> None:
        self.now += timedelta(minutes=minutes)
        await self.round()

    async def alert(self) -> None:
        """Open an alert about this spreadsheet, reported by another process."""
        alert = replace(ALERT, key="theirs", stage="sheets", rung="google", kind="timeout")
        began_s = at(50).timestamp()
        alert = replace(alert, began_s=began_s, open_s=began_s, ended_s=None, told_ended=False)
        row = {"key": alert.key, "severity": alert.severity.value, "alert": write_alert(alert)}
        await put(self.url, ALERTS, row | {"began_s": began_s, "ended_s": None})

    def ended(self) -> list[Event]:
        return [event for event in self.told if isinstance(event, IncidentEnded)]

    def keys(self, tab: str = "calls") -> list[str]:
        return [item[0] for item in self.google.tabs[tab]]

    def outcomes(self) -> list[type[Event]]:
        return [type(event) for event in self.told if not isinstance(event, RetryPlanned)]

    def count(self, kind: type[Event]) -> int:
        return sum(isinstance(event, kind) for event in self.told)

    async def close(self) -> None:
        await self.database.close()


CALLS_ONCE = ["key", "call c0", "call c1", "call c2"]
INHERITED = IncidentEnded(stage="sheets", rung="google", kind="timeout", lasted_s=720.0, failures=0)


class TestMirror:
    @pytest.fixture
    async def it(self, url: str, tmp_path: Path) -> AsyncIterator[Mirrored]:
        await fill(url)
        async with google_on_loopback() as google:
            mirrored = Mirrored(google, url, tmp_path)
            yield mirrored
            await mirrored.close()

    async def test_calls_and_alerts_are_written_once_below_their_headers(
        self, it: Mirrored
    ) -> None:
        await it.round()
        await it.later(1)

        assert it.keys() == CALLS_ONCE
        head, opened, resolved = it.keys("alerts")
        assert head == "key"
        assert opened.endswith(" open")
        assert resolved.endswith(" resolved")
        assert it.google.tokens == 1
        assert it.told == []

    async def test_a_call_that_was_only_slow_gets_the_row_of_its_real_end(
        self, it: Mirrored
    ) -> None:
        ends = ({"state": "interrupted", "verdict": "lost"}, {"state": "ended", "verdict": "hurt"})
        for end in ends:
            async with it.database.transaction() as connection:
                await connection.execute(update(CALLS).where(CALLS.c.id == "c0").values(**end))
            await it.later(1)

        verdict = it.google.tabs["calls"][0].index("verdict")
        assert it.keys() == ["key", "call c0 interrupted", "call c1", "call c2", "call c0"]
        assert [item[verdict] for item in it.google.tabs["calls"]][1::3] == ["lost", "hurt"]

    @on_sqlite
    async def test_no_number_no_words_and_no_key_are_written(self, it: Mirrored) -> None:
        await it.round()
        told = json.dumps(it.google.tabs)

        assert "+1555****77" in told
        for item in (NUMBER, WORDS, KEY):
            assert item not in told

    @on_sqlite
    async def test_a_lost_answer_doubles_no_row(self, it: Mirrored) -> None:
        it.google.faults = ["lost"]
        await it.round()
        await it.later(2)
        await it.later(20)

        assert it.keys() == CALLS_ONCE
        assert it.outcomes() == [AttemptFailed, AttemptWon]

    @on_sqlite
    @pytest.mark.parametrize("fault", ["500", "500 done"])
    async def test_after_a_500_the_mirror_first_looks_for_the_rows(
        self, it: Mirrored, fault: str
    ) -> None:
        it.google.faults = [fault]
        await it.round()
        assert it.google.asked.count("read") == 2  # calls, alerts

        await it.later(2)

        assert it.keys() == CALLS_ONCE
        assert it.google.asked.count("read") == 3

    @on_sqlite
    @pytest.mark.parametrize("fault", ["garbage", "elsewhere"])
    async def test_rows_swallowed_by_a_proxy_are_written_later(
        self, it: Mirrored, fault: str
    ) -> None:
        it.google.faults = [fault]
        await it.round()
        assert it.keys() == []

        await it.later(20)

        assert it.keys() == CALLS_ONCE
        assert it.outcomes() == [AttemptFailed, AttemptWon]

    @on_sqlite
    async def test_a_proxys_answer_does_not_mean_that_rows_are_missing(self, it: Mirrored) -> None:
        it.google.faults = ["lost"]
        await it.round()
        it.google.garbled = [True]
        await it.later(2)
        await it.later(20)

        assert it.keys() == CALLS_ONCE

    @on_sqlite
    @pytest.mark.parametrize("how", ["garbage", "cut"])
    async def test_a_failed_token_request_is_repeated(self, it: Mirrored, how: str) -> None:
        it.google.withheld = [how]
        await it.round()
        (failed,) = [event for event in it.told if isinstance(event, AttemptFailed)]
        assert (failed.stage, failed.kind, failed.permanent) == ("sheets", Kind.NETWORK, False)

        await it.later(1)

        assert it.keys() == CALLS_ONCE

    @on_sqlite
    async def test_a_rate_limit_is_waited_for_as_requested(self, it: Mirrored) -> None:
        it.google.faults = ["429"]
        await it.round()
        await it.later(1)
        assert it.keys() == []

        await it.later(0.5)
        assert it.keys() == CALLS_ONCE

    @on_sqlite
    async def test_a_refusal_is_reported_and_tried_again_a_quarter_of_an_hour_later(
        self, it: Mirrored
    ) -> None:
        it.google.faults = ["403"]
        await it.round()
        (failed,) = [event for event in it.told if isinstance(event, AttemptFailed)]
        assert (failed.stage, failed.provider, failed.permanent) == ("sheets", "google", True)
        await it.later(14)
        assert it.keys() == []

        await it.later(2)
        assert it.keys() == CALLS_ONCE

    @on_sqlite
    async def test_a_failing_write_is_retried_as_configured_and_then_pauses(
        self, it: Mirrored
    ) -> None:
        it.retry = RetrySettings(initial_s=40.0, factor=2.0, attempts=2)
        it.google.withheld = ["garbage"] * 100
        mirror, began = it.another(), it.now
        tried_s: list[float] = []
        while (passed_s := (it.now - began).total_seconds()) <= 460:
            failed = it.count(AttemptFailed)
            await it.round(mirror)
            tried_s += [passed_s] if it.count(AttemptFailed) > failed else []
            it.now += timedelta(seconds=20)

        assert tried_s == [0, 40, 120, 180, 220, 300, 420, 460]
        assert it.count(RetriesExhausted) == 4  # of two sequences, for each of the two tabs

        it.google.withheld = []
        await it.later(15)
        await it.round(mirror)
        assert it.keys() == CALLS_ONCE

    @on_sqlite
    async def test_an_outage_reported_by_another_process_ends_with_the_first_success(
        self, it: Mirrored
    ) -> None:
        await it.alert()
        it.google.faults = ["429"]  # the end of the outage: too short to be reported
        await it.round()
        assert (it.keys(), len(it.keys("alerts"))) == ([], 4)  # one of the tabs still fails
        assert it.ended() == []

        for _ in range(3):
            await it.later(2)
        assert it.ended() == [INHERITED]

    @on_sqlite
    async def test_an_outage_reported_by_this_process_too_ends_as_its_own(
        self, it: Mirrored
    ) -> None:
        await it.alert()
        it.google.faults = ["403", "403"]
        await it.round()
        await it.later(20)

        assert it.keys() == CALLS_ONCE
        assert it.ended() == []
        assert it.count(AttemptWon) == 2

    @on_sqlite
    async def test_an_outage_that_began_under_another_leader_ends_with_the_next_success(
        self, it: Mirrored
    ) -> None:
        await it.round()
        it.mirror.leave()
        await it.alert()
        await add_call(it.url, "c9")
        await it.later(2)

        assert it.ended() == [replace(INHERITED, lasted_s=720.0)]

    @on_sqlite
    async def test_rows_that_come_while_a_tab_rests_wait_with_the_others(
        self, it: Mirrored
    ) -> None:
        it.google.withheld = ["garbage", "garbage"]
        await it.round()
        await add_call(it.url, "c9")
        it.now += timedelta(seconds=3)
        await it.round()
        assert it.google.asked == []

        it.now += timedelta(seconds=3)
        await it.round()
        assert sorted(it.keys()) == sorted([*CALLS_ONCE, "call c9"])

    async def test_rows_that_a_killed_process_may_have_written_are_looked_for(
        self, it: Mirrored
    ) -> None:
        await it.mirror.note()
        await it.outbox.take("calls", now_s=always(it.now.timestamp()), most=100)
        it.google.tabs["calls"] = [["key"], ["call c1"]]  # some of it arrived

        await it.round(it.another())
        assert it.keys() == ["key", "call c1"]  # the dead one might still be sending

        it.now += timedelta(minutes=3)
        await it.round(it.another())
        assert sorted(it.keys()) == sorted(CALLS_ONCE)

    async def test_found_rows_are_not_written_when_the_others_fail(self, it: Mirrored) -> None:
        await it.mirror.note()
        await it.outbox.take("calls", now_s=always(it.now.timestamp()), most=100)
        it.google.tabs["calls"] = [["key"], ["call c1"]]
        it.google.faults = ["429"]
        await it.later(3)
        await it.later(3)

        assert sorted(it.keys()) == sorted(CALLS_ONCE)

    async def test_two_processes_at_once_take_different_rows(self, it: Mirrored) -> None:
        await it.mirror.note()
        now = it.now.timestamp()
        one = await it.outbox.take("calls", now_s=always(now), most=2)
        async with Database(it.url) as database:
            other = await SheetOutbox(database).take("calls", now_s=always(now), most=2)

        assert len(one.rows) == 2
        assert len(other.rows) == 1
        assert not {row.key for row in one.rows} & {row.key for row in other.rows}

    @on_sqlite
    async def test_a_cell_that_looks_like_a_formula_is_written_unchanged(
        self, it: Mirrored
    ) -> None:
        await add_call(it.url, "c9", agent='=IMPORTDATA("x")')
        await it.round()

        assert '=IMPORTDATA("x")' in it.google.tabs["calls"][-1]

    @on_sqlite
    async def test_a_file_without_an_account_is_reported_without_its_content(
        self, it: Mirrored
    ) -> None:
        (it.folder / "account.json").write_text('{"private_key": "a-very-secret-key"}')

        await it.round()

        failed = [event for event in it.told if isinstance(event, AttemptFailed)]
        assert {item.reason for item in failed} == {"the credentials file holds no service account"}
        assert it.keys() == []


async def add_call(url: str, name: str, **changes: Any) -> None:
    await put(url, CALLS, call_values(name, 30, **changes))


async def put(url: str, table: Table, row: Any) -> None:
    database = Database(url)
    async with (await database.engine()).begin() as connection:
        await connection.execute(insert(table), [row])
    await database.close()
