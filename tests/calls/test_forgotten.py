"""The names of calls of which no more is kept."""

from calls.forgotten import MOST, ForgottenCalls


def test_the_latest_are_known() -> None:
    forgotten = ForgottenCalls()
    for number in range(MOST + 1):
        forgotten.add(str(number))

    assert "0" not in forgotten
    assert "1" in forgotten
    assert str(MOST) in forgotten
