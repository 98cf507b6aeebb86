"""Renders the half second of speech for recogniser probes; every sample is reproducible.

Run: .venv/bin/python scripts/make_probe_speech.py [--out FILE]
"""

import argparse
from pathlib import Path
from typing import Final

import numpy as np
import soundfile
import soxr
from caller_voice import Voices

OUT: Final = Path(__file__).resolve().parent.parent / "providers" / "data" / "probe_speech.wav"
RATE_HZ: Final = 16_000
WORDS: Final = "Hello."  # understood in most languages, and 0.47 s long at this speed
WORDS_A_MINUTE: Final = 175
BEFORE_S: Final = 0.2
AFTER_S: Final = 0.3
PEAK: Final = 0.5  # of full scale


def main() -> None:
    """Write the recording."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=OUT)
    out: Path = parser.parse_args().out
    voices = Voices()
    speech = voices.say(WORDS, voice="en-us+f2", words_a_minute=WORDS_A_MINUTE)
    speech = soxr.resample(speech, voices.rate_hz, RATE_HZ)
    quiet = [np.zeros(round(item * RATE_HZ)) for item in (BEFORE_S, AFTER_S)]
    sound = np.concatenate([quiet[0], PEAK * speech / np.abs(speech).max(), quiet[1]])
    soundfile.write(out, sound, RATE_HZ, subtype="PCM_16")
    print(f"{out}: {len(sound) / RATE_HZ:.2f} s, {len(speech) / RATE_HZ:.2f} s of it speech")


if __name__ == "__main__":
    main()
