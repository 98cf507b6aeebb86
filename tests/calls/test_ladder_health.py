"""The health of rungs, and what operators read about a failing rung and its replacement."""

import pytest

from calls.ladder_health import OUTAGE, LadderHealth
from calls.sentences import Vendor
from fallbacks.breaker import State
from fallbacks.failure import ONE_CALL, Kind

LADDERS = {"llm": ["a", "b", "c"], "tts": ["voice"], "stt": []}


VENDORS = {
    ("llm", name): Vendor(title=f"Acme {name}", key="ACME_KEY", place=f"stages.llm {name}", name=of)
    for name, of in (("a", "Acme"), ("b", "Acme"), ("c", "Other"))
}


def known(vendors: dict[tuple[str, str], Vendor] | None = None, /, **kinds: str) -> LadderHealth:
    rungs = LadderHealth(LADDERS, steps=["clip", "goodbye"], vendors=vendors)
    for name, kind in kinds.items():
        rungs.get("llm", name).kind = kind
    return rungs


def test_a_rung_outside_the_ladders_is_not_kept() -> None:
    rungs = known()
    rungs.get("llm", "stranger").kind = "auth"

    assert rungs.get("llm", "stranger").kind == ""
    assert rungs.get("llm", "a") is rungs.get("llm", "a")


@pytest.mark.parametrize(
    ("stage", "name", "there"),
    [
        ("llm", "a", True),
        ("llm", "voice", False),
        ("llm", "", True),
        ("crm", "", False),
        ("crm", "a", False),
    ],
)
def test_the_ladders_rungs_are_known(stage: str, name: str, there: bool) -> None:  # noqa: FBT001 - a table
    assert known().has(stage, name) is there


def test_a_stage_is_retired_when_all_its_rungs_are() -> None:
    rungs = known()
    for name in ("a", "b"):
        rungs.get("llm", name).breaker = State.OPEN
    assert not rungs.is_unavailable("llm")

    rungs.get("llm", "c").breaker = State.HALF_OPEN

    assert rungs.is_unavailable("llm")


@pytest.mark.parametrize("stage", ["stt", "crm"])
def test_a_stage_without_rungs_is_not_retired(stage: str) -> None:
    assert not known().is_unavailable(stage)


def test_failures_are_named_rung_by_rung() -> None:
    rungs = known(a="auth", c="timeout")
    for name in ("a", "c"):
        rung = rungs.get("llm", name)
        rung.reason = rungs.explain("llm", name, rung.kind, "")

    assert rungs.reasons("llm") == "a rejects its key; c does not answer in time"
    assert known().reasons("llm") == ""
    assert known().reasons("crm") == ""


@pytest.mark.parametrize(
    ("kinds", "open_rungs", "said"),
    [
        ({}, (), "b is used instead"),
        ({"b": "timeout"}, (), "c is used instead"),
        ({"b": "timeout", "c": "auth"}, (), "b is used instead"),
        ({}, ("b",), "c is used instead"),
        ({}, ("b", "c"), "callers will hear a recorded sentence"),
    ],
)
def test_the_next_rung_is_the_first_without_suspicion(
    kinds: dict[str, str], open_rungs: tuple[str, ...], said: str
) -> None:
    rungs = known(**kinds)
    for name in open_rungs:
        rungs.get("llm", name).breaker = State.OPEN

    assert rungs.describe_replacement("llm", "a") == said


def test_a_whole_stages_message_names_the_outage_menu() -> None:
    assert known().describe_replacement("llm", "") == "callers will hear a recorded sentence"
    assert (
        LadderHealth(LADDERS, steps=[]).describe_replacement("llm", "")
        == "callers will hear nothing"
    )


def test_a_failure_names_the_vendor_and_its_key() -> None:
    assert known(VENDORS).explain("llm", "a", Kind.AUTH, "401") == ("Acme a rejects ACME_KEY (401)")


@pytest.mark.parametrize("kind", sorted(OUTAGE))
@pytest.mark.parametrize(
    ("other", "is_out", "reason", "alike"),
    [
        (Kind.NETWORK, True, "", ["a", "b"]),  # also of another kind of outage
        (Kind.NETWORK, False, "", ["a"]),
        (Kind.AUTH, True, "", ["a"]),  # its key, not its vendor
        (Kind.TIMEOUT, True, ONE_CALL, ["a"]),
    ],
)
def test_rungs_of_a_vendor_that_is_down_fail_alike(
    kind: Kind,
    other: Kind,
    is_out: bool,  # noqa: FBT001 - a table
    reason: str,
    alike: list[str],
) -> None:
    rungs = known(VENDORS, b=other, c=Kind.TIMEOUT)
    rungs.get("llm", "c").suspect = True  # of another vendor
    rungs.get("llm", "b").suspect, rungs.get("llm", "b").reason = is_out, reason

    assert rungs.failing_alike("llm", "a", kind) == alike


def test_a_failure_that_is_no_outage_is_of_one_rung() -> None:
    rungs = known(VENDORS, b=Kind.TIMEOUT)
    rungs.get("llm", "b").suspect = True

    assert rungs.failing_alike("llm", "a", Kind.AUTH) == ["a"]


def test_a_rung_without_a_known_vendor_fails_alone() -> None:
    rungs = known(b=Kind.TIMEOUT)
    rungs.get("llm", "b").suspect = True

    assert rungs.failing_alike("llm", "a", Kind.TIMEOUT) == ["a"]


def test_rungs_that_fail_alike_share_a_sentence_and_are_no_replacement() -> None:
    rungs = known(VENDORS)

    assert rungs.explain_together("llm", ["a", "b"]) == "Acme is down: a and b fail alike"
    assert (
        rungs.describe_replacement("llm", "a", alike=["a", "b"], is_breaker_open=True)
        == "c is used instead; a and b are tested until they work again"
    )


def test_a_failure_of_one_call_is_explained_for_all_when_the_breaker_opens() -> None:
    rungs = known(VENDORS, a=Kind.TIMEOUT)
    rung = rungs.get("llm", "a")
    rung.reason = rungs.explain("llm", "a", rung.kind, ONE_CALL)
    assert rung.reason == "Acme a refused one call's request; it is being probed"

    rungs.explain_for_all_calls("llm", "a")
    rungs.explain_for_all_calls("llm", "b")  # without a known failure

    assert rung.reason == "Acme a does not answer in time"
    assert rungs.get("llm", "b").reason == ""
