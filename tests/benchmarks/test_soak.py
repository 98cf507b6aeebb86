"""The verdicts of the long run."""

from benchmarks.figures import HeardTurn, sum_up
from benchmarks.soak import ALLOWED_GROWTH, SoakFindings, lines


def found(*, grows: float = 0.0, lost: int = 0, errors: tuple[str, ...] = ()) -> SoakFindings:
    heard = HeardTurn(call=0, at_s=0.0, first_word_s=0.9, first_sound_s=0.9, gap_s=0.0)
    flat = [(60.0 * at, 5.0 + 0.1 * (at % 2)) for at in range(30)]
    memory = [(60.0 * at, 200.0 + grows * at + 0.1 * (at % 3)) for at in range(30)]
    return SoakFindings(
        minutes=30.0,
        calls=10,
        figures=sum_up([heard] * 20, expected=20 + lost),
        points={name: memory if name == "memory, MB" else flat for name in ALLOWED_GROWTH},
        shares={"server": 0.5},
        errors=list(errors),
    )


def test_constant_memory_passes() -> None:
    assert found().good


def test_steadily_growing_memory_is_drift() -> None:
    assert found(grows=1.0).drifting == ("memory, MB",)
    assert not found(grows=1.0).good


def test_growth_during_the_warm_up_is_no_drift() -> None:
    each = found()
    warm = each.points["memory, MB"]
    warm[:4] = [(at_s, value - 100.0) for at_s, value in warm[:4]]

    assert each.drifting == ()


def test_a_lost_turn_fails_the_run() -> None:
    assert not found(lost=1).good


def test_a_call_that_broke_off_fails_the_run_and_is_reported() -> None:
    told = list(lines(found(errors=("1 of 3: ConnectionError: gone",))))

    assert "calls that ended early, 1 of 3: ConnectionError: gone" in told
    assert told[-1].endswith("MISSED")


def test_every_slope_is_printed_with_its_interval() -> None:
    told = "\n".join(lines(found()))

    assert told.count("give or take") == len(ALLOWED_GROWTH)
