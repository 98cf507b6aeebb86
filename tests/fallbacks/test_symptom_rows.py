"""How a line of the tables of symptoms is written down."""

from fallbacks.failure import Kind, finding
from fallbacks.symptoms import Moment, SymptomRow, _line

QUOTA = finding(Kind.QUOTA)


def test_a_line_says_whom_and_what_it_fits() -> None:
    line = _line(
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


def test_a_line_that_says_nothing_more_fits_everything() -> None:
    assert _line(QUOTA) == SymptomRow(
        found=QUOTA,
        providers=frozenset(),
        codes=frozenset(),
        words=frozenset(),
        says="",
        moments=frozenset(),
    )
