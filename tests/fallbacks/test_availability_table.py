"""Effects of one rung's failure on others with the same key or account."""

import pytest

from fallbacks.availability import AvailabilityEvent, AvailabilityTable, Place
from fallbacks.breaker import BreakerSettings, Permit, State
from fallbacks.events import BreakerMoved, ProviderReset, Suspected
from fallbacks.failure import Kind, failed

NOW = 100.0
REST_S, SLOW_S = 30.0, 900.0


def place(stage: str, provider: str, *, key: str = "", account: str = "") -> Place:
    return Place(stage=stage, provider=provider, credential=key, account=account)


def refused(
    availability: AvailabilityTable, stage: str, provider: str, kind: Kind = Kind.AUTH
) -> list[AvailabilityEvent]:
    permit = availability.of(stage, provider).permit(NOW)
    assert permit is not None
    return list(availability.failed(permit, failed(kind, stage, provider=provider), now=NOW))


def open_rungs(availability: AvailabilityTable) -> list[str]:
    return [item.provider for item in availability if item.breaker.state is State.OPEN]


def retired_rungs(availability: AvailabilityTable) -> list[str]:
    return [item.provider for item in availability if item.retired]


@pytest.mark.parametrize("kind", [Kind.AUTH, Kind.QUOTA])
def test_a_refused_key_takes_out_every_rung_that_shares_it(kind: Kind) -> None:
    availability = AvailabilityTable(
        [
            place("stt", "ears", key="one"),
            place("tts", "voice", key="one"),
            place("tts", "other", key="two"),
        ],
        now=NOW,
    )

    facts = refused(availability, "stt", "ears", kind)

    assert retired_rungs(availability) == open_rungs(availability) == ["ears", "voice"]
    assert Suspected(stage="tts", provider="voice", kind=kind) in facts
    assert [fact.provider for fact in facts if isinstance(fact, BreakerMoved)] == ["ears", "voice"]


def test_rungs_without_keys_share_none() -> None:
    availability = AvailabilityTable([place("stt", "local"), place("tts", "local too")], now=NOW)
    refused(availability, "stt", "local")

    assert open_rungs(availability) == ["local"]


def test_a_failure_not_of_the_key_does_not_affect_others() -> None:
    availability = AvailabilityTable(
        [place("stt", "a", key="one"), place("tts", "b", key="one")], now=NOW
    )
    refused(availability, "stt", "a", Kind.OVERLOADED)

    assert availability.of("tts", "b").suspect_since is None


def test_another_key_of_the_account_rests_but_may_be_valid() -> None:
    availability = AvailabilityTable(
        [
            place("llm", "a", key="one", account="acme"),
            place("llm", "b", key="two", account="acme"),
            place("llm", "c", key="three", account="other"),
            place("llm", "d", key="four"),
        ],
        now=NOW,
        settings=BreakerSettings(open_s=REST_S, slow_s=SLOW_S),
    )

    facts = refused(availability, "llm", "a")

    assert open_rungs(availability) == ["a", "b"]
    assert retired_rungs(availability) == ["a"]
    assert Suspected(stage="llm", provider="b", kind=Kind.AUTH) in facts
    assert availability.wake_at == NOW + REST_S  # the one that may be valid is tried first


def test_a_key_shared_within_an_account_is_the_key() -> None:
    availability = AvailabilityTable(
        [
            place("stt", "a", key="one", account="acme"),
            place("tts", "b", key="one", account="acme"),
        ],
        now=NOW,
    )
    refused(availability, "stt", "a")

    assert retired_rungs(availability) == ["a", "b"]


def test_an_account_whose_rungs_have_no_keys_is_tripped_anyway() -> None:
    availability = AvailabilityTable(
        [place("stt", "a", account="acme"), place("tts", "b", account="acme")], now=NOW
    )
    refused(availability, "stt", "a")

    assert open_rungs(availability) == ["a", "b"]
    assert retired_rungs(availability) == ["a"]


