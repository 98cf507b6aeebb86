import pytest

from lab.simulators import faults


@pytest.mark.parametrize("name", faults.FAULTS)
def test_every_fault_survives_a_round_trip_through_a_mapping(name: str) -> None:
    needed = {"status": 503} if name == "http" else {}
    fault = faults.parse({"fault": name, **needed})

    assert faults.parse(faults.as_mapping(fault)) == fault
    assert faults.as_mapping(fault)["fault"] == name


@pytest.mark.parametrize("name", faults.FAULTS)
def test_every_fault_on_the_menu_works_with_the_values_shown(name: str) -> None:
    entry = next(fault for fault in faults.menu() if fault["fault"] == name)
    shown = {field["name"]: field["default"] for field in entry["fields"]}

    assert faults.parse({"fault": name, **shown}).name == name
    assert entry["label"]


@pytest.mark.parametrize(
    ("mapping", "message"),
    [
        ({}, "fault is missing; it takes one of refuse, reset"),
        ({"fault": "stal"}, "unknown fault 'stal'; did you mean 'stall'?"),
        ({"fault": "http"}, "fault http: status is missing; it takes an HTTP status"),
        ({"fault": "http", "status": 200}, "fault http: status is 200; it takes an HTTP status"),
        ({"fault": "http", "status": "503"}, "fault http: status is '503'; it takes"),
        ({"fault": "http", "status": True}, "fault http: status is True; it takes"),
        ({"fault": "cut", "after_word": 3}, "'after_word'; did you mean 'after_words'?"),
        ({"fault": "cut", "after_words": -1}, "after_words is -1; it takes a whole number"),
        ({"fault": "cut", "how": "fin"}, "how is 'fin'; it takes reset or close or error"),
        ({"fault": "slow_rate", "factor": 0}, "factor is 0; it takes a number above 0"),
        ({"fault": "slow_start", "delay_s": float("nan")}, "delay_s is nan; it takes seconds"),
        ({"fault": "refuse", "after_words": 1}, "unknown key 'after_words'; (none here)"),
    ],
    ids=lambda value: str(value)[:40],
)  # fmt: skip
def test_a_wrong_fault_is_one_line_with_the_cure(mapping: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=r".") as wrong:
        faults.parse(mapping)

    assert message in str(wrong.value)
    assert "\n" not in str(wrong.value)
