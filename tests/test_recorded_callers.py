"""Each recorded caller matches its sidecar."""

import subprocess
import sys
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import pytest
import soundfile
import yaml
from numpy.typing import NDArray

from lab.simulators.receptionist.receptionist import reply

ROOT = Path(__file__).resolve().parents[1]
CALLERS = ROOT / "tests" / "fixtures" / "callers"
EDGE_S = 0.05  # a filter smears the edge of an utterance by less than this

Sidecar: TypeAlias = dict[str, Any]
Samples: TypeAlias = NDArray[np.float64]

SIDECARS: dict[str, Sidecar] = {
    path.stem: yaml.safe_load(path.read_text(encoding="utf-8"))
    for path in sorted(CALLERS.glob("*.yaml"))
}
TAKEN = [name for name, facts in SIDECARS.items() if not facts["expect"]["refused"]]
QUIET_AROUND = [name for name in TAKEN if "noise_snr_db" not in SIDECARS[name]]
SPEAKING = [name for name in TAKEN if SIDECARS[name]["utterances"]]


def sound_of(name: str) -> Samples:
    samples, _ = soundfile.read(CALLERS / f"{name}.wav", dtype="float64")
    return samples


def level_db(sound: Samples) -> float:
    return float(10 * np.log10(np.mean(np.square(sound)) + 1e-12))


def spans(facts: Sidecar) -> list[tuple[float, float]]:
    heard = [*facts["utterances"], *facts.get("tones", [])]
    return sorted((fact["start_s"], fact["end_s"]) for fact in heard)


def silences(facts: Sidecar) -> list[tuple[float, float]]:
    edges = [0.0, *(edge for span in spans(facts) for edge in span), facts["length_s"]]
    gaps = zip(edges[::2], edges[1::2], strict=True)
    return [(start + EDGE_S, end - EDGE_S) for start, end in gaps]


def cut(sound: Samples, facts: Sidecar, span: tuple[float, float]) -> Samples:
    rate_hz = facts["rate_hz"]
    return sound[round(span[0] * rate_hz) : round(span[1] * rate_hz)]


def test_every_recording_has_a_sidecar_and_every_sidecar_a_recording() -> None:
    recordings = {path.stem for path in CALLERS.glob("*.wav")}

    assert recordings == set(SIDECARS)
    assert len(TAKEN) >= 12


def test_the_recordings_stay_small() -> None:
    assert sum(path.stat().st_size for path in CALLERS.iterdir()) < 4_000_000


@pytest.mark.parametrize("name", TAKEN)
def test_rate_length_and_format_match_the_sidecar(name: str) -> None:
    facts = SIDECARS[name]

    held = soundfile.info(CALLERS / facts["file"])

    assert (held.samplerate, held.channels, held.subtype) == (facts["rate_hz"], 1, "PCM_16")
    assert held.duration == pytest.approx(facts["length_s"], abs=0.001)


@pytest.mark.parametrize("name", SPEAKING)
def test_there_is_speech_where_the_sidecar_says(name: str) -> None:
    facts, sound = SIDECARS[name], sound_of(name)

    levels = [level_db(cut(sound, facts, span)) for span in spans(facts)]

    assert min(levels) > -45.0


@pytest.mark.parametrize("name", QUIET_AROUND)
def test_there_is_silence_everywhere_else(name: str) -> None:
    facts, sound = SIDECARS[name], sound_of(name)
    limit_db = -50.0 if name == "13_clipped" else -65.0  # its floor was turned up with its voice

    assert max(level_db(cut(sound, facts, span)) for span in silences(facts)) < limit_db


@pytest.mark.parametrize("name", SPEAKING)
def test_the_receptionist_would_say_the_expected_words(name: str) -> None:
    facts, heard = SIDECARS[name], []

    for spoken, words in zip(facts["utterances"], facts["expect"]["agent_says"], strict=True):
        heard.append({"role": "user", "content": spoken["words"]})
        answer = reply(heard).text
        heard.append({"role": "assistant", "content": answer})
        assert any(word in answer.lower() for word in words), answer


def test_a_broken_file_only_has_the_reason_for_its_refusal() -> None:
    broken = {name: facts["expect"] for name, facts in SIDECARS.items() if name not in TAKEN}

    assert set(broken) == {
        "90_not_audio", "91_no_bytes", "92_cut_short", "93_fine_samples", "94_three_channels",
    }  # fmt: skip
    assert all(set(expect) == {"refused", "reason"} for expect in broken.values())
    # A refusal names the file, and must not pass by the file's name alone.
    assert not any(expect["reason"] in name for name, expect in broken.items())


def test_the_truncated_file_is_shorter_than_its_header_says() -> None:
    content = (CALLERS / "92_cut_short.wav").read_bytes()

    assert int.from_bytes(content[4:8], "little") + 8 > len(content)


def test_making_the_callers_again_gives_the_same_recordings(tmp_path: Path) -> None:
    script = ROOT / "scripts" / "make_callers.py"

    command = [sys.executable, script, "--out", tmp_path]
    subprocess.run(command, check=True, timeout=60)  # noqa: S603 (our own script and folder)

    made = {path.name: path for path in tmp_path.iterdir()}
    assert set(made) == {path.name for path in CALLERS.iterdir()} - {"README.md"}
    for name in TAKEN:
        again, _ = soundfile.read(made[f"{name}.wav"], dtype="int16")
        held, _ = soundfile.read(CALLERS / f"{name}.wav", dtype="int16")
        # Other processors round the last bit of a few samples differently.
        assert again.size == held.size
        assert np.mean(again == held) > 0.999
        assert made[f"{name}.yaml"].read_text() == (CALLERS / f"{name}.yaml").read_text()
