"""A deadline that is passed on to lower layers."""

from fallbacks.deadline import Deadline


def test_a_deadline_has_its_remaining_time_which_is_never_negative() -> None:
    until = Deadline(at=100.0)

    assert until.left_s(99.5) == 0.5
    assert until.left_s(101.0) == 0.0
    assert not until.passed(99.9)
    assert until.passed(100.0)


def test_a_deadline_is_derived_from_another() -> None:
    until = Deadline(at=100.0)

    assert until.no_sooner_than(101.0).at == 101.0
    assert until.no_sooner_than(99.0).at == 100.0
    assert until.no_later_than(99.0).at == 99.0
    assert until.no_later_than(101.0).at == 100.0
    assert until.later_by(2.5).at == 102.5
