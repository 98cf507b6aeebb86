"""`holdline drill` on the command line: what it refuses before anything is started."""

from pathlib import Path

import pytest

from bot.__main__ import run


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["--matrix", "fool"], "full, smoke"),
        (["--only", "tts-cut-rest"], "tts-cut-reset"),
        (["--baseline", "nothing"], "stock-pipecat"),
        (["--scenario", "breker"], 'did you mean "breaker"?'),
        (["--scenario", "breaker", "--only", "llm-401"], "without --only"),
    ],
)
def test_a_wrong_option_is_told_in_one_line_with_what_is_valid(
    options: list[str], told: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code = run(["drill", *options, "--out", str(tmp_path / "out")])

    line = capsys.readouterr().err
    assert code == 2
    assert told in line
    assert len(line.splitlines()) == 1
    assert not (tmp_path / "out").exists()


def test_results_of_somebody_else_stop_the_drill_before_it_begins(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "results.json").write_text("{}")

    assert run(["drill", "--out", str(tmp_path)]) == 2
    assert "results.json" in capsys.readouterr().err
