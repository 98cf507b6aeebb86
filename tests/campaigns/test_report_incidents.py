"""Breakers, incidents and alerts during a campaign, as figures from both databases."""

from collections.abc import Sequence
from datetime import UTC, datetime

import pytest

from calls.entry import Entry
from calls.incident import IncidentBegan, IncidentEnded
from calls.outbound import DialOutcome, DialResult
from campaigns.report import PAUSE_S, CampaignHealth, Span, campaign_health, open_s, spans_of
from campaigns.store.figures import SPELL_MARGIN_S, Figures, OpenSpell
from fallbacks.events import BreakerMoved
from fallbacks.failure import Severity
from operations.database.database import Database
from operations.notify.alert import Alert
from operations.notify.alert_outbox import AlertOutbox, ReportedEvent
from operations.record.fold_rules import RecordFold
from operations.record.writer import RecordWriter
from tests.campaigns.store.campaign_queue import NOON, new_contacts, open_queue
from tests.kit.databases import on_sqlite
from tests.operations.notify.test_alert_outbox import decide

HOUR: Span = (0.0, 3600.0)


@pytest.mark.parametrize(
    ("dials", "spans"),
    [
        ([], []),
        ([(10.0, 40.0)], [(10.0, 40.0)]),
        ([(10.0, 40.0), (30.0, 35.0)], [(10.0, 40.0)]),
        ([(10.0, 40.0), (40.0 + PAUSE_S, 1000.0)], [(10.0, 1000.0)]),
        ([(10.0, 40.0), (41.0 + PAUSE_S, 1000.0)], [(10.0, 40.0), (41.0 + PAUSE_S, 1000.0)]),
        ([(90.0, 95.0), (10.0, 40.0)], [(10.0, 95.0)]),
        ([(10.0, 5.0)], [(10.0, 10.0)]),
    ],
    ids=["none", "one", "at_once", "a_pause", "a_night", "out_of_order", "a_lease_run_out"],
)
def test_a_campaign_is_calling_during_its_dials(
    dials: Sequence[Span], spans: Sequence[Span]
) -> None:
    assert list(spans_of(dials)) == spans


def spell(
    began_s: float, ended_s: float | None, *, rung: str = "a", seen_s: float | None = None
) -> OpenSpell:
    return OpenSpell(
        stage="tts", provider=rung, holder="h", began_s=began_s, ended_s=ended_s, seen_s=seen_s
    )


@pytest.mark.parametrize(
    ("spells", "spans", "expected"),
    [
        ([], [HOUR], 0.0),
        ([spell(10.0, 40.0)], [HOUR], 30.0),
        ([spell(10.0, 40.0), spell(20.0, 50.0)], [HOUR], 40.0),
        ([spell(10.0, 40.0), spell(20.0, 50.0, rung="b")], [HOUR], 60.0),
        ([spell(-20.0, 5.0)], [HOUR], 5.0),
        ([spell(3590.0, 3700.0)], [HOUR], 10.0),
        ([spell(4000.0, 5000.0)], [HOUR], 0.0),
        ([spell(50.0, 250.0)], [(0.0, 100.0), (200.0, 300.0)], 100.0),
        ([spell(10.0, None, seen_s=70.0)], [HOUR], 60.0),
        ([spell(10.0, None, seen_s=9000.0)], [HOUR], 3590.0),
        ([spell(10.0, None)], [HOUR], 0.0),
        ([spell(10.0, 10.0)], [HOUR], 0.0),
    ],
    ids=[
        "none",
        "one",
        "two_processes",
        "two_rungs",
        "open_before",
        "open_past_the_end",
        "another_time",
        "over_a_night",
        "a_process_that_died",
        "a_process_that_lives",
        "an_unknown_process",
        "no_time_at_all",
    ],
)
def test_open_seconds_are_counted_within_the_campaigns_time(
    spells: Sequence[OpenSpell], spans: Sequence[Span], expected: float
) -> None:
    assert open_s(spells, spans) == expected


def alert(
    began_s: float, lasted_s: float | None = None, *, revision: int = 1, how: str = "recovered"
) -> Alert:
    return Alert(
        key=f"tts:{began_s}",
        stage="tts",
        rung="",
        kind="exhausted",
        severity=Severity.HIGH,
        reason="",
        then="",
        began_s=began_s,
        open_s=began_s,
        heard_s=began_s,
        lasted_s=lasted_s or 0.0,
        ended_s=None if lasted_s is None else began_s + lasted_s,
        how="" if lasted_s is None else how,
        revision=revision,
    )


@pytest.mark.parametrize(
    ("alerts", "mttr_s", "lasting", "per_hour"),
    [
        ([], None, 0, 0.0),
        ([alert(10.0, 30.0), alert(90.0, 90.0)], 60.0, 0, 4.0),
        ([alert(10.0, 30.0), alert(90.0)], 30.0, 1, 4.0),
        ([alert(10.0, 3.0, revision=0)], 3.0, 0, 0.0),
        ([alert(10.0, 300.0, how="unheard")], None, 0, 2.0),
        ([alert(10.0, 30.0, how="resolved")], 30.0, 0, 2.0),
        ([alert(-1.0, 30.0), alert(1801.0, 30.0)], None, 0, 0.0),
    ],
    ids=["none", "two", "not_over", "never_sent", "unheard", "by_a_person", "another_time"],
)
def test_only_incidents_that_began_during_its_calls_count(
    alerts: Sequence[Alert], mttr_s: float | None, lasting: int, per_hour: float
) -> None:
    found = campaign_health([(0.0, 1800.0)], [], alerts)

    assert (found.mttr_s, found.incidents_open) == (mttr_s, lasting)
    assert found.alerts_per_hour == per_hour


