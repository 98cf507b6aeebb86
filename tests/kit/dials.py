"""Stored dials and call requests, and order gates for tests that dial."""

from collections.abc import Callable, Sequence
from typing import Any

from sqlalchemy import select

from calls.entry import Emit
from calls.outbound import Dial
from campaigns.order_gate import Order, OrderGate
from campaigns.order_rules import OrderRefusal, OrderRules
from campaigns.store.claim import read_dial
from operations.database.database import Database
from operations.database.tables import DIALS, ORDERS
from tests.kit.clock import always

LAB_RULES = OrderRules(
    prefixes=("+1500555", "+1555"),
    cost_classes=("personal", "unknown"),
    concurrent=1000,
    hourly=100_000,
    daily_minutes=100_000,
    number_daily=1000,
)


async def dials_of(database: Database | str, campaign: str) -> Sequence[Dial]:
    """Return a campaign's dials, oldest first; a database given by URL is opened and closed."""
    if isinstance(database, str):
        async with Database(database) as opened:
            return await dials_of(opened, campaign)
    own = select(DIALS).where(DIALS.c.campaign == campaign)
    async with database.reading() as connection:
        rows = await connection.execute(own.order_by(DIALS.c.intended_s, DIALS.c.id))
        return [read_dial(row) for row in rows]


async def orders_of(database: Database) -> Sequence[Any]:
    """Return the rows of all call requests, oldest first."""
    async with database.reading() as connection:
        return (await connection.execute(select(ORDERS).order_by(ORDERS.c.at_s))).all()


def gate_of(
    database: Database,
    rules: OrderRules = LAB_RULES,
    *,
    emit: Emit = lambda _: None,
    now_s: Callable[[], float] = lambda: 0.0,
    **more: Any,
) -> OrderGate:
    """Return an order gate that counts call requests in this database."""
    return OrderGate(database, rules, emit=emit, now_s=now_s, **more)


class OpenGate(OrderGate):
    """Accepts every call request and stores none."""

    def __init__(self) -> None:
        super().__init__(
            Database("sqlite+aiosqlite:///:memory:"),
            LAB_RULES,
            emit=lambda _: None,
            now_s=always(0.0),
        )

    async def admit(self, order: Order) -> OrderRefusal | None:
        del order

    async def end(
        self, order_id: str, outcome: str, *, reason: str = "", length_s: float | None = None
    ) -> None:
        pass


async def confirmed() -> None:
    """Let the carrier place a dial: the last check before it, which always passes."""
