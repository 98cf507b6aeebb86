"""Alerts from an event of a call to an operator's mailbox, chat and webhook."""

# pyright: reportAttributeAccessIssue=false

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from calls.campaign_events import CampaignPaused, CampaignResumed
from calls.entry import Entry
from calls.events import CallFailed, Event, RecordHalted, TurnDecided
from calls.incident import IncidentBegan, Place
from calls.operations_events import AlertClosed, AlertSent, WritesRefused, WritesResumed
from configuration.alerts import EmailSettings, TelegramSettings, WebhookSettings
from fallbacks.breaker import State
from fallbacks.events import AttemptFailed
from fallbacks.failure import Kind, Severity, failed
from fallbacks.retrying import RetrySettings
from operations.database.database import Database, StorageError
from operations.notify.alert import CALLERS, HURT_S, AlertRules, Census, TellAlert
from operations.notify.alert_outbox import AlertOutbox, Decide, ReportedEvent
from operations.notify.alerting_rules import never_quiet
from operations.notify.channel import Channel
from operations.notify.dispatcher import AlertDispatcher
from operations.notify.incident_rules import Incidents
from operations.notify.mail import mail_channel
from operations.notify.reporter import LASTS_S, MAX_WAITING, AlertReporter
from operations.notify.telegram import telegram_channel
from operations.notify.webhook import webhook_channel
from operations.retrying import Retries
from tests.operations.notify.conftest import Inbox, Receiver
from tests.operations.notify.test_one_story import moved
from tests.operations.telemetry.incident_feed import IncidentFeed

BEGIN_S = 1_800_000_000.0
LADDERS = {"stt": ["ear"], "llm": ["mind"], "tts": ["cartesia", "elevenlabs"]}
REFUSED = AttemptFailed.of(
    failed(Kind.AUTH, "tts", provider="cartesia", reason="401 for sk-abcdefgh12345678"), after_s=0.1
)
REFUSED_WRITES = WritesRefused(where="logs", reason="No space left on device")
PAUSED = CampaignPaused(campaign="spring", reason="agent_failed_in_a_row", in_a_row=5)
RESUMED = CampaignResumed(campaign="spring", reason=PAUSED.reason, held_s=7200.0)


@dataclass
class Shift:
    """A single process, whose time the test sets, and its own events."""

    reporter: AlertReporter
    outbox: AlertOutbox
    inbox: Inbox
    chat: Receiver
    hook: Receiver
    now: float = BEGIN_S
    own: list[Event] = field(default_factory=list)
    waits: list[float] = field(default_factory=list)
    feed: IncidentFeed = field(init=False)
    desk: AlertDispatcher = field(init=False)
    channels: list[Channel] = field(init=False)

    async def hear(self, event: Event, call_id: str = "") -> None:
        at = datetime.fromtimestamp(self.now, UTC).isoformat()
        await self.feed.hear(Entry(call_id=call_id, number=1, at=at, event=event))

    async def settle(self) -> None:
        """Process and send everything."""
        while self.own:
            await self.hear(self.own.pop(0))
        assert await self.reporter.write()
        await self.desk.decide()
        for channel in self.channels:
            while await self.desk.sending.send_next(channel):
                pass

    async def sleep(self, wait_s: float) -> None:
        self.waits.append(wait_s)
        await asyncio.sleep(0)


@pytest.fixture
async def chat() -> AsyncIterator[Receiver]:
    async with Receiver.running() as found:
        yield found


