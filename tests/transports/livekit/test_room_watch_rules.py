"""How long an agent stays in a room on a media server; `now` is a number."""

import pytest

from transports.livekit.room_watch_rules import BACK_S, EMPTY_S, LOST_S, RoomWatch


def test_a_room_without_participants_is_left() -> None:
    watch = RoomWatch(now=100.0)
    watch.tick(100.0 + EMPTY_S - 0.1)
    assert not watch.over

    watch.tick(100.0 + EMPTY_S)

    assert watch.over == "never_connected"


def test_a_caller_who_hangs_up_ends_the_call_at_once() -> None:
    watch = RoomWatch(now=0.0)
    watch.caller_came(0.2)
    assert watch.wake_at is None

    watch.caller_left(60.0, over="caller_hung_up")

    assert watch.over == "caller_hung_up"


@pytest.mark.parametrize(
    ("steps", "over"),
    [
        ((), ""),
        ((("caller_left", False), ("line_restored",), ("caller_came",)), ""),
        ((("line_restored",), ("caller_left", False), ("caller_came",)), ""),
        ((("caller_left", True), ("line_restored",), ("caller_came",)), ""),
        ((("line_restored",), ("caller_left", True)), "caller_hung_up"),
    ],
    ids=[
        "still lost",
        "all participants left with the server and came back",
        "the caller's gateway lost it later than we did",
        "a final reason is ignored while the server is gone",
        "back, and then hung up",
    ],
)
def test_a_lost_server_does_not_end_calls(steps: tuple[tuple[object, ...], ...], over: str) -> None:
    watch = RoomWatch(now=0.0)
    watch.caller_came(0.2)
    watch.line_lost(60.0)

    for at, (what, *rest) in enumerate(steps):
        if what == "caller_left":
            watch.caller_left(60.1 + at, over="caller_hung_up" if rest[0] else "")
        else:
            getattr(watch, str(what))(60.1 + at)
        watch.tick(60.1 + at)

    assert watch.over == over


def test_a_server_that_stays_lost_ends_the_call() -> None:
    watch = RoomWatch(now=0.0)
    watch.caller_came(0.2)
    watch.line_lost(60.0)
    watch.line_lost(80.0)  # told twice: the time runs from the first

    watch.tick(60.0 + LOST_S)

    assert watch.over == "line_lost"


def test_a_caller_who_does_not_return_with_the_server_ends_the_call() -> None:
    watch = RoomWatch(now=0.0)
    watch.caller_came(0.2)
    watch.line_lost(60.0)
    watch.caller_left(60.1, over="")
    watch.line_restored(62.0)
    assert watch.wake_at == 62.0 + BACK_S

    watch.tick(62.0 + BACK_S)

    assert watch.over == "line_lost"


def test_a_server_lost_before_a_participant_joined_leaves_the_caller_the_whole_time() -> None:
    watch = RoomWatch(now=0.0)
    watch.line_lost(5.0)

    watch.line_restored(8.0)

    assert watch.wake_at == 8.0 + EMPTY_S


def test_a_closed_room_ends_the_call_whoever_is_in_it() -> None:
    watch = RoomWatch(now=0.0)
    watch.caller_came(0.2)

    watch.line_ended()
    watch.caller_left(1.0, over="caller_hung_up")

    assert watch.over == "line_ended"


def seen(watch: RoomWatch) -> tuple[bool, bool, float | None]:
    return watch.caller_here, watch.up, watch.wake_at


def test_presence_and_waiting_time_are_known_at_each_moment() -> None:
    watch = RoomWatch(now=0.0)
    told = [seen(watch)]
    watch.caller_came(0.2)
    told.append(seen(watch))
    watch.caller_left(40.0, over="")
    told.append(seen(watch))
    watch.caller_came(41.0)
    watch.line_lost(60.0)
    told.append(seen(watch))
    watch.caller_came(60.5)  # told late: we are not there to see it
    told.append(seen(watch))
    watch.line_restored(62.0)
    told.append(seen(watch))

    assert told == [
        (False, True, EMPTY_S),
        (True, True, None),
        (False, True, 40.0 + BACK_S),
        (True, False, 60.0 + LOST_S),
        (True, False, 60.0 + LOST_S),
        (True, True, None),
    ]
    assert not watch.over


def test_a_caller_who_may_return_is_waited_for() -> None:
    watch = RoomWatch(now=0.0)
    watch.caller_came(0.2)
    watch.caller_left(40.0, over="")
    watch.tick(40.0 + BACK_S - 0.1)
    assert not watch.over

    watch.tick(40.0 + BACK_S)

    assert watch.over == "line_lost"
