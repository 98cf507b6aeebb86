"""A full waiting room: which connection is dropped."""

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from transports.arrival_rules import Guest, WaitingRoom, network_of


class Visitors:
    """Makes guests and records which were dropped."""

    def __init__(self) -> None:
        self.left: list[str] = []

    def make(self, name: str, *, at: float = 0.0, known: bool = False) -> Guest:
        address = name.rstrip("0123456789")
        return Guest(address=address, came_at=at, leave=self._leaves(name), known=known)

    def _leaves(self, name: str) -> Callable[[], None]:
        return lambda: self.left.append(name)


@pytest.fixture
def visitors() -> Visitors:
    return Visitors()


def test_the_oldest_is_dropped(visitors: Visitors) -> None:
    room = WaitingRoom(places=2, of_one_address=2)

    came = [room.enter(visitors.make(name), now=0.0) for name in ("a1", "a2", "a3", "a4")]

    assert all(came)
    assert visitors.left == ["a1", "a2"]
    assert len(room) == 2


def test_the_oldest_of_the_most_crowded_address_is_dropped(visitors: Visitors) -> None:
    room = WaitingRoom(places=3, of_one_address=3)

    for name in ("caller1", "crowd1", "crowd2", "crowd3"):
        room.enter(visitors.make(name), now=0.0)

    assert visitors.left == ["crowd1"]


def test_a_known_guest_is_kept_longer_than_unknown_ones(visitors: Visitors) -> None:
    room = WaitingRoom(places=2, of_one_address=2)
    room.enter(visitors.make("a1", known=True), now=0.0)
    room.enter(visitors.make("a2"), now=0.0)

    room.enter(visitors.make("a3"), now=0.0)
    room.enter(visitors.make("a4", known=True), now=0.0)

    assert visitors.left == ["a2", "a3"]
    assert not room.enter(visitors.make("a5"), now=0.0)
    assert room.enter(visitors.make("a6", known=True), now=0.0)
    assert visitors.left == ["a2", "a3", "a1"]


def test_one_address_has_a_limited_number(visitors: Visitors) -> None:
    room = WaitingRoom(places=10, of_one_address=2)

    for name in ("other1", "a1", "a2", "a3"):
        room.enter(visitors.make(name), now=0.0)

    assert visitors.left == ["a1"]


def test_no_guest_is_dropped_before_it_had_time_to_begin(visitors: Visitors) -> None:
    room = WaitingRoom(places=1, of_one_address=1, ripe_s=3.0)
    room.enter(visitors.make("a1", at=10.0), now=10.0)

    assert not room.enter(visitors.make("a2", at=12.9), now=12.9)
    assert room.enter(visitors.make("a3", at=13.0), now=13.0)
    assert visitors.left == ["a1"]


def test_a_guest_that_has_begun_is_not_dropped(visitors: Visitors) -> None:
    room = WaitingRoom(places=1, of_one_address=1)
    first = visitors.make("a1")
    room.enter(first, now=0.0)

    room.remove(first)
    room.remove(first)
    room.enter(visitors.make("a2"), now=0.0)

    assert visitors.left == []


@given(st.lists(st.tuples(st.sampled_from("abc"), st.booleans()), max_size=60))
def test_the_places_are_never_exceeded_and_dropped_guests_are_gone(
    comers: list[tuple[str, bool]],
) -> None:
    room, visitors, inside = WaitingRoom(places=4, of_one_address=3), Visitors(), 0
    for number, (name, known) in enumerate(comers):
        before = len(visitors.left)
        inside += room.enter(visitors.make(f"{name}{number}", known=known), now=0.0)
        inside -= len(visitors.left) - before

        assert len(room) == inside <= 4
    assert len(set(visitors.left)) == len(visitors.left)


SAME = {
    "an address": ("203.0.113.9", "203.0.113.9", True),
    "two addresses": ("203.0.113.9", "203.0.113.8", False),
    "two hosts of one IPv6 network": ("2001:db8::1", "2001:db8::2", True),
    "two IPv6 networks": ("2001:db8::1", "2001:db8:0:1::1", False),
    "an address and its mapping": ("203.0.113.9", "::ffff:203.0.113.9", True),
    "two mapped addresses": ("::ffff:203.0.113.9", "::ffff:203.0.113.8", False),
    "what is no address": ("somewhere", "elsewhere", False),
}


@pytest.mark.parametrize(("one", "other", "same"), SAME.values(), ids=SAME.keys())
def test_a_client_is_known_by_its_ipv4_address_or_ipv6_network(
    one: str,
    other: str,
    same: bool,  # noqa: FBT001 - a parameter of the table
) -> None:
    assert (network_of(one) == network_of(other)) == same
