"""The rows of the symptom tables."""

from fallbacks.failure import Kind, finding
from fallbacks.symptoms import Moment, SymptomRow, _row

QUOTA = finding(Kind.QUOTA)


def test_a_row_has_its_providers_and_conditions() -> None:
    line = _row(
        QUOTA,
        402,
        429,
        on="openai elevenlabs",
        words="quota_exceeded limit_reached",
        says="too much for today",
        moments=(Moment.ASKED, Moment.FLOWING),
    )

    assert line == SymptomRow(
        found=QUOTA,
        providers=frozenset({"openai", "elevenlabs"}),
        codes=frozenset({402, 429}),
        words=frozenset({"quota_exceeded", "limit_reached"}),
        says="too much for today",
        moments=frozenset({Moment.ASKED, Moment.FLOWING}),
    )


def test_a_row_without_conditions_matches_everything() -> None:
    assert _row(QUOTA) == SymptomRow(
        found=QUOTA,
        providers=frozenset(),
        codes=frozenset(),
        words=frozenset(),
        says="",
        moments=frozenset(),
    )