@pytest.fixture
async def shift(
    inbox: Inbox, chat: Receiver, receiver: Receiver, tmp_path: Path
) -> AsyncIterator[Shift]:
    async with AsyncExitStack() as stack:
        outbox = AlertOutbox(Database(f"sqlite+aiosqlite:///{tmp_path}/holdline.db"))
        stack.push_async_callback(outbox.database.close)

        def utc_s() -> float:
            return found.now

        reporter = AlertReporter(outbox, utc_s=utc_s)
        found = Shift(reporter=reporter, outbox=outbox, inbox=inbox, chat=chat, hook=receiver)
        found.feed = IncidentFeed(reporter, Incidents(LADDERS))
        email = EmailSettings(
            sender="a@example.com",
            to="b@example.com, c@example.com",
            host=inbox.host,
            port=inbox.port,
        )
        telegram = TelegramSettings(bot_token=SecretStr("t"), chat_id="1", api_url=chat.url)
        found.channels = [
            mail_channel(email, utc_s=utc_s),
            telegram_channel(telegram),
            webhook_channel(WebhookSettings(url=receiver.url), utc_s=utc_s),
        ]
        found.desk = AlertDispatcher(
            outbox,
            found.channels,
            AlertRules(),
            quiet=never_quiet,
            retries=Retries(
                settings=RetrySettings(attempts=1),
                emit=found.own.append,
                sleep=found.sleep,
                chance=lambda: 0.5,
            ),
            leads=lambda: True,
            utc_s=utc_s,
            describe_replacement=lambda _stage, _rung: "",
        )
        yield found


async def break_for_a_minute(shift: Shift) -> None:
    """Let five calls meet a refused key, two turns each, and repair the key after a minute."""
    for turn in (1, 2):
        for call in "abcde":
            await shift.hear(TurnDecided(turn=turn, at_s=0.0), call)
            await shift.hear(REFUSED, call)
        await shift.hear(moved("tts", "cartesia", State.OPEN))
        await shift.settle()
        shift.now += 10
        await shift.settle()
    shift.now = BEGIN_S + 60
    await shift.hear(moved("tts", "cartesia", State.CLOSED))
    await shift.settle()


async def test_an_outage_during_five_calls_is_one_alert_in_each_channel_without_a_key(
    shift: Shift,
) -> None:
    await break_for_a_minute(shift)

    began, over = [str(mail["Subject"]) for mail in shift.inbox.mails]
    assert began == "[Holdline] HIGH: cartesia rejects its key (401)"
    assert over == "[Holdline] RESOLVED: cartesia rejects its key (401)"
    body = shift.inbox.mails[-1].get_content()
    assert "after 60 s (recovered). 0 callers got no answer." in body

    methods = [path.rpartition("/")[2] for path, *_ in shift.chat.asked]
    assert methods[0] == "sendMessage"
    assert set(methods[1:]) == {"editMessageText"}
    assert "0 callers got no answer." in shift.chat.asked[-1][3]["text"]

    data = shift.hook.asked[-1][3]["data"]
    assert (data["status"], data["lasted_s"], data["callers_hurt"]) == ("resolved", 60.0, 0)

    sent = [mail.as_string() for mail in shift.inbox.mails]
    sent += [body.decode() for server in (shift.chat, shift.hook) for _, _, body, _ in server.asked]
    assert not any("abcdefgh12345678" in item for item in sent)


async def test_a_sent_message_is_reported(shift: Shift) -> None:
    await shift.hear(REFUSED)
    await shift.settle()
    shift.now += 10
    await shift.desk.decide()
    for channel in shift.channels:
        while await shift.desk.sending.send_next(channel):
            pass

    sent = [item for item in shift.own if isinstance(item, AlertSent)]
    assert {(item.channel, item.severity) for item in sent} >= {
        ("email", Severity.HIGH),
        ("telegram", Severity.HIGH),
        ("webhook", Severity.HIGH),
    }
    assert not any(item.edited for item in sent)


async def test_a_channels_failure_is_reported_by_the_others_and_its_alert_sent_later(
    shift: Shift,
) -> None:
    shift.inbox.refusal = "554 no"
    await shift.hear(REFUSED)
    await shift.settle()
    shift.now += 10
    await shift.settle()
    await shift.settle()
    shift.now += 10
    await shift.settle()
    texts = [said["text"] for _, _, _, said in shift.chat.asked]
    assert any("alerts by email do not arrive: email refuses our request" in text for text in texts)
    assert shift.inbox.mails == []

    shift.inbox.refusal = ""
    shift.now += 900
    await shift.settle()

    assert str(shift.inbox.mails[0]["Subject"]).endswith("cartesia rejects its key (401)")
    assert not any("email" in str(mail["Subject"]) for mail in shift.inbox.mails)


