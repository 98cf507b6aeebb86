"""The gate that every outbound call passes: it checks, counts and records the request.

A request to call a number is called an order; `campaigns/order_rules.py` decides about it. Counting
and recording are one transaction, in the database's table `orders`, so that the limits hold for all
processes and across restarts. An order in progress has a lease, which its process renews; the
orders of a dead process count as ended after `LEASE_S`, unless another process carries the call.
All times are by the database's clock.

While the database does not answer, single calls, campaigns and callbacks are refused. Transfers are
not: the owner has configured the number, the caller is waiting, and a call has one transfer at a
time.
"""

import asyncio
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final, TypeVar

import phonenumbers
from loguru import logger
from phonenumbers import NumberParseException, PhoneNumber, PhoneNumberFormat, PhoneNumberType
from phonenumbers.shortnumberinfo import is_emergency_number
from sqlalchemy import Connection, case, func, select, update

from calls.campaign_events import CallOrdered
from calls.entry import Emit
from calls.outbound import DialOutcome
from campaigns.order_rules import (
    DAY_S,
    HOUR_S,
    ORDINARY,
    SIP,
    CalledNumber,
    OrderRefusal,
    OrderRules,
    OrderSource,
    OrderUse,
    begins_like,
    judge_number,
    judge_use,
)
from configuration.settings import Settings
from contacts.numbers import as_dialled, readings_of
from operations.database.database import Database, StorageError
from operations.database.database_clock import DatabaseClock
from operations.database.storable import storable
from operations.database.tables import CODE_LENGTH, NUMBER_LENGTH, ORDERER_LENGTH, ORDERS
from operations.masking import mask_number

LEASE_S: Final = 60.0  # chosen: two renewals in a row may fail
RENEW_S: Final = 20.0
LOCK_ATTEMPTS: Final = 4
TRANSFER_S: Final = 2.0  # limit of the database query while a caller waits for a person
# Chosen: how long campaigns pause after a limit was reached, since calls end all the time.
LIMIT_PAUSE_S: Final[Mapping[str, float]] = {
    "concurrent": 2.0,
    "hourly": 30.0,
    "daily_minutes": 30.0,
}
MAX_REFUSALS: Final = 100  # refused orders recorded per hour; any more are only logged
REFUSED: Final = "refused"
WITHDRAWN: Final = "withdrawn"  # the carrier was not asked
Result = TypeVar("Result")
TRANSFER: Final[OrderSource] = "transfer"
LOCK: Final = "SELECT pg_advisory_xact_lock(48657)"  # an arbitrary, fixed number

COSTLY: Final[Mapping[int, str]] = {
    PhoneNumberType.PREMIUM_RATE: "premium",
    PhoneNumberType.SHARED_COST: "shared_cost",
    PhoneNumberType.PERSONAL_NUMBER: "personal",
    PhoneNumberType.PAGER: "pager",
    PhoneNumberType.VOICEMAIL: "voicemail",
    PhoneNumberType.UNKNOWN: "unknown",
}
"""Cost classes of types of numbers; phonenumbers' `UNKNOWN` means outside all known ranges."""
# Pay-per-call exchanges inside the area codes of +1, which the library takes for ordinary numbers
# (NANPA, "976 central office codes"). `outbound.denied` is for others.
PAY_PER_CALL: Final = "+1...976"
LOOK_AHEAD_DIGITS: Final = 2  # chosen: with the digit after the code, an area code
PADDING: Final = "234567890123"
SATELLITES: Final = frozenset({870, 881, 882, 883})  # ITU-T E.164: Inmarsat, GMSS, networks
EMERGENCY_EVERYWHERE: Final = ("112", "911")  # in all mobile networks (3GPP TS 22.101)
MAX_EMERGENCY_DIGITS: Final = 6  # numbers up to this length may be emergency numbers


