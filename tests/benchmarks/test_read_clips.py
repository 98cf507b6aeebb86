"""The cutting of read clips; no recordings are needed."""

from pathlib import Path

import numpy as np
import pytest
import soundfile

from benchmarks.caller import HeldCall, HeldTurn
from benchmarks.read_clips import CLIPS, NoClipsError, load_clips, spoke_meanwhile
from lab.callers import RATE_HZ

LOUD = "AAAA" * 60  # base64 of 180 loud samples


def held(*at_s: float) -> HeldCall:
    turn = HeldTurn(question="q", answer="a", began_s=2.0, stop_s=5.0, end_s=9.0)
    sounds = [(number + 0.02 * part, "media", LOUD) for number in at_s for part in range(10)]
    return HeldCall(number=0, rang_at=0.0, turns=[turn], arrivals=sounds, ended_s=9.0)


@pytest.mark.parametrize(
    ("at_s", "meanwhile"), [((0.5,), False), ((0.5, 5.5), False), ((0.5, 3.0, 5.5), True)]
)
def test_an_agent_that_speaks_over_a_clip_is_noticed(
    at_s: tuple[float, ...], *, meanwhile: bool
) -> None:
    assert spoke_meanwhile(held(*at_s)) is meanwhile


def test_missing_clips_are_reported_with_the_cure(tmp_path: Path) -> None:
    with pytest.raises(NoClipsError, match=r"fetch_read_clips\.py fetches it"):
        load_clips(tmp_path)


def test_clips_are_cut_to_the_voice_and_brought_to_the_telephones_rate(tmp_path: Path) -> None:
    voice = 3000 * np.sin(np.arange(16_000) / 4)
    whole = np.concatenate([np.zeros(8000), voice, np.zeros(8000)]).astype("<i2")
    for name in CLIPS:
        if name.endswith(".raw"):
            whole.tofile(tmp_path / name)
        else:
            soundfile.write(tmp_path / name, whole, 16_000)

    found = load_clips(tmp_path)

    assert len(found) == 12
    for sound in found.values():
        assert sound.size == pytest.approx(RATE_HZ, abs=RATE_HZ / 50)