def test_a_campaign_without_calls_has_no_such_figures() -> None:
    found = campaign_health([], [spell(0.0, 9.0)], [alert(0.0, 9.0)])

    assert found == CampaignHealth()
    assert (found.open_s, found.alerts_per_hour) == (None, None)


def moved(before: str, after: str, after_s: float = 0.0) -> BreakerMoved:
    return BreakerMoved(
        stage="tts", provider="a", before=before, after=after, cause="failures", after_s=after_s
    )


async def emit_moves(url: str, holder: str, *moves: tuple[float, BreakerMoved]) -> None:
    writer, fold = (
        RecordWriter(Database(url), holder=holder),
        RecordFold(holder=holder, messages="m"),
    )
    for at_s, each in moves:
        at = datetime.fromtimestamp(at_s, UTC).isoformat()
        fold.add(Entry(call_id="", number=1, at=at, event=each))
    seen = datetime.fromtimestamp(moves[-1][0] + 20.0, UTC)
    await writer.write(fold.take(), number=1, now=seen)
    await writer.database.close()


async def have_an_incident(url: str, began_s: float, lasted_s: float) -> None:
    critical = Severity.CRITICAL
    began = IncidentBegan(
        stage="tts", rung="", kind="exhausted", severity=critical, reason="", then=""
    )
    ended = IncidentEnded(stage="tts", rung="", kind="exhausted", lasted_s=lasted_s, failures=1)
    box = AlertOutbox(Database(url))
    for at_s, fact in ((began_s, began), (began_s + lasted_s, ended)):
        await box.report([ReportedEvent(fact=fact, at_s=at_s, holder="one")])
        await box.run_round(decide, channels=[], now=at_s)
    await box.database.close()


class TestTroubles:
    async def test_the_figures_are_read_from_the_stored_rows(self, url: str) -> None:
        queue = open_queue(url, "x")
        await queue.fill(new_contacts(2))
        for at_s in (NOON, NOON + 60.0):
            done = DialResult(outcome=DialOutcome.COMPLETED, length_s=30.0)
            await queue.settle(done, now=at_s, took_s=40.0)
        await queue.close()
        await emit_moves(
            url,
            "one",
            (NOON - 5.0, moved("closed", "open")),
            (NOON + 10.0, moved("open", "half_open", 15.0)),
            (NOON + 12.0, moved("half_open", "open")),
            (NOON + 20.0, moved("open", "half_open", 8.0)),
            (NOON + 21.0, moved("half_open", "closed")),
        )
        await emit_moves(url, "killed", (NOON + 15.0, moved("closed", "open")))
        await have_an_incident(url, NOON + 12.0, 9.0)

        troubles = Figures(Database(url))
        spans = spans_of(await troubles.dial_spans("spring", now=NOON + 500.0))
        spells = await troubles.spells_of_open_breakers(*spans[0])
        found = campaign_health(spans, spells, await troubles.alerts(*spans[0]))
        await troubles.database.close()

        assert list(spans) == [(NOON, NOON + 100.0)]
        assert found.open_s == pytest.approx(10.0 + 23.0), "the second was open until it was killed"
        assert (found.mttr_s, found.alerts, found.incidents_open) == (9.0, 1, 0)
        assert found.alerts_per_hour == pytest.approx(36.0)

    @on_sqlite
    async def test_a_span_without_its_beginning_has_its_length(self, url: str) -> None:
        await emit_moves(url, "one", (NOON, moved("open", "half_open", 30.0)))
        troubles = Figures(Database(url))

        (found,) = await troubles.spells_of_open_breakers(NOON - 60.0, NOON)
        nothing = await troubles.dial_spans("spring", now=NOON)
        await troubles.database.close()

        assert (found.began_s, found.ended_s) == (NOON - 30.0, NOON)
        assert nothing == []

    @on_sqlite
    @pytest.mark.parametrize(
        ("began_s", "ended_s", "found"),
        [
            (NOON - SPELL_MARGIN_S, None, [(NOON - SPELL_MARGIN_S, None)]),
            (NOON - SPELL_MARGIN_S - 1.0, None, []),  # its process died before it ended
            (NOON - 2 * SPELL_MARGIN_S, NOON + 1.0, [(NOON - 2 * SPELL_MARGIN_S, NOON + 1.0)]),
            (NOON + SPELL_MARGIN_S, None, [(NOON + SPELL_MARGIN_S, None)]),
            (NOON + 9.0, NOON + SPELL_MARGIN_S + 1.0, [(NOON + 9.0, None)]),
            (NOON - SPELL_MARGIN_S - 1.0, NOON + SPELL_MARGIN_S + 1.0, []),
        ],
    )
    async def test_a_spell_is_found_by_its_beginning_or_its_end_within_the_margin(
        self, url: str, began_s: float, ended_s: float | None, found: list[Span]
    ) -> None:
        moves = [(began_s, moved("closed", "open"))]
        if ended_s is not None:
            moves.append((ended_s, moved("open", "half_open", ended_s - began_s)))
        await emit_moves(url, "one", *moves)
        troubles = Figures(Database(url))

        spells = await troubles.spells_of_open_breakers(NOON, NOON)
        await troubles.database.close()

        assert [(spell.began_s, spell.ended_s) for spell in spells] == found
