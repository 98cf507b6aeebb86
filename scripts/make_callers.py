"""Renders the recorded callers of tests/fixtures/callers; every sample is reproducible.

    .venv/bin/python scripts/make_callers.py [--out DIR]

`caller_list.py` lists the callers and what the agent must do. This file arranges the speech in time
and writes each recording with its sidecar, whose format is described in
tests/fixtures/callers/README.md.
"""

import argparse
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import caller_sound
import numpy as np
import soundfile
import soxr
import yaml
from caller_list import BROKEN_FILES, CALLERS, Caller, Line, Tones
from caller_voice import Samples, Voices

HERE: Final = Path(__file__).resolve().parent.parent / "tests" / "fixtures" / "callers"


class Tape:
    """A caller's recording under construction: the audio, and when there is speech in it."""

    def __init__(self, voices: Voices, caller: Caller) -> None:
        self._voices = voices
        self._caller = caller
        self._parts: list[Samples] = []
        self._length = 0
        self.utterances: list[dict[str, Any]] = []
        self.tones: list[dict[str, Any]] = []
        self.speech: list[Samples] = []

    def add(self, item: Line | Tones) -> None:
        """Add the silence before `item`, then `item`."""
        self._append(np.zeros(round(item.wait_s * self._caller.rate_hz)))
        start_s = self._now_s
        if isinstance(item, Tones):
            self._append(caller_sound.keypad(item.keys, self._caller.rate_hz))
            self.tones.append({"start_s": start_s, "end_s": self._now_s, "keys": item.keys})
            return
        speech = self._spoken(item)
        self.speech.append(speech)
        self._append(speech)
        fact: dict[str, Any] = {"start_s": start_s, "end_s": self._now_s, "words": item.words}
        if item.pause_s:
            fact["pause_s"] = item.pause_s
        self.utterances.append(fact | {"cue": {"when": item.cue, "after_s": item.cue_after_s}})

    def finish(self) -> Samples:
        """Add the silence at the end; return the whole recording, with all effects."""
        caller = self._caller
        self._append(np.zeros(round(caller.tail_s * caller.rate_hz)))
        sound = np.concatenate(self._parts)
        spoken = np.concatenate(self.speech) if self.speech else sound
        if caller.floor_db is not None:
            sound = caller_sound.with_noise_floor(sound, rms_db=caller.floor_db)
        for step in caller.steps:
            sound = step.apply(sound, caller.rate_hz, caller_sound.power(spoken))
        return sound

    @property
    def _now_s(self) -> float:
        return round(self._length / self._caller.rate_hz, 3)

    def _append(self, sound: Samples) -> None:
        self._parts.append(sound)
        self._length += sound.size

    def _spoken(self, line: Line) -> Samples:
        caller = self._caller
        pause = np.zeros(round(line.pause_s * caller.rate_hz))
        pieces: list[Samples] = []
        for part in line.parts:
            speech = self._voices.say(
                part, voice=caller.voice, words_a_minute=caller.words_a_minute, pitch=caller.pitch
            )
            pieces += [soxr.resample(speech, self._voices.rate_hz, caller.rate_hz), pause]
        return caller_sound.scaled_to_level(np.concatenate(pieces[:-1]), rms_db=caller.rms_db)


def write_caller(voices: Voices, caller: Caller, out: Path) -> None:
    """Write one caller's recording and sidecar into `out`."""
    tape = Tape(voices, caller)
    for item in caller.items:
        tape.add(item)
    sound = np.clip(np.round(tape.finish() * 32768), -32768, 32767).astype(np.int16)
    soundfile.write(out / f"{caller.name}.wav", sound, caller.rate_hz, subtype="PCM_16")
    voice = f"espeak-ng {caller.voice}, {caller.words_a_minute} words a minute"
    floor = f"noise floor at {caller.floor_db:.0f} dB" if caller.floor_db is not None else "none"
    facts: dict[str, Any] = {
        "file": f"{caller.name}.wav",
        "about": caller.about,
        "made_by": {
            "voice": voice if tape.utterances else "none",
            "floor": floor,
            "processing": [step.description for step in caller.steps],
        },
        "rate_hz": caller.rate_hz,
        "length_s": round(sound.size / caller.rate_hz, 3),
        "utterances": tape.utterances,
    }
    if tape.tones:
        facts["tones"] = tape.tones
    write_sidecar(out / f"{caller.name}.yaml", {**facts, **caller.facts, "expect": caller.expect})


def write_sidecar(path: Path, facts: Mapping[str, Any]) -> None:
    """Write `facts` as YAML, in the given order."""
    text = yaml.safe_dump(dict(facts), sort_keys=False, allow_unicode=True, width=100)
    path.write_text(f"# Made by scripts/make_callers.py.\n{text}", encoding="utf-8")


def main() -> None:
    """Write every recording and sidecar."""
    options = argparse.ArgumentParser(description="Render the recorded callers.")
    options.add_argument("--out", type=Path, default=HERE, help="folder to write into")
    out: Path = options.parse_args().out
    out.mkdir(parents=True, exist_ok=True)
    voices = Voices()
    for caller in CALLERS:
        write_caller(voices, caller, out)
    for broken in BROKEN_FILES:
        (out / f"{broken.name}.wav").write_bytes(broken.content)
        expect = {"refused": True, "reason": broken.reason}
        facts = {"file": f"{broken.name}.wav", "about": broken.about, "expect": expect}
        write_sidecar(out / f"{broken.name}.yaml", facts)
    sys.stdout.write(f"{len(CALLERS)} callers and {len(BROKEN_FILES)} broken files in {out}\n")


if __name__ == "__main__":
    main()
