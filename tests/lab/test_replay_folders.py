"""Folders of `holdline replay`: each caller has their own."""

from pathlib import Path

import pytest

from lab.replay import folder_names


@pytest.mark.parametrize(
    ("paths", "names"),
    [
        (["a.wav", "b.wav"], ["a", "b"]),
        (["monday/a.wav", "tuesday/a.wav", "a.mp3"], ["a", "a-2", "a-3"]),
        (["a.wav", "a.wav"], ["a", "a-2"]),
        (["a.wav", "a-2.wav", "x/a.wav"], ["a", "a-2", "a-3"]),
        (["logs.wav"], ["logs-2"]),
    ],
)
def test_each_recording_has_a_folder_of_its_own(paths: list[str], names: list[str]) -> None:
    assert folder_names([Path(path) for path in paths]) == names
