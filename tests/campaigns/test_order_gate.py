"""The checks before every call request: allowed numbers, limits, and what is recorded."""

import ast
import asyncio
import re
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, get_args

import pytest

from calls.campaign_events import CallOrdered, DialEnded
from calls.events import Event
from calls.outbound import CallConsent, DialOutcome
from campaigns import order_gate
from campaigns.order_gate import (
    COSTLY,
    LEASE_S,
    WITHDRAWN,
    Order,
    OrderGate,
    read_called,
)
from campaigns.order_rules import (
    DAY_S,
    HOUR_S,
    LIMITS,
    NUMBER_REASONS,
    OrderRules,
    OrderSource,
    judge_number,
)
from campaigns.store.contacts import NewContact
from configuration.campaigns import CostClass
from operations.database.database import Database, StorageError
from operations.database.database_clock import DatabaseClock
from runtime import clock
from tests.campaigns.dialing import dialing, now_s, running, until
from tests.kit.databases import on_sqlite
from tests.kit.dials import orders_of

NUMBER = "+12025550123"
US = OrderRules(countries=("US",), concurrent=3, hourly=5, daily_minutes=60, number_daily=2)
EUROPE = OrderRules(countries=("DE", "GB"), prefixes=("+4314",))

# The country is the number's, not what its beginning suggests.
NUMBERS = {
    "an ordinary number": ("+12025550123", US, ""),
    "a toll-free number": ("+18005551234", US, ""),
    "premium rate": ("+19005551234", US, "cost_class"),
    "premium rate in Germany": ("+499001123456", EUROPE, "cost_class"),
    "shared cost": ("+491805123456", EUROPE, "cost_class"),
    "personal": ("+447012345678", EUROPE, "cost_class"),
    "a satellite telephone": ("+881612345678", US, "cost_class"),
    "Inmarsat": ("+870773001234", US, "cost_class"),
    "a network of no country": ("+882161234567", US, "cost_class"),
    "premium rate of no country": ("+979123456789", US, "cost_class"),
    "not in use": ("+15550142", US, "cost_class"),
    "Jamaica": ("+18765551234", US, "country"),
    "Somalia": ("+252612345678", US, "country"),
    "Jersey": ("+441534123456", EUROPE, "country"),
    "a prefix": ("+4314012345", EUROPE, ""),
    "next to a prefix": ("+43512123456", EUROPE, "country"),
    "pay-per-call in an area code": ("+12129765555", US, "cost_class"),
    "one that is wanted": ("+12129765555", replace(US, cost_classes=("premium",)), ""),
    "denied": ("+12125405555", replace(US, denied=("+1900", "+1...540")), "denied"),
    "denied, by SIP": (
        "sip:+12125405555@gw.example.com",
        replace(US, denied=("+1...540",)),
        "denied",
    ),
    "denied within a prefix": ("+4314012345", replace(EUROPE, denied=("+4314",)), "denied"),
    "next to a denied one": ("+12125415555", replace(US, denied=("+1...540",)), ""),
    "shorter than a denied one": ("+12125405555", replace(US, denied=("+1...5405555..",)), ""),
    **{
        f"{number} by {prefix}": (number, OrderRules(prefixes=(prefix,)), reason)
        for prefix, number, reason in (
            ("+18", "+18765551234", "country"),  # Jamaica
            ("+1876", "+18765551234", ""),
            ("+18", "+18085551234", ""),  # Hawaii
            ("+12", "+12045551234", "country"),  # Manitoba
            ("+1204", "+12045551234", ""),
            ("+1", "+12025550123", ""),
            ("+447", "+447797712345", "country"),  # Jersey, Guernsey, the Isle of Man
            ("+447", "+447400123456", ""),
            ("+447797", "+447797712345", ""),
            ("+7", "+77012345678", "country"),  # Kazakhstan
            ("+77", "+77012345678", ""),
            ("+35818", "+3581812345", ""),  # Åland
            ("+358", "+3581812345", "country"),
            ("+39", "+390669812345", "country"),  # the Vatican
            ("+", "+18765551234", ""),
        )
    },
    "an emergency number": ("112", EUROPE, "emergency"),
    "an emergency number of the country": ("+1911", US, "emergency"),
    "another": ("+49110", EUROPE, "emergency"),
    "by SIP": ("sip:911@pbx.example.com", US, "emergency"),
    "an extension by SIP": ("sip:reception@pbx.example.com", OrderRules(), ""),
    "a number by SIP": ("sip:+19005551234@gateway.example.com", US, "cost_class"),
    "no country code": ("2025550123", US, "not_a_number"),
    "nothing is allowed": ("+12025550123", OrderRules(), "nothing_allowed"),
    "classes alone": ("+19005551234", OrderRules(cost_classes=("premium",)), "nothing_allowed"),
    "a costly number that is wanted": (
        "+19005551234",
        replace(US, cost_classes=("premium",)),
        "",
    ),
    "a costly number elsewhere": (
        "+499001123456",
        replace(US, cost_classes=("premium",)),
        "country",
    ),
}


