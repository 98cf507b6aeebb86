"""A file is skipped only if no test in it can have the requested marks."""

from pathlib import Path

import pytest

from tests.choosing import marks_of, may_hold

HERE = Path(__file__).parent
QUICK = "not slow and not e2e and not peers"
SLOW = "(slow or e2e) and not long and not peers"


@pytest.mark.parametrize(
    ("text", "wanted", "read"),
    [
        ("", QUICK, True),
        ("", SLOW, False),
        ("pytestmark = pytest.mark.slow", SLOW, True),
        ("pytestmark = pytest.mark.slow", QUICK, True),  # some of it may be unmarked
        ("pytestmark = [pytest.mark.slow, pytest.mark.long]", SLOW, True),
        ("pytestmark = [pytest.mark.slow, pytest.mark.long]", "long and alone", False),
        ("@pytest.mark.e2e", SLOW, True),
        ("# slow", SLOW, False),
        ("pytestmark = pytest.mark.slow", "not hours", True),
    ],
)
def test_a_file_is_read_if_a_test_in_it_may_be_wanted(
    tmp_path: Path, text: str, wanted: str, *, read: bool
) -> None:
    file = tmp_path / "test_it.py"
    file.write_text(text)

    assert may_hold(file, wanted) == read


def test_marks_come_from_imports_and_from_a_folder_too() -> None:
    hours = HERE / "processors" / "hearing" / "test_stage_hour.py"
    phone = HERE / "peers" / "test_peers.py"

    assert {"slow", "hours"} <= marks_of(hours)  # from tests/processors/weather.py
    assert may_hold(phone, "peers and not long")
