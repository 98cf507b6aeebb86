"""Data kept about calls, and which calls are kept."""

from operations.notify.trouble_rules import MOST_NAMES, KnownCalls

KEPT = 2


def ended(number: int) -> KnownCalls[list[str]]:
    """Return the state after this many calls, one after the other."""
    calls = KnownCalls[list[str]](keep_ended=KEPT)
    for index in range(number):
        calls.find(str(index), list)
        calls.end(str(index))
    return calls


def test_a_call_stays_the_same_while_it_lasts_and_for_a_while_after() -> None:
    calls = KnownCalls[list[str]](keep_ended=KEPT)
    begun = calls.find("one", list)
    assert begun is not None

    assert calls.find("one", list) is begun
    assert list(calls.live) == ["one"]
    assert calls.end("one") is begun
    assert calls.find("one", list) is begun
    assert (list(calls.live), list(calls.ended)) == ([], ["one"])


def test_only_the_latest_ended_calls_are_kept_and_an_older_one_does_not_restart() -> None:
    calls = ended(KEPT + 1)

    assert list(calls.ended) == ["1", "2"]
    assert calls.find("0", list) is None
    assert not calls.live


def test_an_unknown_call_cannot_end() -> None:
    calls = ended(1)

    assert calls.end("0") is None
    assert calls.end("nobody") is None
    assert list(calls.ended) == ["0"]


def test_the_names_of_dropped_calls_are_bounded() -> None:
    calls = ended(KEPT + MOST_NAMES + 1)

    assert calls.find("1", list) is None
    assert calls.find("0", list) == []