def test_a_repaired_key_is_tried_everywhere_it_is_used() -> None:
    availability = AvailabilityTable(
        [
            place("stt", "a", key="one"),
            place("tts", "b", key="one"),
            place("tts", "c", key="two"),
        ],
        now=NOW,
        settings=BreakerSettings(successes=1),
    )
    refused(availability, "stt", "a")
    refused(availability, "tts", "c")
    later = NOW + SLOW_S
    availability.of("stt", "a").breaker.tick(later)  # half open: one that succeeds closes it
    permit = availability.of("stt", "a").permit(later, probe=True)
    assert permit is not None

    facts = availability.succeeded(("stt", "a"), permit, now=later, ttfb_s=0.25)

    assert [fact.provider for fact in facts if isinstance(fact, ProviderReset)] == ["b"]
    assert retired_rungs(availability) == ["b", "c"]  # b is tried now, and has to prove itself


def test_a_success_of_a_healthy_rung_does_not_affect_others() -> None:
    availability = AvailabilityTable(
        [place("stt", "a", key="one"), place("tts", "b", key="one")], now=NOW
    )
    permit = availability.of("stt", "a").permit(NOW)
    assert permit is not None
    for item in availability:
        item.retired = item.provider == "b"

    assert availability.succeeded(("stt", "a"), permit, now=NOW) == ()


@pytest.mark.parametrize(("stage", "expected_s"), [("stt", 0.2), ("tts", 0.6)])
def test_each_stage_may_have_an_assumed_time_at_first(stage: str, expected_s: float) -> None:
    availability = AvailabilityTable(
        [place("stt", "a"), place("tts", "b")], now=NOW, priors_s={"stt": 0.2}
    )

    assert [rung.p50_s for rung in availability.ladder(stage, NOW)] == [expected_s]


def test_ladders_keep_their_order() -> None:
    availability = AvailabilityTable(
        [place("tts", "b"), place("stt", "x"), place("tts", "a")], now=NOW
    )

    assert [rung.provider for rung in availability.ladder("tts", NOW)] == ["b", "a"]
    assert list(availability.ladder("llm", NOW)) == []


def test_an_unknown_name_is_reported() -> None:
    availability = AvailabilityTable([place("tts", "a")], now=NOW)

    with pytest.raises(KeyError, match="nobody"):
        availability.reset("nobody", NOW)
    with pytest.raises(KeyError):
        availability.of("stt", "a")


def test_a_reset_reaches_every_stage_that_has_the_name() -> None:
    availability = AvailabilityTable([place("stt", "deepgram"), place("tts", "deepgram")], now=NOW)

    told = [item for item in availability.reset("deepgram", NOW) if isinstance(item, ProviderReset)]

    assert [item.stage for item in told] == ["stt", "tts"]


def test_open_rungs_are_woken_in_time() -> None:
    availability = AvailabilityTable([place("stt", "a"), place("tts", "b")], now=NOW)
    assert availability.wake_at is None

    for provider, at in (("a", NOW), ("b", NOW + 5)):
        rung = next(attempt for attempt in availability if attempt.provider == provider)
        rung.breaker.trip(at, rest_s=REST_S)

    assert availability.wake_at == NOW + REST_S
    assert availability.tick(NOW + REST_S - 1) == ()
    assert [
        attempt.provider
        for attempt in availability.tick(NOW + REST_S)
        if isinstance(attempt, BreakerMoved)
    ] == ["a"]


def test_a_rung_that_an_operator_took_out_is_not_offered_but_still_probed() -> None:
    availability = AvailabilityTable(
        [Place(stage="tts", provider=name, credential=name) for name in ("a", "b")], now=NOW
    )

    availability.set_out("a", NOW, out=True)

    assert [rung.usable for rung in availability.ladder("tts", NOW)] == [False, True]
    assert availability.of("tts", "a").permit(NOW) is None
    assert availability.of("tts", "a").permit(NOW, probe=True) is not None
    availability.set_out("a", NOW + 1, out=False)
    assert [rung.usable for rung in availability.ladder("tts", NOW + 1)] == [True, True]


def refuse(everyone: AvailabilityTable, kind: Kind) -> None:
    permit = leave(everyone, "deepgram", 0.0)
    everyone.failed(permit, failed(kind, "stt", provider="deepgram"), now=1.0)


def leave(everyone: AvailabilityTable, name: str, now: float, *, probe: bool = False) -> Permit:
    given = everyone.of("stt", name).permit(now, probe=probe)
    assert given is not None
    return given


def usable(everyone: AvailabilityTable, now: float = 1.0) -> list[str]:
    return [rung.provider for stage in ("stt", "tts") for rung in everyone.usable(stage, now)]


