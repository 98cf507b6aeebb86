"""Greetings of people, mailboxes, menus and call assistants, rendered by espeak-ng."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import soxr
import yaml

from engines.espeak import Espeak
from processors.answerer.answerer_rules import Answerer
from processors.answerer.phrase_rules import unaccented

DATA: Final = Path(__file__).parent / "data"
RATE_HZ: Final = 8000
LEVEL: Final = 0.35  # of full scale: the usual level of a voice on a telephone
Pieces = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Greeting:
    """What is heard after the answer: words, pauses in seconds, and beeps as `(hz, seconds)`."""

    name: str
    who: Answerer
    says: Sequence[str | float | tuple[int, float]]
    voice: str = "en-us"
    pace: int = 165
    begins_s: float = 0.4
    noise: float = 40.0  # RMS of 32768; a street is 400
    tell: str = ""  # the words by which a machine is recognisable at the latest


@dataclass(frozen=True, slots=True, kw_only=True)
class RenderedGreeting:
    """The rendered audio, and when each word ends, in seconds."""

    greeting: Greeting
    pcm: bytes
    words: tuple[tuple[float, str], ...] = field(default=())

    @property
    def told_s(self) -> float:
        """When a machine's telling words have been spoken; `inf` if they never are."""
        so_far, tell = "", unaccented(self.greeting.tell)
        for at_s, word in self.words:
            so_far = f"{so_far} {unaccented(word)}"
            if tell and tell in so_far:
                return at_s
        return math.inf


BEEP: Final = (1000, 0.5)


def read_greetings(name: str) -> tuple[Greeting, ...]:
    """Return the greetings of a set: `known`, or `held-out`."""
    text = (DATA / f"{name.replace('-', '_')}_greetings.yaml").read_text(encoding="utf-8")
    return tuple(map(_greeting_from_entry, yaml.safe_load(text)))


def _greeting_from_entry(entry: dict[str, Any]) -> Greeting:
    says = tuple(tuple(say) if isinstance(say, list) else say for say in entry["says"])
    return Greeting(**(entry | {"who": Answerer(entry["who"]), "says": says}))


def render(greeting: Greeting, engine: Espeak, *, seed: int = 7) -> RenderedGreeting:
    """Return a greeting as telephone audio."""
    dice = np.random.default_rng(seed)
    pieces: list[Pieces] = [np.zeros(round(greeting.begins_s * RATE_HZ))]
    words: list[tuple[float, str]] = []
    for say in greeting.says:
        at_s = sum(map(len, pieces)) / RATE_HZ
        match say:
            case str():
                sound, spoken = _speak_greeting(say, greeting, engine)
                pieces.append(sound)
                words += [(at_s + after_s, word) for after_s, word in spoken]
            case (hz, length_s):
                at = np.arange(round(length_s * RATE_HZ)) / RATE_HZ
                pieces.append(0.2 * np.sin(2 * np.pi * hz * at))
            case pause_s:
                pieces.append(np.zeros(round(float(pause_s) * RATE_HZ)))
    sound = np.concatenate([*pieces, np.zeros(5 * RATE_HZ)]) * 32767
    sound += dice.normal(0.0, greeting.noise, len(sound))
    pcm = sound.clip(-32768, 32767).astype("<i2").tobytes()
    return RenderedGreeting(greeting=greeting, pcm=pcm, words=tuple(words))


def _speak_greeting(
    text: str, greeting: Greeting, engine: Espeak
) -> tuple[Pieces, list[tuple[float, str]]]:
    """Return speech, and when each word ends, in seconds."""
    samples, starts = engine.speak(text, [greeting.voice], words_per_minute=greeting.pace, pitch=50)
    sound = soxr.resample(samples.astype(np.float64) / 32768, engine.rate_hz, RATE_HZ)
    sound *= LEVEL / max(0.01, float(np.abs(sound).max()))
    ends = [sample / engine.rate_hz for _, sample in starts[1:]] + [len(sound) / RATE_HZ]
    marks = [index for index, _ in starts] + [len(text)]
    spoken = [
        (end, text[marks[at] : marks[at + 1]].strip()) for at, end in enumerate(ends) if marks
    ]
    return sound, spoken
