"""What the supervisor itself goes by, when a configuration comes into force."""

import socket
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from bot.config.settings import Settings
from bot.house.supervisor import Supervisor
from tests.bot.house.test_shared_limits import settings_with


def admitting(how: str, *, max_calls: int = 20) -> Settings:
    settings = settings_with()
    server = settings.server.model_copy(update={"admission": how, "max_calls": max_calls})
    return settings.model_copy(update={"server": server})


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    with socket.socket() as found:
        yield found


@pytest.mark.parametrize(
    ("before", "then", "admitted"),
    [("measured", "seats", [False, True]), ("seats", "measured", [True, False])],
)
def test_who_is_let_in_is_decided_as_the_new_configuration_says(
    listener: socket.socket, before: str, then: str, admitted: list[bool]
) -> None:
    plan: Any = SimpleNamespace(settings=admitting(before))
    supervisor = Supervisor(plan, listener)
    seats, now = supervisor._seats, 0.0
    seats.open(1, now)
    seats.begin(1, 1, now)
    seats.heed(1, cores=0.9, lag_s=1.0, now=now)  # a worker that can carry no more

    let_in = [seats.admit(now) is not None]
    supervisor._go_by(admitting(then))
    let_in.append(seats.admit(now) is not None)

    assert let_in == admitted


def test_there_are_as_many_seats_as_the_new_configuration_says(listener: socket.socket) -> None:
    plan: Any = SimpleNamespace(settings=admitting("seats", max_calls=1))
    supervisor = Supervisor(plan, listener)
    seats, now = supervisor._seats, 0.0
    seats.open(1, now)
    seats.begin(1, 1, now)
    assert seats.admit(now) is None

    supervisor._go_by(admitting("seats", max_calls=2))

    assert seats.admit(now) is not None
