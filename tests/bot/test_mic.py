"""A person at this machine talks with the agent and hangs up."""

import json
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import soxr
import yaml
from numpy.typing import NDArray

from tests.transports import pulse

ROOT = Path(__file__).resolve().parents[2]
PROGRAM = Path(__file__).parent / "mic_program.py"
CALLERS = ROOT / "tests" / "fixtures" / "callers"
PATIENCE_S = 40.0


def entries(logs: Path) -> list[dict[str, Any]]:
    text = "".join(path.read_text(encoding="utf-8") for path in logs.glob("calls/*.jsonl"))
    return [json.loads(line) for line in text.splitlines(keepends=True) if line.endswith("\n")]


def until(logs: Path, **wanted: object) -> None:
    give_up_at = time.monotonic() + PATIENCE_S
    while not any(wanted.items() <= each.items() for each in entries(logs)):
        assert time.monotonic() < give_up_at, f"no {wanted} in {PATIENCE_S:.0f} s"
        time.sleep(0.1)


def question(name: str) -> tuple[str, NDArray[np.int16]]:
    facts = yaml.safe_load((CALLERS / f"{name}.yaml").read_text(encoding="utf-8"))
    sound, rate_hz = soundfile.read(CALLERS / facts["file"])
    said = facts["utterances"][0]
    spoken = sound[round(said["start_s"] * rate_hz) : round(said["end_s"] * rate_hz)]
    louder = soxr.resample(spoken, rate_hz, pulse.RATE_HZ) * 32767
    return said["words"], louder.astype(np.int16)


@pytest.mark.slow
def test_a_question_at_the_microphone_is_answered_and_ctrl_c_hangs_up(tmp_path: Path) -> None:
    pulse.require()
    words, sound = question("01_hours")
    logs, heard = tmp_path / "logs", tmp_path / "heard"

    with pulse.sound_card(tmp_path) as card:
        program = subprocess.Popen(  # noqa: S603 - our own program
            [sys.executable, PROGRAM, logs],
            env={**card, "PYTHONPATH": str(ROOT)},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        try:
            until(logs, event="TurnEnded", turn=0)  # the greeting is over
            with pulse.listening(card, heard):
                pulse.speak(card, sound)
                until(logs, event="TurnEnded", turn=1)
            program.send_signal(signal.SIGINT)
            out, _ = program.communicate(timeout=30)
        finally:
            program.kill()

    facts = entries(logs)
    assert program.returncode == 0, out
    assert "Wear headphones" in out
    assert [each["text"] for each in facts if each["event"] == "TranscriptFinal"] == [words]
    (answer,) = [each["text"] for each in facts if each["event"] == "AgentSaid" and each["turn"]]
    assert "open" in answer
    assert sum(pulse.stretches_s(pulse.heard(heard))) > 3.0
    assert facts[-1]["reason"] == "caller_hung_up"