@pytest.mark.parametrize(("number", "rules", "reason"), NUMBERS.values(), ids=NUMBERS)
def test_a_number_is_judged_by_its_country_and_its_cost(
    number: str, rules: OrderRules, reason: str
) -> None:
    refusal = judge_number(read_called(number, ""), rules)

    assert (refusal.reason if refusal else "") == reason
    if refusal:
        assert number not in refusal.text


def test_every_emergency_number_is_refused_in_its_own_country() -> None:
    rules = replace(US, cost_classes=get_args(CostClass))

    for region, number in {"GB": "999", "AU": "000", "JP": "119", "FR": "15"}.items():
        refusal = judge_number(read_called(number, region), rules)
        assert refusal is not None, region
        assert refusal.reason == "emergency"


def test_each_costly_class_can_be_allowed_by_its_name() -> None:
    assert {*COSTLY.values(), "satellite"} == set(get_args(CostClass))


@dataclass
class Gates:
    """Gates of several processes at one database."""

    url: str
    now: float = 1_000_000.0
    told: list[Event] = field(default_factory=list)
    databases: list[Database] = field(default_factory=list)
    asked: int = 0

    def gate(self, rules: OrderRules = US) -> OrderGate:
        self.databases.append(Database(self.url))
        return OrderGate(self.databases[-1], rules, emit=self.told.append, now_s=lambda: self.now)

    def order(self, number: str = "", source: OrderSource = "api") -> Order:
        self.asked += 1
        number = number or f"+1202555{self.asked:04}"
        return Order(id=f"d-{self.asked}", source=source, by="Mary", number=number)

    async def places(self, gate: OrderGate, number: str = "", **more: Any) -> str:
        """Order one call; return why it was refused."""
        refusal = await gate.admit(self.order(number, **more))
        return refusal.reason if refusal else ""

    async def rows(self) -> Sequence[Any]:
        return await orders_of(self.databases[-1])


@pytest.fixture
async def pool(url: str) -> AsyncIterator[Gates]:
    it = Gates(url)
    yield it
    for database in it.databases:
        await database.close()


async def test_many_simultaneous_dial_requests_of_several_processes_stay_within_the_limit(
    pool: Gates,
) -> None:
    gates = [pool.gate() for _ in range(4)]
    async with asyncio.timeout(60.0):
        refused = await asyncio.gather(*(pool.places(gates[at % 4]) for at in range(8)))

    assert sorted(refused) == [""] * 3 + ["concurrent"] * 5
    assert len(await pool.rows()) == 8  # each is recorded, accepted or not
    assert len(pool.told) == 8


LIMIT_STEPS = {
    "concurrent": (3, 0.0, None),
    "hourly": (5, HOUR_S, 1.0),
    "daily_minutes": (2, DAY_S, 30 * 60.0),
}
"""By limit: calls until it is reached, when it is over, and how long each call takes."""


@pytest.mark.parametrize(("limit", "step"), LIMIT_STEPS.items(), ids=LIMIT_STEPS)
async def test_a_limit_holds_after_a_restart_until_its_time_is_over(
    pool: Gates, limit: str, step: tuple[int, float, float | None]
) -> None:
    many, over_s, length_s = step
    gate = pool.gate()
    for _ in range(many):
        assert await pool.places(gate) == ""
        if length_s is not None:
            await gate.end(f"d-{pool.asked}", "completed", length_s=length_s)
    again = pool.gate()
    refused = await pool.places(again)
    told_full = again.reached_limit()
    pool.now += over_s + 1.0
    if not over_s:
        await gate.end("d-1", "busy")

    assert (refused, told_full) == (limit, limit)
    assert await pool.places(again) == ""


@on_sqlite
async def test_a_number_has_one_daily_limit_for_dial_requests_of_every_source(pool: Gates) -> None:
    gate = pool.gate()
    for source in ("api", "callback"):
        assert await pool.places(gate, NUMBER, source=source) == ""
        await gate.end(f"d-{pool.asked}", "no_answer")

    assert await pool.places(gate, NUMBER, source="campaign") == "number_daily"
    assert await pool.places(gate) == ""
    assert gate.reached_limit() == ""  # other numbers may be called
    pool.now += DAY_S + 1.0
    assert await pool.places(gate, NUMBER) == ""


