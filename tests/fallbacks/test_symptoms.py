"""The rows of the symptom tables."""

from fallbacks.failure import Kind, Scope, finding
from fallbacks.symptoms import Moment, SymptomRow, symptom_row

QUOTA = finding(Kind.QUOTA)


def test_a_row_has_its_providers_and_conditions() -> None:
    line = symptom_row(
        {
            "is": "quota",
            "codes": "402 429-431",
            "on": "openai elevenlabs",
            "words": "quota_exceeded limit_reached",
            "says": "too much for today",
            "moments": "asked flowing",
        }
    )

    assert line == SymptomRow(
        found=QUOTA,
        providers=frozenset({"openai", "elevenlabs"}),
        codes=frozenset({402, 429, 430, 431}),
        words=frozenset({"quota_exceeded", "limit_reached"}),
        says="too much for today",
        moments=frozenset({Moment.ASKED, Moment.FLOWING}),
    )


def test_a_row_without_conditions_matches_everything() -> None:
    assert symptom_row({"is": "quota"}) == SymptomRow(
        found=QUOTA,
        providers=frozenset(),
        codes=frozenset(),
        words=frozenset(),
        says="",
        moments=frozenset(),
    )


def test_a_row_may_differ_from_its_kinds_verdict() -> None:
    line = symptom_row({"is": "auth", "scope": "request", "permanent": "false", "unknown": "true"})

    assert line.found == finding(Kind.AUTH, Scope.REQUEST, permanent=False, unknown=True)
