"""Callbacks about a dial at one worker reach the worker that dials."""

import pytest

from bot.outbound.call_ledger import CallLedger, CarrierReports
from bot.workers.pool_client import PoolClient
from calls.campaign_events import OutboundCallBegan
from calls.entry import Entry
from calls.events import CallEnded, CallMoved, CallStarted, Event, TranscriptFinal, TurnDecided
from calls.leg_events import AnswererHeard, LegAnswered, LegCharged, LegEnded, LegRinging
from campaigns.call_verdict import CallVerdict
from tests.bot.workers.lines import Lines, lines
from tests.bot.workers.test_pool_client import settings_with
from transports.dialling import MAX_REMEMBERED, HeardLeg

RINGING = LegRinging(call_ref="v3:x", ref="d-1")
ANSWERED = LegAnswered(call_ref="v3:x", ref="d-1", after_s=1.0)
ENDED = LegEnded(call_ref="v3:x", ref="d-1", outcome="completed")


def book_of(*told: Event) -> CarrierReports:
    book = CarrierReports()
    for event in told:
        book.note(event)
    return book


async def opened(it: Lines) -> None:
    await it.open()
    it.office.broadcast_state()
    await it.settle()


def joined(pool: PoolClient, *told: Event) -> CarrierReports:
    book = book_of(*told)
    book.join(pool)
    return book


@pytest.mark.parametrize(
    ("told", "heard"),
    [
        ((), None),
        ((RINGING,), HeardLeg(call_ref="v3:x")),
        ((RINGING, ANSWERED), HeardLeg(call_ref="v3:x", answered=True)),
        (
            (RINGING, ANSWERED, ENDED),
            HeardLeg(call_ref="v3:x", answered=True, ended="completed"),
        ),
        (
            (ENDED, ANSWERED),
            HeardLeg(call_ref="v3:x", answered=True, ended="completed"),
        ),
        ((LegEnded(call_ref="v3:y", outcome="busy"),), None),
    ],
    ids=["nothing", "ringing", "answered", "ended", "out of order", "no dial of ours"],
)
async def test_a_dials_state_is_the_sum_of_its_callbacks(
    told: tuple[Event, ...], heard: HeardLeg | None
) -> None:
    assert await book_of(*told).heard("d-1") == heard


async def test_callbacks_at_three_workers_are_one_state() -> None:
    async with lines(settings_with(), workers=3) as it:
        books = [
            joined(pool, told)
            for pool, told in zip(it.joined, (RINGING, ANSWERED, ENDED), strict=True)
        ]
        await opened(it)

        heard = await books[0].heard("d-1")

    assert heard == HeardLeg(call_ref="v3:x", answered=True, ended="completed")


async def test_a_calls_cost_is_known_wherever_it_was_reported() -> None:
    async with lines(settings_with()) as it:
        dialling = joined(it.joined[0])
        joined(it.joined[1], LegCharged(call_ref="v3:x", ref="d-1", cost=0.007))
        await opened(it)

        found = [await dialling.charged(name) for name in ("v3:x", "v3:y")]

    assert found == [pytest.approx(0.007), None]


async def test_a_ledger_keeps_the_cost_of_a_dial_that_it_has_forgotten() -> None:
    ledger = CallLedger()
    for item in (RINGING, ENDED, LegCharged(call_ref="v3:x", ref="d-1", cost=0.007)):
        await ledger.hear(Entry(call_id="", number=1, at="", event=item))

    ledger.forget("d-1")

    assert await ledger.carrier_reports.heard("d-1") is None
    assert ledger.carrier_reports.refs == {}
    assert await ledger.carrier_reports.charged("v3:x") == pytest.approx(0.007)


async def test_a_call_whose_dial_was_settled_before_its_end_is_no_error() -> None:
    ledger = CallLedger()
    began, over = OutboundCallBegan(dial_id="d-1"), CallEnded(reason="shutdown", length_s=1.0)
    await ledger.hear(Entry(call_id="c-1", number=1, at="", event=began))
    ledger.forget("d-1")

    await ledger.hear(Entry(call_id="c-1", number=2, at="", event=over))

    assert await ledger.verdict("d-1") is None


def part(*, turn: int, gap_s: float = 5.0) -> tuple[Event, Event]:
    """Return the first events of a call, or of its resumed part if there is a gap."""
    started = CallStarted(transport="twilio", agent="default", gap_s=gap_s, turn=turn)
    return started, OutboundCallBegan(dial_id="d-1")


FIRST_PART = part(turn=0, gap_s=0.0)
SPOKE = (TranscriptFinal(turn=1, at_s=3.0, provider="deepgram", text="Yes?"),)
ANSWERED_TURN = (*SPOKE, TurnDecided(turn=1, at_s=4.0))
MACHINE = AnswererHeard(answerer="voicemail", why="words", after_s=2.0)
HUNG_UP = CallEnded(reason="caller_hung_up", length_s=9.0)


@pytest.mark.parametrize(
    ("events", "silent", "machine"),
    [
        ((*FIRST_PART, *ANSWERED_TURN, *part(turn=1)), "", False),
        ((*FIRST_PART, *SPOKE, *part(turn=0)), "", False),
        ((*FIRST_PART, *ANSWERED_TURN, *part(turn=1), *part(turn=1)), "", False),
        (part(turn=1), "", False),
        ((*part(turn=1), *part(turn=1)), "", False),
        ((*FIRST_PART, *SPOKE, CallMoved(), *part(turn=0)), "", False),
        (
            (*FIRST_PART, *SPOKE, CallEnded(reason="line_lost", length_s=4.0), *part(turn=0)),
            "",
            False,
        ),
        ((*FIRST_PART, *part(turn=0)), "hung_up_silent", False),
        (part(turn=0), "hung_up_silent", False),
        ((*FIRST_PART, MACHINE, *part(turn=0)), "hung_up_silent", True),
    ],
    ids=[
        "resumed here",
        "resumed here before the turn was decided",
        "resumed here twice",
        "resumed elsewhere",
        "resumed elsewhere twice",
        "moved away and back",
        "given up and back",
        "silent in both parts",
        "silent, resumed elsewhere",
        "a machine in the first part",
    ],
)
async def test_a_resumed_call_is_judged_with_its_earlier_parts(
    events: tuple[Event, ...], silent: str, *, machine: bool
) -> None:
    ledger = CallLedger()
    for number, event in enumerate((*events, HUNG_UP), start=1):
        await ledger.hear(Entry(call_id="c-1", number=number, at="", event=event))

    assert await ledger.verdict("d-1") == CallVerdict(
        over=True, length_s=9.0, machine=machine, silent=silent
    )


async def test_an_update_of_a_dial_wakes_its_waiter() -> None:
    ledger = CallLedger()
    await ledger.wait("d-1", 0.0)
    await ledger.hear(Entry(call_id="", number=1, at="", event=ENDED))

    await ledger.wait("d-1", 3600.0)  # returns at once


async def test_the_ledger_is_bounded() -> None:
    book = CarrierReports()
    for at in range(MAX_REMEMBERED + 50):
        book.note(LegEnded(call_ref=f"v3:{at}", ref=f"d-{at}", outcome="busy"))
        book.note(LegCharged(call_ref=f"v3:{at}", cost=1.0))

    assert await book.heard("d-0") is None
    assert await book.heard(f"d-{MAX_REMEMBERED + 49}") is not None
    assert await book.charged("v3:0") is None
    assert len(book.refs) == MAX_REMEMBERED