@lru_cache(maxsize=1024)
def read_called(number: str, region: str) -> CalledNumber:
    """Return the number with its country and its cost class; without both if it is no number.

    A SIP address is read as a telephone number if its user begins with a plus, or is an emergency
    number. The first number of a country takes a few milliseconds: its tables are loaded then.

    Args:
        number: A number in E.164 or in the notation of `region`, or a SIP address.
        region: The country of numbers without a country code (ISO 3166-1); empty for none.
    """
    scheme, _, address = number.partition(":")
    if scheme.lower() in ("sip", "sips"):
        user = address.partition("@")[0]
        called = read_called(user, region)
        if user.startswith("+") or called.emergency:
            return called
        return CalledNumber(number=number, cost_class=SIP)
    if _is_short_emergency(number, region):
        return CalledNumber(number=number, emergency=True)
    try:
        parsed = phonenumbers.parse(number, region or None)
    except NumberParseException:
        return CalledNumber(number=number)
    return CalledNumber(
        number=phonenumbers.format_number(parsed, PhoneNumberFormat.E164),
        country=phonenumbers.region_code_for_number(parsed) or "",
        cost_class=_cost_class(parsed),
        own_length=_own_length(parsed),
        emergency=_is_emergency(parsed),
    )


def _cost_class(number: PhoneNumber) -> str:
    if number.country_code in SATELLITES:
        return "satellite"
    if begins_like(phonenumbers.format_number(number, PhoneNumberFormat.E164), PAY_PER_CALL):
        return "premium"
    return COSTLY.get(phonenumbers.number_type(number), ORDINARY)


def _own_length(number: PhoneNumber) -> int:
    """Return the length of the shortest prefix of a number that its main country does not use.

    The main country of a code is the first of those that share it, such as the US of +1. 0 for its
    own numbers, and for a code that no countries share.
    """
    regions = phonenumbers.COUNTRY_CODE_TO_REGION_CODE.get(number.country_code or 0, ())
    country = phonenumbers.region_code_for_number(number)
    if len(regions) < 2 or country in (None, regions[0]):
        return 0
    text = phonenumbers.format_number(number, PhoneNumberFormat.E164)
    lengths = range(len(f"+{number.country_code}") + 1, len(text))
    own = (n for n in lengths if not _has_numbers(regions[0], text[:n], len(text)))
    return next(own, len(text))


@lru_cache(maxsize=4096)
def _has_numbers(region: str, prefix: str, length: int) -> bool:
    """Return whether valid numbers of a region begin with a prefix, by a sample of them.

    `length` is that of the whole numbers, with country code and plus.
    """
    tried = min(LOOK_AHEAD_DIGITS, length - len(prefix))
    rest = PADDING[: length - len(prefix) - tried]
    code = phonenumbers.country_code_for_region(region)
    national = prefix.removeprefix(f"+{code}")
    numbers = (f"{national}{digits:0{tried}}{rest}" for digits in range(10**tried))
    return any(
        phonenumbers.is_valid_number_for_region(
            PhoneNumber(
                country_code=code,
                national_number=int(number),
                italian_leading_zero=number.startswith("0"),
            ),
            region,
        )
        for number in numbers
    )


def _is_emergency(number: PhoneNumber) -> bool:
    """Return whether a number with a country code is an emergency number of that country."""
    national = str(number.national_number)
    regions = phonenumbers.COUNTRY_CODE_TO_REGION_CODE.get(number.country_code or 0, ())
    return len(national) <= MAX_EMERGENCY_DIGITS and (
        national in EMERGENCY_EVERYWHERE
        or any(is_emergency_number(national, item) for item in regions)
    )


def _is_short_emergency(text: str, region: str) -> bool:
    """Return whether a text without a plus is an emergency number: without `region`, of any."""
    digits = "".join(filter(str.isdigit, text))
    if text.startswith("+") or not 0 < len(digits) <= MAX_EMERGENCY_DIGITS:
        return False
    regions = (region,) if region else sorted(phonenumbers.SUPPORTED_REGIONS)
    return digits in EMERGENCY_EVERYWHERE or any(
        is_emergency_number(digits, item) for item in regions
    )


def rules_in(settings: Settings) -> OrderRules:
    """Return the configured rules; without a limit of calls at once, that of the server counts."""
    outbound = settings.outbound
    return OrderRules(
        countries=outbound.countries,
        prefixes=outbound.prefixes,
        denied=outbound.denied,
        cost_classes=outbound.cost_classes,
        concurrent=outbound.concurrent or settings.server.max_calls,
        hourly=outbound.hourly,
        daily_minutes=outbound.daily_minutes,
        number_daily=outbound.number_daily,
    )


