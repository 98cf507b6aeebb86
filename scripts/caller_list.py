"""The list of recorded callers: their words, their line, and what the agent must do."""

import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import caller_sound
import numpy as np
import soundfile
import yaml
from caller_voice import Samples

GREETING_S: Final = 4.0  # callers speak after the greeting, which takes less than 3.5 s
FLOOR_DB: Final = -70.0  # noise of a line and a quiet room between words; no line is silent
TAIL_S: Final = 1.0  # silence after the last word, enough to detect the end of the turn
NOISE_SNR_DB: Final = 10.0
CLIP_GAIN_DB: Final = 15.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One utterance."""

    parts: Sequence[str]  # spoken with `pause_s` of silence between them
    wait_s: float = GREETING_S  # silence before it in the recording
    pause_s: float = 0.0
    cue: str = "greeting_over"  # greeting_over, answer_over or agent_speaks
    cue_after_s: float = 0.5  # how long after the cue

    @property
    def words(self) -> str:
        """What is said, as one sentence."""
        return " ".join(self.parts)


@dataclass(frozen=True, slots=True, kw_only=True)
class Tones:
    """Keypad digits, as DTMF audio."""

    keys: str
    wait_s: float = GREETING_S


@dataclass(frozen=True, slots=True)
class Step:
    """One effect on a whole recording; it gets the recording, its rate and the speech's power."""

    description: str
    apply: Callable[[Samples, int, float], Samples]


@dataclass(frozen=True, slots=True, kw_only=True)
class Caller:
    """One recording."""

    name: str
    about: str
    items: tuple[Line | Tones, ...]
    expect: Mapping[str, Any]
    voice: str = "en-us"
    words_a_minute: int = 170
    pitch: int = 50
    rate_hz: int = 16000
    rms_db: float = -20.0
    floor_db: float | None = FLOOR_DB  # `None` for digital silence between words
    steps: tuple[Step, ...] = ()
    tail_s: float = TAIL_S
    facts: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class BrokenFile:
    """One file that is not a valid recording."""

    name: str
    about: str
    reason: str  # a word that must be in the refusal
    content: bytes


def _wav(channels: int, subtype: str) -> bytes:
    file = io.BytesIO()
    tone = 0.1 * np.sin(2 * np.pi * 440 * np.arange(1600) / 8000)
    sound = np.repeat(tone[:, None], channels, axis=1)
    soundfile.write(file, sound, 8000, format="WAV", subtype=subtype)
    return file.getvalue()


STEPS: Final[Mapping[str, Step]] = {
    "band": Step(
        "telephone band, 300 to 3400 Hz",
        lambda sound, rate_hz, _: caller_sound.telephone_band(sound, rate_hz),
    ),
    "mulaw": Step("mu-law coded and decoded", lambda sound, *_: caller_sound.through_mulaw(sound)),
    "street": Step(
        f"street noise, {NOISE_SNR_DB:.0f} dB below the speech",
        lambda sound, rate_hz, speech_power: caller_sound.with_street_noise(
            sound, rate_hz, snr_db=NOISE_SNR_DB, speech_power=speech_power
        ),
    ),
    "too_loud": Step(
        f"{CLIP_GAIN_DB:.0f} dB too loud, cut off at full scale",
        lambda sound, *_: caller_sound.clipped(sound, gain_db=CLIP_GAIN_DB),
    ),
}


def _caller(entry: dict[str, Any]) -> Caller:
    """Return a caller from its entry in `callers.yaml`; what must happen goes into `expect`."""
    expect = dict(entry.pop("expect"))
    says = expect.pop("says")
    fields = {
        "refused": False,
        "turns": len(says),
        "agent_says": says,
        "max_word_error": expect.pop("word_error"),
        "barge_in": expect.pop("barge_in", False),
    }
    items = tuple(_item(item) for item in entry.pop("items", ()))
    steps = tuple(STEPS[name] for name in entry.pop("steps", ()))
    return Caller(items=items, steps=steps, expect=fields | expect, **entry)


def _item(item: dict[str, Any]) -> Line | Tones:
    return Tones(**item) if "keys" in item else Line(**item)


def _broken_file(entry: dict[str, Any]) -> BrokenFile:
    """Return a file with the entry's text, or else the first bytes of a WAV file."""
    text, wav, size = (entry.pop(name, None) for name in ("text", "wav", "bytes"))
    return BrokenFile(**entry, content=text.encode() if wav is None else _wav(**wav)[:size])


LIST: Final[dict[str, Any]] = yaml.safe_load(
    Path(__file__).with_name("callers.yaml").read_text(encoding="utf-8")
)
CALLERS: Final = tuple(_caller(entry) for entry in LIST["callers"])
BROKEN_FILES: Final = tuple(_broken_file(entry) for entry in LIST["refused"])
