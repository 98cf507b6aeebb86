"""Plays recordings of people reading as callers, one at a time.

Measures when each is answered, and whether it is split into two turns. The recordings are from
Debian's package `pocketsphinx-testdata` (see `scripts/fetch_read_clips.py`): five sentences of a
novel read for LibriVox, five readings of playing cards and two commands. The package has the
two-clause BSD licence; LibriVox's readings are in the public domain.
"""

import asyncio
import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import soundfile
import soxr

from benchmarks.beside import asked_texts, call_once, two_sites
from benchmarks.caller import HeldCall
from benchmarks.figures import BUDGET_S, NEVER_S
from benchmarks.heard import judge_all, playback
from benchmarks.load import Site, script_for
from lab.callers import RATE_HZ
from lab.drill.hearing import bare_words
from lab.drill.sound import Pcm, stretches
from runtime import clock

FOLDER: Final = Path(__file__).resolve().parent.parent / ".cache" / "read-clips"
CLIPS: Final[Mapping[str, str]] = {  # file and words, as the package's transcriptions have them
    "sense_and_sensibility_01_austen_64kb-0870.wav": (
        "and mister john dashwood had then leisure to consider how much there might be prudently "
        "in his power to do for them"
    ),
    "sense_and_sensibility_01_austen_64kb-0880.wav": "he was not an ill disposed young man",
    "sense_and_sensibility_01_austen_64kb-0890.wav": (
        "unless to be rather cold hearted and rather selfish is to be ill disposed"
    ),
    "sense_and_sensibility_01_austen_64kb-0920.wav": (
        "had he married a more a amiable woman he might have been made still more respectable "
        "than he was"
    ),
    "sense_and_sensibility_01_austen_64kb-0930.wav": (
        "he might even have been made amiable himself"
    ),
    "001.wav": "ten of clubs",
    "002.wav": "four queen of clubs",
    "003.wav": "seven of clubs",
    "004.wav": "five five",
    "005.wav": "eight of spades four of clubs seven of hearts",
    "goforward.raw": "go forward ten meters",
    "something.raw": "go somewhere and do something",
}
RAW_HZ: Final = 16_000  # of the files without a header, which are 16-bit mono
RMS: Final = 0.1 * 32768  # -20 dBFS, like the recorded callers
FRAME: Final = RATE_HZ // 100
VOICED: Final = 0.06  # of the loudest 10 ms: a quieter beginning or end is room noise


class NoClipsError(Exception):
    """The recordings are missing; the message says how to fetch them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ClipVerdict:
    """Result of one clip.

    Attributes:
        first_word_s: From the reader's last sound to the first word of the answer.
        split: Whether the agent was heard during the reading, no request had all the words, or the
            answer was not heard completely.
    """

    name: str
    length_s: float
    first_word_s: float
    split: bool
    requests: int

    @property
    def good(self) -> bool:
        """Whether it was answered in time, as one turn."""
        return self.first_word_s <= BUDGET_S and not self.split


def load_clips(folder: Path) -> dict[str, Pcm]:
    """Return the audio of each clip by its words: 8000 Hz, from the first to the last voiced sound.

    Raises:
        NoClipsError: A file is missing.
    """
    found: dict[str, Pcm] = {}
    for name, words in CLIPS.items():
        path = folder / name
        if not path.is_file():
            raise NoClipsError(f"{path} is missing; scripts/fetch_read_clips.py fetches it")
        found[words] = _for_telephone(*_read(path))
    return found


def _read(path: Path) -> tuple[Pcm, int]:
    if path.suffix == ".raw":
        return np.fromfile(path, dtype="<i2"), RAW_HZ
    samples, rate_hz = soundfile.read(path, dtype="int16", always_2d=True)
    return np.asarray(samples)[:, 0].astype(np.int16), int(rate_hz)


def _for_telephone(samples: Pcm, rate_hz: int) -> Pcm:
    sound = soxr.resample(samples.astype(np.float32), rate_hz, RATE_HZ)
    frames = sound[: sound.size // FRAME * FRAME].reshape(-1, FRAME)
    loudness = np.sqrt((frames**2).mean(axis=1))
    voiced = np.flatnonzero(loudness > VOICED * loudness.max())
    sound = sound[voiced[0] * FRAME : (voiced[-1] + 1) * FRAME]
    sound *= RMS / np.sqrt(np.mean(np.square(sound)))
    return np.clip(sound, -32768, 32767).astype(np.int16)


async def call_with_clips(
    clips: Mapping[str, Pcm], *, folder: Path, delays: str, workers: Sequence[str] = ()
) -> dict[str, list[ClipVerdict]]:
    """Play each clip to each side, one after the other; return the results by side."""
    found: dict[str, list[ClipVerdict]] = {}
    async with two_sites(delays=delays, folder=folder, workers=workers, phrases=clips) as sites:
        for words in clips:
            for side, site in sites.items():
                found.setdefault(side, []).append(await _play_clip(site, words, clips))
    return found


async def _play_clip(site: Site, words: str, clips: Mapping[str, Pcm]) -> ClipVerdict:
    since = len(await asked_texts(site, since=0))
    held = await call_once(script_for(site.agent.url, {words: clips[words]}), words)
    asked = await asked_texts(site, since=since)
    judge = functools.partial(judge_all, [held], started_at=clock.monotonic())
    (judged,) = await asyncio.to_thread(judge)
    first_s = judged.turns[0].first_word_s if judged.turns else NEVER_S
    whole = bool(judged.turns) and judged.turns[0].whole
    name = next(name for name, text in CLIPS.items() if text == words)
    return ClipVerdict(
        name=name,
        length_s=clips[words].size / RATE_HZ,
        first_word_s=first_s,
        split=not whole or spoke_meanwhile(held) or not _asked_all(asked, words),
        requests=len(asked),
    )


def spoke_meanwhile(held: HeldCall) -> bool:
    """Return whether the agent was heard while the caller spoke."""
    turn = held.turns[0]
    speech = stretches(playback(held).played, from_s=turn.began_s)
    return any(begin_s < turn.stop_s for begin_s, _ in speech)


def _asked_all(asked: Sequence[str], words: str) -> bool:
    """Return whether one request had all the words; early requests may lack some."""
    return any(bare_words(text) == bare_words(words) for text in asked)
