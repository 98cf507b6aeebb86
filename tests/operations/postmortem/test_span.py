import pytest

from operations.postmortem.span import read_span
from runtime.exits import UsageError


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("90s", 90), ("30m", 1800), ("1h", 3600), ("1h30m", 5400), ("2d", 172_800), (" 1H ", 3600)],
)
def test_a_duration_is_read(text: str, seconds: int) -> None:
    assert read_span(text, option="--since").total_seconds() == seconds


@pytest.mark.parametrize(
    "text", ["", "soon", "1", "h", "-1h", "0s", "1.5h", "400d", "999999999d", "1h 30m", "\uff11h"]
)
def test_an_invalid_duration_is_one_line_with_the_remedy(text: str) -> None:
    with pytest.raises(UsageError) as refused:
        read_span(text, option="--since")

    assert str(refused.value).startswith("--since is ")
    assert "90s, 30m, 1h30m or 2d" in str(refused.value)
    assert "\n" not in str(refused.value)