def uncallable(settings: Settings) -> Iterator[tuple[str, str]]:
    """Yield each transfer destination that the rules refuse: its configuration key, and why."""
    rules, region = rules_in(settings), settings.server.region or ""
    agents = {"agent": settings.agent} | {f"agents.{n}": a for n, a in settings.agents.items()}
    for name, agent in agents.items():
        for person, to in agent.destinations.items():
            if refusal := judge_number(read_called(to.number, region), rules):
                yield f"{name}.destinations.{person}.number", refusal.text


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """A request to call a number.

    Attributes:
        id: The dial's id; an order that is admitted again keeps it.
        by: Who requests the call: an operator, a campaign, or a caller, by the id of their call.
    """

    id: str
    source: OrderSource
    by: str
    number: str


class OrderGate:
    """The gate of one process; all processes share its counts.

    Attributes:
        rules: The owner's rules.
        clock: The clock of all times; `None` if it needs no setting.
    """

    def __init__(
        self,
        database: Database,
        rules: OrderRules,
        *,
        region: str = "",
        emit: Emit,
        now_s: Callable[[], float],
        clock: DatabaseClock | None = None,
    ) -> None:
        """Count orders in a database.

        Args:
            database: The database.
            rules: The owner's rules.
            region: The country of numbers without a code; empty for none.
            emit: Publishes events.
            now_s: Returns seconds since 1970.
            clock: The clock of `now_s`, to be set before each use; `None` if it needs no setting.
        """
        self.rules = rules
        self._database = database
        self._region = region
        self._emit = emit
        self._now_s = now_s
        self.clock = clock
        self._orders: dict[str, Order] = {}  # in progress here, by id
        self._carried: set[str] = set()  # order ids of the calls that this process carries
        self._limit: tuple[str, float] = ("", 0.0)  # the reached limit, and until when it applies

    def readings(self, number: str) -> tuple[str, ...]:
        """Return the numbers that a text may mean, in E.164: none, or several if ambiguous."""
        return readings_of(number, region=self._region or None)

    def callback_number(self, number: str, *, placed: bool) -> str:
        """Return the number to dial for a callback; empty if it is refused or ambiguous.

        Args:
            number: The number, from the carrier or as the caller has named it.
            placed: Whether this server calls back. If people do, they decide about countries and
                costs, and only emergency numbers are refused.
        """
        readings = as_dialled(number, region=self._region or None)  # callers may be SIP addresses
        if len(readings) > 1:
            return ""
        called = read_called(readings[0] if readings else number, self._region)
        refused = judge_number(called, self.rules) if placed else called.emergency
        return "" if refused else called.number

    def reached_limit(self) -> str:
        """Return the limit that refused an order here less than its `LIMIT_PAUSE_S` ago, or ""."""
        limit, until_s = self._limit
        return limit if self._now_s() < until_s else ""

    async def admit(self, order: Order) -> OrderRefusal | None:
        """Check and record an order, and publish `CallOrdered`; return why it is refused, if it is.

        `None` means accepted: its lease is renewed until `end` or `leave`. An order in progress
        here is accepted again unchecked. If the database fails, or takes more than `TRANSFER_S`, a
        transfer that the rules allow passes uncounted. A reached limit is kept for `reached_limit`.

        Raises:
            StorageError: The database does not answer, and the order is not a transfer.
        """
        if order.id in self._orders:
            return None
        called = await asyncio.to_thread(read_called, order.number, self._region)
        refusal = judge_number(called, self.rules)
        try:
            async with asyncio.timeout(TRANSFER_S if order.source == TRANSFER else None):
                refusal, is_news = await _transact_with_retries(
                    self._database,
                    self.clock,
                    lambda connection: self._check_and_record(connection, order, called, refusal),
                )
        except (StorageError, TimeoutError) as error:
            if order.source != TRANSFER:
                raise
            logger.warning("a transfer is not counted: {}", error or "the database hangs")
            is_news = True
        if refusal is None:
            self._orders[order.id] = order
        elif order.source != TRANSFER and (rest_s := LIMIT_PAUSE_S.get(refusal.reason)):
            self._limit = (refusal.reason, self._now_s() + rest_s)
        _publish_decision(self._emit, order, called, refusal, is_news=is_news)
        return refusal

    def follow(self, order: Order) -> None:
        """Renew an order that another process got accepted, until `end` or `leave`."""
        self._orders[order.id] = order

    def leave(self, order_id: str) -> None:
        """Stop renewing an order; without `end`, it counts until its lease expires."""
        self._orders.pop(order_id, None)

    @contextmanager
    def carrying(self, order_id: str) -> Iterator[None]:
        """Let `renew` renew an order during the block; the process that placed it may have died.

        Args:
            order_id: The order's id; empty for a call that we did not place.
        """
        self._carried |= {order_id} - {""}
        try:
            yield
        finally:
            self._carried.discard(order_id)

    async def end(
        self, order_id: str, outcome: str, *, reason: str = "", length_s: float | None = None
    ) -> None:
        """Publish and record how an order ended; do nothing if it is not in progress here.

        If the database fails, that is only logged, and the order counts until its lease expires.

        Args:
            order_id: The order's id.
            outcome: A code; `WITHDRAWN` if the carrier was not asked, which does not count.
            reason: A code.
            length_s: How long the call lasted, if that is known.
        """
        order = self._orders.pop(order_id, None)
        if order is None:
            return
        called = read_called(order.number, self._region)  # from the cache
        self._emit(_order_event(order, called, outcome, reason, length_s))
        # Another process may have withdrawn it, not knowing that the call was placed.
        own = (ORDERS.c.id == order_id) & ORDERS.c.outcome.in_(("", WITHDRAWN))
        values = {
            "outcome": outcome[:16],
            "reason": storable(reason)[:CODE_LENGTH],
            "length_s": length_s,
        }
        ended = update(ORDERS).where(own).values(**values)
        try:
            await _transact_with_retries(
                self._database,
                self.clock,
                lambda connection: connection.execute(ended.values(ended_s=self._now_s())),
            )
        except StorageError as error:
            logger.warning("the end of order {} is not recorded: {}", order_id, error)

    async def run(self) -> None:
        """Renew the leases of this process's orders every `RENEW_S`, until cancelled."""
        while True:
            await asyncio.sleep(RENEW_S)
            await self.renew()

    async def renew(self) -> None:
        """Renew the leases of orders without an end, once; a database failure is only logged."""
        renewed = {*self._orders, *self._carried}
        if not renewed:
            return
        own = ORDERS.c.id.in_(renewed) & (ORDERS.c.outcome == "")
        goes_on = update(ORDERS).where(own)
        try:
            await _transact_with_retries(
                self._database,
                self.clock,
                lambda connection: connection.execute(
                    goes_on.values(until_s=self._now_s() + LEASE_S)
                ),
            )
        except StorageError as error:
            logger.debug("the leases of orders are not renewed: {}", error)

    def _check_and_record(
        self,
        connection: Connection,
        order: Order,
        called: CalledNumber,
        refusal: OrderRefusal | None,
    ) -> tuple[OrderRefusal | None, bool]:
        """Check the limits and write the row; return the refusal, and whether to report it.

        A refusal is neither written nor reported if it repeats the order's last one, or after
        `MAX_REFUSALS` in an hour. Runs again if its transaction failed because of a lock. In
        PostgreSQL, it first waits until no other process checks an order.
        """
        if connection.dialect.name == "postgresql":
            connection.exec_driver_sql(LOCK)  # SQLite has a single writer
        now = self._now_s()
        if refusal is None:
            use = _use_by_other_orders(connection, order, called, now)
            refusal = judge_use(called, use, self.rules, transfer=order.source == TRANSFER)
        stored = select(ORDERS.c.reason).where(ORDERS.c.id == order.id)
        last_reason = connection.execute(stored).scalar_one_or_none()
        if refusal and (
            last_reason == refusal.reason or _count_refusals(connection, now) >= MAX_REFUSALS
        ):
            return refusal, False
        row = _order_row(order, called, refusal, now)
        if last_reason is None:
            connection.execute(ORDERS.insert().values(id=order.id, **row))
        else:
            connection.execute(update(ORDERS).where(ORDERS.c.id == order.id).values(**row))
        return refusal, True


