"""Functions as an owner might write them, for the tests of owner tools."""

import asyncio
import functools
import sys
import threading
from collections.abc import Callable
from typing import Any

HELD = threading.Event()
RUNS: list[str] = []


def opening_hours(day: str, holiday: bool = False) -> dict[str, str]:  # noqa: FBT001, FBT002 - an owner's
    """Say when we are open.

    More than a model needs to know.
    """
    return {"day": day, "hours": "closed" if holiday else "8 to 18"}


async def price(service: str) -> float:
    """Say what a service costs."""
    await asyncio.sleep(0)
    return {"check-up": 49.5}[service]


def logged(function: Callable[..., Any]) -> Callable[..., Any]:
    """Decorate, as many do."""

    @functools.wraps(function)
    def inner(*args: Any, **kwargs: Any) -> Any:
        return function(*args, **kwargs)

    return inner


@logged
async def book(day: str) -> str:
    """Book a day."""
    await asyncio.sleep(0)
    return f"{day} is booked"


def finds_nobody() -> str:
    """Look a person up, without a case for none found."""
    return next(run for run in RUNS if run == "nobody")


async def quits() -> None:
    """Exit as a command does."""
    await asyncio.sleep(0)
    sys.exit("no such customer")


def quits_in_a_thread() -> None:
    """Exit as a command does."""
    sys.exit("no such customer")


async def slow(name: str) -> str:
    """Take a while."""
    RUNS.append(name)
    await asyncio.sleep(0.15)
    return f"{name} done"


def named_nowhere(amount: "Decimal") -> str:  # noqa: F821 # pyright: ignore[reportUndefinedVariable] - imported for types alone
    """Use a name that the module lacks at run time."""
    return str(amount)


def hangs() -> None:
    """Never return."""
    HELD.wait(5.0)


def long_answer() -> str:
    """Return too much."""
    return "x" * 100_000


NOT_A_FUNCTION = 5


async def opening_hours_slowly(day: str = "today") -> str:
    """Say when we are open."""
    await asyncio.sleep(9.0)
    return f"from seven to nine, {day}"


ANSWER: list[Any] = []


def answers() -> Any:
    """Give a prepared answer."""
    return ANSWER[0]


def whose(phone: str, order: str) -> list[str]:
    """Find a caller's order."""
    return [phone, order]


async def whose_later(phone: str, order: str) -> list[str]:
    """Find it after a moment."""
    await asyncio.sleep(0)
    return [phone, order]


@logged
def whose_decorated(phone: str, order: str) -> list[str]:
    """Find it with a log line."""
    return [phone, order]


def whose_or_any(order: str, phone: str = "") -> list[str]:
    """Find it, also without a number."""
    return [phone, order]


PROVED: list[tuple[str, str]] = []


def proves(phone: str, call: str) -> Any:
    """Check who calls."""
    PROVED.append((phone, call))
    return ANSWER[0]
