"""Functions with types, callable objects and mistakes, as an owner might write them."""

import functools
import sqlite3
from collections.abc import AsyncIterator, Callable, Generator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import date
from enum import Enum
from typing import TYPE_CHECKING, Annotated, Any, Literal, Optional, Unpack

from pydantic import BaseModel, Field
from typing_extensions import Doc, TypedDict

if TYPE_CHECKING:
    from decimal import Decimal

GOT: list[Any] = []


class Size(Enum):
    SMALL = "small"
    LARGE = "large"


@dataclass
class Address:
    street: str
    number: int = 1


class Guest(BaseModel):
    name: str
    friends: "list[Guest]" = []


class Connection:
    """A type that JSON cannot express."""


def order(
    size: Size,
    crust: Literal["thin", "thick"],
    toppings: list[str],
    day: date,
    count: int = 1,
    note: Optional[str] = None,  # noqa: UP045 - as many still write
    phone: Annotated[str, Field(description="Where we call.", max_length=20)] = "",
    address: Address | None = None,
    connection: Connection = Connection(),  # noqa: B008 - as some do
) -> Any:
    """Order a pizza
    for a guest.

    Args:
        size: How large it is.
        crust: What lies below.
        count: How many.
    """
    GOT.append((size, crust, toppings, day, count, note, phone, address))
    return "ordered"


async def order_later(count: int, size: Size = Size.SMALL) -> Any:
    """Order later.

    :param count: How many.
    """
    GOT.append((count, size))
    return f"{count} {size.value}"


def one_crust(crust: Literal["thin"], pair: tuple[int, str]) -> str:
    """Order."""
    return f"{crust} {pair}"


def invite(guest: Guest) -> str:
    """Invite a guest."""
    return guest.name


def for_checkers(
    guests: list["Guest"], price: "Decimal | None" = None, *prices: "Decimal"
) -> "Decimal | None":
    """Use types by their names; one of them does not exist at run time."""
    GOT.append((guests, prices))
    return price


def needs_connection(connection: Connection) -> None:
    """Need what no model can give."""


def positional(day: str, /) -> None:
    """Take a day without a name."""


def prüfe() -> None:  # noqa: PLC2401 - an owner's
    """Have a name that no API accepts."""


def yields() -> Any:
    """Yield."""
    yield 1


@functools.singledispatch
def dispatched(of: str) -> str:
    """Dispatch by the first argument."""
    return of


class Dispatching:
    """Dispatches by the first argument of a method."""

    @functools.singledispatchmethod
    def price(self, of: str) -> str:
        """Say a price."""
        return of


dispatching = Dispatching()


def passes_no_names(function: Callable[..., Any]) -> Callable[..., Any]:
    """Decorate a function, and pass no arguments by name on to it."""

    @functools.wraps(function)
    def wrapper(*values: Any) -> Any:
        return function(*values)

    return wrapper


@passes_no_names
def unnamed(of: str) -> str:
    """Say a price."""
    return of


class PriceList:
    """Says prices."""

    def price(self, service: str) -> str:
        """Say a price.

        Parameters
        ----------
        service : str
            What is done.
        """
        return f"{service} costs 5"

    async def __call__(self, service: str) -> str:
        return f"{service} is free"


class Shop:
    """A client whose functions are looked up in a slow way."""

    looked_up = 0

    @property
    def order(self) -> Any:
        """Connect, and return the function."""
        type(self).looked_up += 1
        return self._order

    def _order(self, count: int) -> int:
        return count


ordered = functools.partial(Shop()._order, 2)


def hiding(function: Callable[..., Any]) -> Callable[..., Any]:
    """Decorate without `functools.wraps`."""

    def inner(*args: Any, **named: Any) -> Any:
        return function(*args, **named)

    return inner


@hiding
def hidden(count: int) -> int:
    """Count."""
    return count


decorated_for_checkers = functools.wraps(for_checkers)(hiding(for_checkers))


