"""Effects of one rung's failure on others with the same key or account."""

import pytest

from fallbacks.breaker import BreakerSettings, State
from fallbacks.facts import BreakerMoved, ProviderReset, Suspected
from fallbacks.failure import Kind, failed
from fallbacks.health import HealthFact
from fallbacks.roster import HealthTable, Place

NOW = 100.0
REST_S, SLOW_S = 30.0, 900.0


def place(stage: str, provider: str, *, key: str = "", account: str = "") -> Place:
    return Place(stage=stage, provider=provider, credential=key, account=account)


def refused(
    roster: HealthTable, stage: str, provider: str, kind: Kind = Kind.AUTH
) -> list[HealthFact]:
    permit = roster.health(stage, provider).permit(NOW)
    assert permit is not None
    return list(roster.failed(permit, failed(kind, stage, provider=provider), now=NOW))


def open_rungs(roster: HealthTable) -> list[str]:
    return [item.provider for item in roster if item.breaker.state is State.OPEN]


def retired_rungs(roster: HealthTable) -> list[str]:
    return [item.provider for item in roster if item.retired]


@pytest.mark.parametrize("kind", [Kind.AUTH, Kind.QUOTA])
def test_a_refused_key_takes_out_every_rung_that_shares_it(kind: Kind) -> None:
    roster = HealthTable(
        [
            place("stt", "ears", key="one"),
            place("tts", "voice", key="one"),
            place("tts", "other", key="two"),
        ],
        now=NOW,
    )

    facts = refused(roster, "stt", "ears", kind)

    assert retired_rungs(roster) == open_rungs(roster) == ["ears", "voice"]
    assert Suspected(stage="tts", provider="voice", kind=kind) in facts
    assert [fact.provider for fact in facts if isinstance(fact, BreakerMoved)] == ["ears", "voice"]


def test_rungs_without_keys_share_none() -> None:
    roster = HealthTable([place("stt", "local"), place("tts", "local too")], now=NOW)
    refused(roster, "stt", "local")

    assert open_rungs(roster) == ["local"]


def test_a_failure_not_of_the_key_does_not_affect_others() -> None:
    roster = HealthTable([place("stt", "a", key="one"), place("tts", "b", key="one")], now=NOW)
    refused(roster, "stt", "a", Kind.OVERLOADED)

    assert roster.health("tts", "b").suspect_since is None


def test_another_key_of_the_account_rests_but_may_be_valid() -> None:
    roster = HealthTable(
        [
            place("llm", "a", key="one", account="acme"),
            place("llm", "b", key="two", account="acme"),
            place("llm", "c", key="three", account="other"),
            place("llm", "d", key="four"),
        ],
        now=NOW,
        settings=BreakerSettings(open_s=REST_S, slow_s=SLOW_S),
    )

    facts = refused(roster, "llm", "a")

    assert open_rungs(roster) == ["a", "b"]
    assert retired_rungs(roster) == ["a"]
    assert Suspected(stage="llm", provider="b", kind=Kind.AUTH) in facts
    assert roster.wake_at == NOW + REST_S  # the one that may be valid is tried first


def test_a_key_shared_within_an_account_is_the_key() -> None:
    roster = HealthTable(
        [
            place("stt", "a", key="one", account="acme"),
            place("tts", "b", key="one", account="acme"),
        ],
        now=NOW,
    )
    refused(roster, "stt", "a")

    assert retired_rungs(roster) == ["a", "b"]


def test_an_account_whose_rungs_have_no_keys_is_tripped_anyway() -> None:
    roster = HealthTable(
        [place("stt", "a", account="acme"), place("tts", "b", account="acme")], now=NOW
    )
    refused(roster, "stt", "a")

    assert open_rungs(roster) == ["a", "b"]
    assert retired_rungs(roster) == ["a"]


def test_a_second_refusal_does_not_trip_the_account_again() -> None:
    roster = HealthTable(
        [
            place("llm", "a", key="one", account="acme"),
            place("llm", "b", key="two", account="acme"),
        ],
        now=NOW,
    )
    permit = roster.health("llm", "a").permit(NOW)
    again = roster.health("llm", "a").permit(NOW)
    assert permit is not None
    assert again is not None
    auth = failed(Kind.AUTH, "llm", provider="a")
    roster.failed(permit, auth, now=NOW)
    roster.reset("b", NOW)
    roster.failed(again, auth, now=NOW)

    assert roster.health("llm", "b").breaker.state is not State.OPEN


