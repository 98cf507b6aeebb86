"""Paths of several machines behind one address."""

import pytest

from runtime.machines import machine_path, split_path


@pytest.mark.parametrize(
    ("path", "split"),
    [
        ("/m/a/twilio/after", ("/m/a", "/twilio/after")),
        ("/m/machine-12/", ("/m/machine-12", "/")),
        ("/m/a/m/b/twilio/after", ("/m/a", "/m/b/twilio/after")),  # only the first one counts
        ("/twilio/after", ("", "/twilio/after")),
        ("/m/a", ("", "/m/a")),
        ("/m/A/readyz", ("", "/m/A/readyz")),  # not a machine's name
        ("/m//readyz", ("", "/m//readyz")),
        ("/m/../readyz", ("", "/m/../readyz")),
        ("/media/a/readyz", ("", "/media/a/readyz")),
        (f"/m/{'a' * 32}/readyz", ("", f"/m/{'a' * 32}/readyz")),
        ("", ("", "")),
    ],
)
def test_the_beginning_that_names_a_machine_is_split_off(path: str, split: tuple[str, str]) -> None:
    assert split_path(path) == split


def test_a_machines_own_path_is_split_off_again() -> None:
    assert split_path(f"{machine_path('a')}/x") == ("/m/a", "/x")