async def test_a_temporary_refusal_is_sent_again_after_its_wait(shift: Shift) -> None:
    told = {"ok": False, "description": "Too Many Requests", "parameters": {"retry_after": 37}}
    shift.chat.answers = [(429, told)]
    await shift.hear(REFUSED)
    await shift.settle()
    shift.now += 10
    await shift.settle()

    assert shift.waits == [37.0]
    assert [path.rpartition("/")[2] for path, *_ in shift.chat.asked] == ["sendMessage"] * 2


async def test_a_channel_that_asks_for_a_long_wait_gets_no_alert_until_then(shift: Shift) -> None:
    told = {"ok": False, "description": "Too Many Requests", "parameters": {"retry_after": 600}}
    shift.chat.answers = [(429, told)]
    await shift.hear(CallFailed(where="assembly", error="KeyError: 'x'"), "a")
    await shift.hear(REFUSED)
    for wait_s in (0.0, 10.0, 300.0):
        shift.now += wait_s
        await shift.settle()
    assert len(shift.chat.asked) == 1

    shift.now += 300.0
    await shift.settle()
    texts = [said["text"] for _, _, _, said in shift.chat.asked[1:]]
    assert any("a call could not be served" in text for text in texts)
    assert any("cartesia rejects its key" in text for text in texts)


async def test_a_permanently_refused_recipient_is_reported_and_does_not_block_mail_to_others(
    shift: Shift,
) -> None:
    shift.inbox.refused = {"c@example.com": "550 nobody"}
    await shift.hear(REFUSED)
    for wait_s in (0.0, 10.0, 0.0, 10.0, 900.0):
        shift.now += wait_s
        await shift.settle()

    texts = [said["text"] for _, _, _, said in shift.chat.asked]
    assert any("answered 550 to 1 of 2 recipients" in text for text in texts)
    subjects = [str(mail["Subject"]) for mail in shift.inbox.mails]
    assert len(subjects) == len(set(subjects))
    assert subjects[0] == "[Holdline] HIGH: cartesia rejects its key (401)"
    assert all(item == ["b@example.com"] for item in shift.inbox.went_to)


async def test_a_call_that_could_not_be_served_is_reported_at_once(shift: Shift) -> None:
    await shift.hear(CallFailed(where="assembly", error="KeyError: 'x'"), "a")
    await shift.settle()

    (mail,) = shift.inbox.mails
    assert mail["Subject"] == "[Holdline] CRITICAL: a call could not be served"


async def an_hour_of_looks(shift: Shift) -> None:
    """Advance time; the reporter checks lasting incidents each time."""
    for _ in range(15):
        shift.now += 240.0
        shift.reporter._report_lasting(shift.now)
        await shift.reporter.write()
        await shift.desk.decide()


@pytest.mark.parametrize(
    ("event", "over", "place"),
    [
        (REFUSED_WRITES, WritesResumed(where="logs", lost=3), ("disk", "logs")),
        (PAUSED, RESUMED, ("campaign", "spring")),
    ],
    ids=["disk", "campaign"],
)
async def test_a_lasting_incident_is_open_until_it_is_over(
    shift: Shift, event: Event, over: Event, place: Place
) -> None:
    shift.reporter.lasting = lambda: [("campaign", "spring")]
    await shift.hear(event)
    await an_hour_of_looks(shift)

    (alert,) = await shift.desk.recent()
    assert ((alert.stage, alert.rung), alert.ended_s) == (place, None)

    await shift.hear(over)
    await shift.settle()
    (alert,) = await shift.desk.recent()
    assert alert.how == "recovered"


async def test_a_lasting_report_is_not_queued_for_a_database_that_refuses_it(
    shift: Shift, tmp_path: Path
) -> None:
    refused: list[ReportedEvent] = []
    shift.reporter.emit_refused = refused.append
    (tmp_path / "holdline.db").mkdir()
    await shift.hear(RecordHalted(reason="database or disk is full"))
    for _ in range(3):
        shift.now += 60.0
        shift.reporter._report_lasting(shift.now)
        assert not await shift.reporter.write()

    assert [type(reported_fact.fact) for reported_fact in refused] == [IncidentBegan]
    assert shift.reporter.waiting == 0


