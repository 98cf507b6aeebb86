"""Reading a register's JSON, and what is said of a caller."""

from typing import Any

import pytest

from calls.crm import CrmContact, dig, fill, known_text, personal

ANSWER = {"results": [{"id": 7, "name": {"first": "Ada"}}]}


@pytest.mark.parametrize(
    ("path", "found"),
    [
        ("results.0.id", 7),
        ("results.0.name.first", "Ada"),
        ("results.1.id", None),
        ("results.x", None),
        ("results.0.id.more", None),
        ("", ANSWER),
    ],
)
def test_a_path_finds_what_stands_there(path: str, found: Any) -> None:
    assert dig(ANSWER, path) == found


def test_a_template_keeps_the_type_of_a_place_that_stands_alone() -> None:
    template = {"s": "{length_s}", "note": "of {length_s} s", "list": ["{no}", 1]}

    assert fill(template, {"length_s": 2.5}) == {"s": 2.5, "note": "of 2.5 s", "list": ["", 1]}


def test_a_greeting_without_the_name_reads_as_if_there_were_no_place() -> None:
    assert personal("Hello {name}, welcome.", None) == "Hello, welcome."


def test_what_is_known_is_bounded_and_one_line_each() -> None:
    fields = {"note": "x\ny" * 500, "empty": " "}
    text = known_text(CrmContact(id="7", name="Ada", fields=fields))

    assert text.splitlines()[1] == "- name: Ada"
    assert len(text.splitlines()) == 3
    assert len(text) < 400