@on_sqlite
async def test_a_call_of_unknown_end_counts_until_it_was_given_up(pool: Gates) -> None:
    gate = pool.gate()
    assert await pool.places(gate) == ""
    pool.now += US.daily_minutes * 60.0
    await gate.end(f"d-{pool.asked}", DialOutcome.UNKNOWN, reason="lost_at_carrier")

    assert await pool.places(gate) == "daily_minutes"


@on_sqlite
async def test_a_campaigns_dials_never_prevent_a_callers_transfer(pool: Gates) -> None:
    gate = pool.gate()
    for _ in range(3):
        await pool.places(gate, source="campaign")

    assert await pool.places(gate, source="campaign") == "concurrent"
    # More than twice a day: these numbers are the owner's.
    refused = [await pool.places(gate, NUMBER, source="transfer") for _ in range(4)]
    assert refused == ["", "", "", "concurrent"]


@on_sqlite
async def test_calls_of_a_dead_process_count_as_over_and_those_of_a_living_one_do_not(
    pool: Gates,
) -> None:
    dead, living = pool.gate(), pool.gate()
    assert [await pool.places(gate) for gate in (dead, living, living)] == ["", "", ""]
    pool.now += LEASE_S - 1.0
    await living.renew()
    pool.now += 2.0

    assert await pool.places(living) == ""
    assert await pool.places(living) == "concurrent"


async def test_a_call_counts_where_it_is_carried_whoever_placed_it(pool: Gates) -> None:
    often = replace(US, hourly=100)
    dead, taker, other = (pool.gate(often) for _ in range(3))
    assert [await pool.places(dead) for _ in range(3)] == ["", "", ""]

    with taker.carrying(f"d-{pool.asked}"), taker.carrying(""):
        for _ in range(5):
            pool.now += LEASE_S / 2.0
            await taker.renew()

        assert [await pool.places(other) for _ in range(3)] == ["", "", "concurrent"]
    pool.now += LEASE_S - 1.0
    await taker.renew()
    await other.renew()
    pool.now += 2.0
    assert [await pool.places(other) for _ in range(2)] == ["", "concurrent"]


@pytest.mark.parametrize("limit", ["concurrent", "hourly"])
async def test_a_limit_holds_for_machines_whose_clocks_differ(
    postgres_url: str, limit: str
) -> None:
    rules = replace(US, **{"concurrent": 100, "hourly": 100, limit: 3})
    async with AsyncExitStack() as stack:
        gates = list[OrderGate]()
        for ahead_s in (0.0, 2 * HOUR_S, -2 * HOUR_S):
            database = await stack.enter_async_context(Database(postgres_url))
            utc_s = partial(ahead_of, ahead_s)
            own = DatabaseClock(database, utc_s=utc_s, monotonic=clock.monotonic)
            gates.append(
                OrderGate(database, rules, emit=lambda _: None, now_s=own.now_s, clock=own)
            )
        it, refused = Gates(postgres_url), list[str]()
        for number in range(9):
            refused.append(await it.places(gates[number % 3]))
            await gates[number % 3].renew()

    assert refused == [""] * 3 + [limit] * 6


def ahead_of(ahead_s: float) -> float:
    return clock.utc_s() + ahead_s


@on_sqlite
async def test_a_withdrawn_dial_request_counts_as_no_call_and_may_be_made_again(
    pool: Gates,
) -> None:
    gate, order = pool.gate(replace(US, hourly=1)), pool.order(NUMBER)
    assert await gate.admit(order) is None
    await gate.end(order.id, WITHDRAWN, reason="leaving")

    assert await gate.admit(order) is None
    assert await gate.admit(order) is None  # it is under way
    (row,) = await pool.rows()
    assert (row.outcome, row.ended_s) == ("", None)


@on_sqlite
async def test_a_dial_request_is_recorded_with_its_author_and_outcome(pool: Gates) -> None:
    gate = pool.gate()
    refused, placed = pool.order("+19005551234", "command"), pool.order(NUMBER, "callback")
    await gate.admit(refused)
    await gate.admit(placed)
    pool.now += 20.0
    await gate.end(placed.id, "completed", length_s=12.5)
    rows = {row.id: row for row in await pool.rows()}

    first, second = rows[refused.id], rows[placed.id]
    assert (first.source, first.ordered_by, first.cost_class) == ("command", "Mary", "premium")
    assert (first.outcome, first.reason) == ("refused", "cost_class")
    assert (second.source, second.country, second.outcome) == ("callback", "US", "completed")
    assert (second.length_s, second.ended_s) == (12.5, pool.now)
    told = [event for event in pool.told if isinstance(event, CallOrdered)]
    assert [event.outcome for event in told] == ["refused", "accepted", "completed"]
    assert {event.called for event in told} == {"+1900****34", "+1202****23"}