def _publish_decision(
    emit: Emit,
    order: Order,
    called: CalledNumber,
    refusal: OrderRefusal | None,
    *,
    is_news: bool,
) -> None:
    """Publish that an order is accepted or refused; a refusal that is no news is only logged."""
    if not is_news:
        logger.debug("order {} of {} is refused: {}", order.id, order.by, refusal)
        return
    outcome, reason = (REFUSED, refusal.reason) if refusal else ("accepted", "")
    emit(_order_event(order, called, outcome, reason))


async def _transact_with_retries(
    database: Database, clock: DatabaseClock | None, work: Callable[[Connection], Result]
) -> Result:
    """Set the clock, and run a transaction; `work` runs again if another process held the lock."""
    if clock is not None:
        await clock.measure()
    for attempts_left in reversed(range(LOCK_ATTEMPTS)):
        try:
            return await database.transact(work)
        except StorageError as error:
            if not attempts_left or "locked" not in str(error):  # SQLite, after `BUSY_S`
                raise
    raise AssertionError("unreachable")


def _order_event(
    order: Order, called: CalledNumber, outcome: str, reason: str, length_s: float | None = None
) -> CallOrdered:
    """Return the event of an order; the number in it is masked."""
    return CallOrdered(
        order_id=order.id,
        source=order.source,
        by=order.by,
        called=mask_number(called.number),
        country=called.country,
        cost_class=called.cost_class,
        outcome=outcome,
        reason=reason,
        length_s=round(length_s or 0.0, 3),
    )