async def test_repeats_crowd_out_no_report_in_a_long_outage_of_the_database(
    shift: Shift, tmp_path: Path
) -> None:
    shift.reporter.lasting = lambda: [("campaign", "spring")]
    (tmp_path / "holdline.db").mkdir()
    await shift.hear(PAUSED)
    await shift.hear(REFUSED_WRITES)
    assert not await shift.reporter.write()
    reports = shift.reporter.waiting
    for _ in range(MAX_WAITING):
        shift.now += LASTS_S
        shift.reporter._report_lasting(shift.now)
    assert not await shift.reporter.write()

    assert shift.reporter.lost == 0
    assert shift.reporter.waiting == reports + 2  # of each incident, only the last repeat

    (tmp_path / "holdline.db").rmdir()
    assert await shift.reporter.write()
    await shift.desk.decide()
    open_alerts = {alert.stage for alert in await shift.desk.recent() if alert.ended_s is None}
    assert open_alerts == {"campaign", "disk"}


async def test_a_campaigns_halt_ends_when_reports_of_it_stop(shift: Shift) -> None:
    await shift.hear(PAUSED)
    await an_hour_of_looks(shift)

    (alert,) = await shift.desk.recent()
    assert alert.how == "unheard"


async def test_an_operators_resolution_is_reported_even_during_a_periodic_check(
    shift: Shift, monkeypatch: pytest.MonkeyPatch
) -> None:
    await shift.hear(REFUSED)
    await shift.settle()
    (alert,) = await shift.desk.recent()
    run_round = shift.outbox.run_round

    async def and_look(decide: Decide, **more: Any) -> Sequence[TellAlert]:
        told = await run_round(decide, **more)
        monkeypatch.setattr(shift.outbox, "run_round", run_round)
        await shift.desk.decide()  # as each second, while the other task waits
        return told

    monkeypatch.setattr(shift.outbox, "run_round", and_look)
    await shift.desk.change(lambda alerting, now: alerting.resolve(alert.key, now, by="Mary"))

    over = [item for item in shift.own if isinstance(item, AlertClosed)]
    assert [(item.rung, item.how) for item in over] == [("cartesia", "resolved by Mary")]


async def test_an_alert_about_hurt_callers_is_published_from_start_to_end(
    shift: Shift, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The record's files and open consoles learn of it by these events."""

    async def census(_: float) -> Census:
        return Census(hurt_s=[BEGIN_S - 1.0] * 3, calls=10)

    monkeypatch.setattr(shift.outbox, "census", census)
    async with shift.outbox.database.transaction():
        pass  # creates it
    published: list[IncidentBegan | AlertClosed] = []
    for wait_s in (10.0, HURT_S, 10.0):
        await shift.desk.decide()
        published += [item for item in shift.own if isinstance(item, IncidentBegan | AlertClosed)]
        await shift.settle()
        shift.now += wait_s
    (alert,) = await shift.desk.recent()

    assert [type(item) for item in published] == [IncidentBegan, AlertClosed]
    assert {item.stage for item in published} == {CALLERS}
    assert (alert.how, alert.revision) == ("recovered", 2)


@pytest.mark.parametrize(
    ("reported", "how"), [(True, ""), (False, "unheard")], ids=["goes on", "its reporter is gone"]
)
async def test_a_lasting_incident_is_not_over_because_the_database_refused_its_report(
    shift: Shift, monkeypatch: pytest.MonkeyPatch, *, reported: bool, how: str
) -> None:
    async def away(*_: object, **__: object) -> None:
        raise StorageError("away")

    await shift.hear(moved("tts", "cartesia", State.OPEN))
    await shift.settle()
    with monkeypatch.context() as broken:
        broken.setattr(shift.outbox, "run_round", away)
        shift.now += 400.0
        with pytest.raises(StorageError):
            await shift.desk.decide()
    shift.now += 15.0

    await shift.desk.decide()  # before its reporter tries again
    (first,) = await shift.desk.recent()
    if reported:
        shift.reporter._report_lasting(shift.now)
        await shift.reporter.write()
    shift.now += LASTS_S
    await shift.desk.decide()
    (later,) = await shift.desk.recent()

    assert first.ended_s is None
    assert later.how == how