class Visit(TypedDict):
    day: str


def unpacked(**named: Unpack[Visit]) -> Any:
    """Take named parameters of a type."""
    return named


def seat(table: int | None, guests: int = 2) -> str:
    """Seat guests at a table, or at any."""
    return f"{table} {guests}"


def visit(
    day: Annotated[str, "The day of the visit."],
    guests: int = 2,
    note: Annotated[str, Doc("What else.")] = "-",
) -> str:
    """Visit."""
    return f"{day} {guests} {note}"


def others(**named: int) -> Any:
    """Take any names."""
    return named


def gives(kind: str) -> Any:
    """Give what JSON cannot express."""
    rows = sqlite3.connect(":memory:")
    rows.row_factory = sqlite3.Row
    circle: list[Any] = []
    circle.append(circle)
    kinds: dict[str, Callable[[], Any]] = {
        "dataclass": lambda: Address("Elm"),
        "model": lambda: [Guest(name="Ann")],
        "enum": lambda: {"size": Size.SMALL},
        "set": lambda: {5},
        "generator": lambda: (2 * item for item in range(3)),
        "row": lambda: rows.execute("SELECT 1 AS a, 'x' AS b").fetchall(),
        "tuples as keys": lambda: {("Elm", 1): "free"},
        "itself": lambda: circle,
        "no number": lambda: [float("nan")],
        "a huge number": lambda: 10**5000,
        "no text": lambda: {"name": Unspeakable()},
    }
    return kinds[kind]()


def submitted(count: int) -> Any:
    """Give the work to an executor."""
    with ThreadPoolExecutor(1) as executor:
        return executor.submit(double, count=count)


async def _counts() -> AsyncIterator[int]:
    yield 1
    yield 2


class Pipeline:
    """Is its own result, as Redis's pipelines are."""

    def __await__(self) -> Generator[Any, Any, "Pipeline"]:
        """Do nothing."""
        yield from ()
        return self

    def __repr__(self) -> str:
        """Return a short text."""
        return "a pipeline"


async def forgets_to_await(kind: str) -> Any:
    """Return what must still be awaited."""
    kinds = {"a coroutine": lambda: order_later(2), "a generator": _counts, "itself": Pipeline}
    return kinds[kind]()


def forgets_it_in_a_thread(kind: str) -> Any:
    """Do the same in a thread."""
    return forgets_to_await(kind) if kind == "a coroutine" else _counts()


desk = PriceList()
shop = Shop()
price_of = functools.partial(desk.price, service="cut")
price_later = functools.partial(order_later, size=Size.LARGE)
double = lambda count: 2 * count  # noqa: E731 - as some do


class Unspeakable(Exception):  # noqa: N818 - an owner's
    def __str__(self) -> str:
        raise RuntimeError


def raises() -> None:
    """Raise with a number."""
    raise LookupError("no order for +15550142 " + "x" * 5_000)


async def raises_later() -> None:
    """Raise in a library, later."""
    date.fromisoformat("no date")


def raises_stop_iteration() -> None:
    """Look for what is not there."""
    next(iter(()))


async def raises_stop_iteration_later() -> None:
    """Do the same in the owner's loop."""
    next(iter(()))


def raises_from_stop_iteration() -> None:
    """Say in an own error what was not there."""
    try:
        next(iter(()))
    except StopIteration as error:
        raise RuntimeError("no free table") from error


class Unusual(BaseException):  # as pytest's and gevent's are
    """No `Exception`."""


def raises_unusually() -> None:
    """Raise what no `except Exception` catches."""
    raise Unusual


async def raises_unusually_later() -> None:
    """Raise the same in the owner's loop."""
    raise Unusual


def raises_timeout() -> None:
    """Raise as a database driver does, long before the tool's own limit."""
    raise TimeoutError("the database is slow")


def raises_unspeakably() -> None:
    """Raise an error without words."""
    raise Unspeakable
