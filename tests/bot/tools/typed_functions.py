"""Functions with types, callable objects and mistakes, as an owner might write them."""

import functools
from dataclasses import dataclass
from datetime import date
from enum import Enum
from typing import Annotated, Any, Literal, Optional

from pydantic import BaseModel, Field

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


def needs_connection(connection: Connection) -> None:
    """Need what no model can give."""


def positional(day: str, /) -> None:
    """Take a day without a name."""


def prüfe() -> None:  # noqa: PLC2401 - an owner's
    """Have a name that no API accepts."""


def yields() -> Any:
    """Yield."""
    yield 1


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


desk = PriceList()
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


def raises_unspeakably() -> None:
    """Raise an error without words."""
    raise Unspeakable