async def test_a_flood_of_refused_dial_requests_is_recorded_up_to_a_bound(
    pool: Gates, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(order_gate, "MAX_REFUSALS", 5)
    gate = pool.gate()
    for _ in range(8):
        assert await pool.places(gate, "+19005551234") == "cost_class"

    assert len(await pool.rows()) == len(pool.told) == 5


async def test_without_the_database_only_a_transfer_is_dialled(tmp_path: Path) -> None:
    it = Gates(f"sqlite+aiosqlite:///{tmp_path}")  # a folder
    gate = it.gate()

    with pytest.raises(StorageError):
        await it.places(gate)
    assert await it.places(gate, source="transfer") == ""
    assert await it.places(gate, "+19005551234", source="transfer") == "cost_class"
    await gate.end("d-2", "connected")  # raises nothing


ROOT = Path(__file__).parents[2]
ORDERING = {
    "call_person": {"bot/call/transfer/transfer.py"},
    "dial": {"campaigns/dial_run.py", "campaigns/one_call.py", "campaigns/breakers.py"},
    "transfer": {"bot/call/transfer/transfer.py"},
}
"""The methods of carriers that place calls, and the modules that use them after the gate."""


def test_only_the_listed_modules_request_calls() -> None:
    found: dict[str, set[str]] = {name: set() for name in ORDERING}
    rooms = ("bot", "campaigns", "operations", "processors", "providers", "calls", "configuration")
    asks = re.compile(rf"\.(?:{'|'.join(ORDERING)})\(")
    for path in (path for room in rooms for path in (ROOT / room).rglob("*.py")):
        text = path.read_text(encoding="utf-8")
        for node in ast.walk(ast.parse(text)) if asks.search(text) else ():
            called = node.func if isinstance(node, ast.Call) else None
            if isinstance(called, ast.Attribute) and called.attr in found:
                found[called.attr].add(str(path.relative_to(ROOT)))

    assert found == ORDERING


A, B = "+15005550101", "+18765551234"


@asynccontextmanager
async def campaign_under(tmp_path: Path, **rules: Any) -> AsyncIterator[Any]:
    async with dialing(tmp_path, A, B) as it:
        it.rules = replace(it.rules, **rules)
        yield it


@pytest.mark.virtual_time
async def test_a_campaign_settles_a_number_that_is_never_called_and_calls_the_others(
    tmp_path: Path,
) -> None:
    async with campaign_under(tmp_path) as it:
        async with running(it):
            await it.done()
        outcomes = {dial.number: (str(dial.outcome), dial.reason) for dial in await it.ledger()}

        assert it.dialled() == [A]
        assert outcomes == {A: ("completed", ""), B: ("refused", "country")}
        assert len(it.of(DialEnded)) == 2


@pytest.mark.virtual_time
async def test_a_campaign_waits_for_a_limit_and_then_continues(tmp_path: Path) -> None:
    numbers = tuple(f"+1500555010{at}" for at in range(4))
    async with dialing(tmp_path, *numbers) as it:
        it.rules = replace(it.rules, concurrent=2)
        async with running(it) as dialer:
            await until(lambda: dialer.holds.why("c") is not None)
            held, called = dialer.holds.why("c"), len(it.carrier.record)
            await it.done()

        assert held is not None
        assert (held.reason, called) == ("concurrent", 2)
        assert sorted(it.dialled()) == sorted(numbers)


@pytest.mark.virtual_time
async def test_a_campaign_excludes_no_contact_while_no_country_is_allowed(tmp_path: Path) -> None:
    async with campaign_under(tmp_path, countries=(), prefixes=()) as it:
        async with running(it) as dialer:
            await asyncio.sleep(60.0)
            held = dialer.holds.why("c")
        standing = await it.figures.standing("c")

        assert held is not None
        assert held.reason == "nothing_allowed"
        assert (standing.contacts, it.carrier.record) == ({"waiting": 2}, [])


@pytest.mark.virtual_time
async def test_a_requested_callback_is_recorded_as_the_callers_request(tmp_path: Path) -> None:
    consent = CallConsent(kind="callback", given_on="2026-11-01", source="call 4711")
    async with dialing(tmp_path) as it:
        wanted = NewContact(number=A, zones=("UTC",), consent=consent)
        await it.book.add("c", [wanted], now=now_s())
        async with running(it):
            await it.done()
        (row,) = await orders_of(it.database)

        assert (row.source, row.ordered_by) == ("callback", "c, asked in call 4711")
        assert (row.outcome, row.length_s) == ("completed", 20.0)


def test_every_reason_has_a_sentence() -> None:
    for reason, said in {**NUMBER_REASONS, **LIMITS}.items():
        line = said(read_called(NUMBER, ""), US)
        assert line, reason
        assert "\n" not in line