def test_a_repaired_key_is_tried_everywhere_it_is_used() -> None:
    roster = HealthTable(
        [
            place("stt", "a", key="one"),
            place("tts", "b", key="one"),
            place("tts", "c", key="two"),
        ],
        now=NOW,
        settings=BreakerSettings(successes=1),
    )
    refused(roster, "stt", "a")
    refused(roster, "tts", "c")
    later = NOW + SLOW_S
    roster.health("stt", "a").breaker.tick(later)  # half open: one that succeeds closes it
    permit = roster.health("stt", "a").permit(later, probe=True)
    assert permit is not None

    facts = roster.succeeded(("stt", "a"), permit, now=later, ttfb_s=0.25)

    assert [fact.provider for fact in facts if isinstance(fact, ProviderReset)] == ["b"]
    assert retired_rungs(roster) == ["b", "c"]  # b is tried now, and has to prove itself


def test_a_success_of_a_healthy_rung_does_not_affect_others() -> None:
    roster = HealthTable([place("stt", "a", key="one"), place("tts", "b", key="one")], now=NOW)
    permit = roster.health("stt", "a").permit(NOW)
    assert permit is not None
    for item in roster:
        item.retired = item.provider == "b"

    assert roster.succeeded(("stt", "a"), permit, now=NOW) == ()


def test_measured_speed_is_kept_with_the_rung() -> None:
    roster = HealthTable([place("stt", "a")], now=NOW, priors_s={"stt": 0.0})
    permit = roster.health("stt", "a").permit(NOW)
    assert permit is not None
    roster.succeeded(("stt", "a"), permit, now=NOW, ttfb_s=0.5)

    assert roster.health("stt", "a").latency.p95_s == 0.5


@pytest.mark.parametrize(("stage", "expected_s"), [("stt", 0.2), ("tts", 0.6)])
def test_each_stage_may_have_an_assumed_time_at_first(stage: str, expected_s: float) -> None:
    roster = HealthTable([place("stt", "a"), place("tts", "b")], now=NOW, priors_s={"stt": 0.2})

    assert [standing.p50_s for standing in roster.standings(stage, NOW)] == [expected_s]


def test_ladders_keep_their_order() -> None:
    roster = HealthTable([place("tts", "b"), place("stt", "x"), place("tts", "a")], now=NOW)

    assert [standing.provider for standing in roster.standings("tts", NOW)] == ["b", "a"]
    assert list(roster.standings("llm", NOW)) == []


def test_an_unknown_name_is_reported() -> None:
    roster = HealthTable([place("tts", "a")], now=NOW)

    with pytest.raises(KeyError, match="nobody"):
        roster.reset("nobody", NOW)
    with pytest.raises(KeyError):
        roster.health("stt", "a")


def test_a_reset_reaches_every_stage_that_has_the_name() -> None:
    roster = HealthTable([place("stt", "deepgram"), place("tts", "deepgram")], now=NOW)

    told = [item for item in roster.reset("deepgram", NOW) if isinstance(item, ProviderReset)]

    assert [item.stage for item in told] == ["stt", "tts"]


def test_open_rungs_are_woken_in_time() -> None:
    roster = HealthTable([place("stt", "a"), place("tts", "b")], now=NOW)
    assert roster.wake_at is None

    for provider, at in (("a", NOW), ("b", NOW + 5)):
        health = next(attempt for attempt in roster if attempt.provider == provider)
        health.breaker.trip(at, rest_s=REST_S)

    assert roster.wake_at == NOW + REST_S
    assert roster.tick(NOW + REST_S - 1) == ()
    assert [
        attempt.provider
        for attempt in roster.tick(NOW + REST_S)
        if isinstance(attempt, BreakerMoved)
    ] == ["a"]


def test_a_rung_that_an_operator_took_out_is_not_offered_but_still_probed() -> None:
    roster = HealthTable(
        [Place(stage="tts", provider=name, credential=name) for name in ("a", "b")], now=NOW
    )

    roster.withdraw("a", NOW)

    assert [standing.usable for standing in roster.standings("tts", NOW)] == [False, True]
    assert roster.health("tts", "a").permit(NOW) is None
    assert roster.health("tts", "a").permit(NOW, probe=True) is not None
    roster.put_back("a", NOW + 1)
    assert [standing.usable for standing in roster.standings("tts", NOW + 1)] == [True, True]