def _order_row(
    order: Order, called: CalledNumber, refusal: OrderRefusal | None, now: float
) -> dict[str, Any]:
    """Return the row of an order; a refused one is over, others hold a place for `LEASE_S`."""
    return {
        "at_s": now,
        "source": order.source,
        "ordered_by": storable(order.by)[:ORDERER_LENGTH],
        "number": storable(called.number)[:NUMBER_LENGTH],
        "country": called.country,
        "cost_class": called.cost_class,
        "outcome": REFUSED if refusal else "",
        "reason": refusal.reason if refusal else "",
        "until_s": now + LEASE_S,
        "ended_s": now if refusal else None,
        "length_s": None,
    }


def _use_by_other_orders(
    connection: Connection, order: Order, called: CalledNumber, now: float
) -> OrderUse:
    """Return the use by other orders of the same kind, transfers or all others, in 24 hours.

    Refused and withdrawn orders do not count.
    """
    transfers = ORDERS.c.source == TRANSFER
    under_way = ORDERS.c.outcome == ""
    live = under_way & (ORDERS.c.until_s > now)
    # An order without an end and with an expired lease is from a dead process: it may have lasted
    # until then. A call with an unknown outcome may have lasted until we gave up.
    until_s = case(
        (live, now),
        (under_way, ORDERS.c.until_s),
        (ORDERS.c.outcome == DialOutcome.UNKNOWN.value, ORDERS.c.ended_s),
        else_=ORDERS.c.at_s,
    )
    length_s = func.coalesce(ORDERS.c.length_s, until_s - ORDERS.c.at_s)
    found = connection.execute(
        select(
            func.count().filter(live),
            func.count().filter(ORDERS.c.at_s > now - HOUR_S),
            func.coalesce(func.sum(length_s), 0.0),
            func.count().filter(ORDERS.c.number == called.number),
        ).where(
            ORDERS.c.at_s > now - DAY_S,
            ORDERS.c.outcome.not_in((REFUSED, WITHDRAWN)),
            ORDERS.c.id != order.id,
            transfers if order.source == TRANSFER else ~transfers,
        )
    ).one()
    live_now, last_hour, day_s, number_day = found
    return OrderUse(
        live=live_now, last_hour=last_hour, day_minutes=day_s / 60.0, number_day=number_day
    )


def _count_refusals(connection: Connection, now: float) -> int:
    """Return how many orders were refused within the last hour, for any reason."""
    refused = (ORDERS.c.at_s > now - HOUR_S) & (ORDERS.c.outcome == REFUSED)
    counted = select(func.count()).select_from(ORDERS).where(refused)
    return connection.execute(counted).scalar_one()