def accounts() -> AvailabilityTable:
    return AvailabilityTable(
        [
            Place(stage="stt", provider="deepgram", credential="key-1", account="acme"),
            Place(stage="stt", provider="deepgram-b", credential="key-2", account="acme"),
            Place(stage="stt", provider="deepgram-eu", credential="key-3"),
            Place(stage="tts", provider="aura", credential="key-4", account="acme"),
            Place(stage="tts", provider="cartesia", credential="key-5", account="other"),
        ],
        now=0.0,
    )


def test_a_key_tripped_for_its_account_rests_briefly_and_may_prove_itself() -> None:
    everyone = accounts()
    refuse(everyone, Kind.AUTH)
    other = everyone.of("stt", "deepgram-b")

    assert not other.retired
    for now in (2.0, 3.0, 4.0):
        everyone.succeeded(
            ("stt", "deepgram-b"), leave(everyone, "deepgram-b", now, probe=True), now=now
        )

    assert usable(everyone, 4.0) == ["deepgram-b", "deepgram-eu", "cartesia"]
    assert everyone.of("stt", "deepgram").retired


def test_a_key_that_is_refused_itself_is_not_tried_sooner_for_its_account() -> None:
    everyone = accounts()
    refuse(everyone, Kind.AUTH)

    everyone.failed(
        leave(everyone, "deepgram-b", 2.0, probe=True),
        failed(Kind.AUTH, "stt", provider="deepgram-b"),
        now=2.0,
    )

    slow = (("stt", "deepgram"), ("stt", "deepgram-b"))
    assert all(everyone.of(*item).retired for item in slow)
    assert everyone.of("stt", "deepgram").breaker.wake_at == 91.0
    assert not everyone.of("tts", "aura").retired


def test_a_key_that_stays_refused_does_not_trip_its_account_repeatedly() -> None:
    everyone = accounts()
    refuse(everyone, Kind.AUTH)
    other = everyone.of("stt", "deepgram-b")
    for now in (2.0, 3.0, 4.0):
        everyone.succeeded(
            ("stt", "deepgram-b"), leave(everyone, "deepgram-b", now, probe=True), now=now
        )

    again = failed(Kind.AUTH, "stt", provider="deepgram")
    everyone.failed(leave(everyone, "deepgram", 902.0, probe=True), again, now=902.0)

    assert other.breaker.state is State.CLOSED


def test_a_recovered_account_is_tried_everywhere_at_once() -> None:
    everyone = accounts()
    refuse(everyone, Kind.QUOTA)
    for name in ("deepgram", "deepgram-b"):
        failure = failed(Kind.QUOTA, "stt", provider=name)
        everyone.failed(leave(everyone, name, 2.0, probe=True), failure, now=2.0)
    everyone.of("stt", "deepgram-b").reset(3.0)

    for now in (4.0, 5.0):
        everyone.succeeded(
            ("stt", "deepgram-b"), leave(everyone, "deepgram-b", now, probe=True), now=now
        )

    assert everyone.of("stt", "deepgram").breaker.state is State.HALF_OPEN


@pytest.mark.parametrize(
    ("served", "by_probe", "out"),
    [
        ((), True, ["a", "b", "c"]),
        (("a",), True, []),
        (("b",), True, ["a", "c"]),
        (("c",), True, ["a", "b"]),
        (("b", "c"), True, ["a"]),
        (("a", "b", "c"), False, ["a", "b", "c"]),  # a caller's request was refused after that
    ],
)
@pytest.mark.parametrize("kind", [Kind.AUTH, Kind.QUOTA])
def test_a_failed_probe_does_not_take_out_a_rung_that_has_just_served_a_caller(
    served: tuple[str, ...], out: list[str], kind: Kind, *, by_probe: bool
) -> None:
    availability = AvailabilityTable(
        [
            place("llm", "a", key="one", account="acme"),
            place("llm", "b", key="one", account="acme"),
            place("llm", "c", key="two", account="acme"),
        ],
        now=NOW,
    )
    for provider in served:
        permit = availability.of("llm", provider).permit(NOW)
        assert permit is not None
        availability.succeeded(("llm", provider), permit, now=NOW)
    permit = availability.of("llm", "a").permit(NOW + 1.0, probe=by_probe)
    assert permit is not None
    availability.failed(permit, failed(kind, "llm", provider="a"), now=NOW + 1.0)

    assert open_rungs(availability) == out
