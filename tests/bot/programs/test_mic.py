"""A person at this machine talks with the agent and hangs up."""

import asyncio
import json
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import soxr
import yaml
from numpy.typing import NDArray

from lab.process import lab_process
from tests.bot.serving import configuration
from tests.transports.local import pulse

ROOT = Path(__file__).resolve().parents[3]
PROGRAM = Path(__file__).parents[1] / "mic_program.py"
CALLERS = ROOT / "tests" / "fixtures" / "callers"
TIMEOUT_S = 40.0
PAUSE_S = 0.8  # of a person who heard the agent out: the microphone listens again by then


def entries(logs: Path) -> list[dict[str, Any]]:
    text = "".join(path.read_text(encoding="utf-8") for path in logs.glob("calls/*.jsonl"))
    return [json.loads(line) for line in text.splitlines(keepends=True) if line.endswith("\n")]


def until(logs: Path, **wanted: object) -> None:
    give_up_at = time.monotonic() + TIMEOUT_S
    while not any(wanted.items() <= entry.items() for entry in entries(logs)):
        assert time.monotonic() < give_up_at, f"no {wanted} in {TIMEOUT_S:.0f} s"
        time.sleep(0.1)


def question(name: str) -> tuple[str, NDArray[np.int16]]:
    facts = yaml.safe_load((CALLERS / f"{name}.yaml").read_text(encoding="utf-8"))
    sound, rate_hz = soundfile.read(CALLERS / facts["file"])
    said = facts["utterances"][0]
    spoken = sound[round(said["start_s"] * rate_hz) : round(said["end_s"] * rate_hz)]
    louder = soxr.resample(spoken, rate_hz, pulse.RATE_HZ) * 32767
    pause = np.zeros(round(pulse.RATE_HZ * PAUSE_S))
    return said["words"], np.concatenate([pause, louder]).astype(np.int16)


@contextmanager
def talking(
    card: Mapping[str, str], logs: Path, *options: str
) -> Iterator["subprocess.Popen[str]"]:
    """Run `holdline mic` against a lab of its own while the block runs."""
    with running([PROGRAM, logs, *options], {**card, "PYTHONPATH": str(ROOT)}) as program:
        yield program


@contextmanager
def running(
    command: Sequence[str | Path], variables: Mapping[str, str], *, folder: Path = ROOT
) -> Iterator["subprocess.Popen[str]"]:
    """Run a Python program while the block runs."""
    program = subprocess.Popen(  # noqa: S603 - our own program
        [sys.executable, *command],
        env={**variables, "PYTHONUNBUFFERED": "1"},
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    with program:
        try:
            yield program
        finally:
            program.kill()


def told(logs: Path, event: str) -> list[dict[str, Any]]:
    return [entry for entry in entries(logs) if entry["event"] == event]


@pytest.mark.slow
@pytest.mark.peers
def test_a_question_at_the_microphone_is_answered_and_ctrl_c_says_goodbye(tmp_path: Path) -> None:
    pulse.require()
    words, sound = question("01_hours")
    logs, heard, parting = tmp_path / "logs", tmp_path / "heard", tmp_path / "parting"

    with pulse.sound_card(tmp_path) as card, talking(card, logs) as program:
        until(logs, event="TurnEnded", turn=0)  # the greeting is over
        with pulse.listening(card, heard):
            pulse.speak(card, sound)
            until(logs, event="TurnEnded", turn=1)
        with pulse.listening(card, parting):
            program.send_signal(signal.SIGINT)
            out, _ = program.communicate(timeout=30)

    assert program.returncode == 0, out
    assert "Ctrl-C again" in out
    assert "mic #" not in out  # a bar is not useful in a file
    assert [item["text"] for item in told(logs, "TranscriptFinal")] == [words]
    own = [item["text"] for item in told(logs, "AgentSaid") if not item["by"]]  # no filler
    _, answer, farewell = own
    assert "open" in answer
    assert "oodbye" in farewell
    assert sum(pulse.stretches_s(pulse.heard(heard))) > 3.0
    assert sum(pulse.stretches_s(pulse.heard(parting))) > 0.5
    assert entries(logs)[-1]["reason"] == "caller_hung_up"


@pytest.mark.slow
@pytest.mark.peers
async def test_a_call_at_the_microphone_through_bot_py_is_greeted_and_says_goodbye(
    tmp_path: Path,
) -> None:
    pulse.require()
    async with lab_process() as lab:
        tree, keys = configuration(lab, 0, tmp_path / "logs")
        tree["transports"] = {"twilio": {"enabled": False}}
        (tmp_path / "holdline.yaml").write_text(yaml.safe_dump(tree), encoding="utf-8")
        await asyncio.to_thread(greet_and_part, tmp_path, keys)

    greeting, farewell = [item["text"] for item in told(tmp_path / "logs", "AgentSaid")]
    assert greeting == "Hello, this is Holdline. How can I help?"
    assert "oodbye" in farewell
    assert sum(pulse.stretches_s(pulse.heard(tmp_path / "heard"))) > 1.5
    assert entries(tmp_path / "logs")[-1]["reason"] == "caller_hung_up"


def greet_and_part(folder: Path, keys: Mapping[str, str]) -> None:
    """Start `python bot.py mic`, hear its greeting and stop it."""
    with (
        pulse.sound_card(folder) as card,
        pulse.listening(card, folder / "heard"),
        running([ROOT / "bot.py", "mic"], {**card, **keys}, folder=folder) as program,
    ):
        until(folder / "logs", event="TurnEnded", turn=0)
        program.send_signal(signal.SIGINT)
        out, _ = program.communicate(timeout=30)

    assert program.returncode == 0, out


@pytest.mark.slow
@pytest.mark.peers
def test_a_second_ctrl_c_hangs_up_in_the_middle_of_a_word(tmp_path: Path) -> None:
    pulse.require()
    logs = tmp_path / "logs"

    with pulse.sound_card(tmp_path) as card, talking(card, logs) as program:
        until(logs, event="AttemptWon", stage="tts")  # the greeting has begun
        program.send_signal(signal.SIGINT)
        assert program.stdout
        while "Ctrl-C again" not in program.stdout.readline():
            assert program.poll() is None
        program.send_signal(signal.SIGINT)
        out, _ = program.communicate(timeout=30)

    assert program.returncode == 0, out
    assert not [item for item in told(logs, "AgentSaid") if "oodbye" in item["text"]]
    assert entries(logs)[-1]["reason"] == "caller_hung_up"


@pytest.mark.slow
@pytest.mark.peers
@pytest.mark.parametrize("options", [(), ("--headphones",)], ids=["guarded", "unguarded"])
def test_an_agent_next_to_its_loudspeaker_does_not_interrupt_itself(
    tmp_path: Path, options: tuple[str, ...]
) -> None:
    pulse.require()
    words, sound = question("01_hours")
    logs = tmp_path / "logs"

    with pulse.sound_card(tmp_path) as card:
        pulse.put_beside_each_other(card)
        with talking(card, logs, *options) as program:
            if options:  # the control: without the guard it hears itself
                until(logs, event="CallerStarted")
                return
            until(logs, event="TurnEnded", turn=0)
            pulse.speak(card, sound)
            until(logs, event="TurnEnded", turn=1)
            program.send_signal(signal.SIGINT)
            out, _ = program.communicate(timeout=30)

    assert program.returncode == 0, out
    assert [item["text"] for item in told(logs, "TranscriptFinal")] == [words]
    assert not told(logs, "BargedIn")
    assert not [item for item in told(logs, "TurnEnded") if item["interrupted"]]
