"""The local microphone and loudspeaker, on a sound card without hardware."""

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import pytest

from tests.transports.local import pulse
from transports.local.sound_card import BLOCK_FRAMES, Direction, NoAudioError, Playback

PROGRAM = Path(__file__).parent / "local_program.py"
ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture
def card(tmp_path: Path) -> Iterator[Mapping[str, str]]:
    pulse.require()
    with pulse.sound_card(tmp_path) as environment:
        yield environment


def start(program: str, environment: Mapping[str, str]) -> subprocess.Popen[str]:
    return subprocess.Popen(  # noqa: S603 - our own program
        [sys.executable, PROGRAM, program],
        env={**environment, "PYTHONPATH": str(ROOT)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def finished(program: str, environment: Mapping[str, str]) -> tuple[int, list[str], str]:
    running = start(program, environment)
    out, errors = running.communicate(timeout=60)
    return running.returncode, out.split("\n"), errors


@pytest.mark.slow
def test_microphone_sound_comes_out_of_the_loudspeaker(
    card: Mapping[str, str], tmp_path: Path
) -> None:
    program = start("echo", card)
    assert program.stdout
    assert program.stdout.readline().strip() == "ready"
    # The loudspeaker may play before the microphone is open.
    with pulse.listening(card, tmp_path / "first"):
        pulse.speak_until_heard(card, pulse.tone(440, 0.2), tmp_path / "first")
    with pulse.listening(card, tmp_path / "heard"):
        pulse.speak(card, pulse.tone(440, 1.0))
    out, errors = program.communicate("\n", timeout=30)

    sound = pulse.heard(tmp_path / "heard")

    assert (program.returncode, out) == (0, "ended\n"), errors
    # A live echo has no buffer, so a busy machine makes gaps in it.
    assert sum(pulse.stretches_s(sound)) == pytest.approx(1.0, abs=0.4)
    spectrum = np.abs(np.fft.rfft(sound))
    hz = np.fft.rfftfreq(sound.size, 1 / pulse.RATE_HZ)
    assert hz[spectrum.argmax()] == pytest.approx(440, abs=3)


@pytest.mark.slow
def test_the_last_word_is_played_to_its_end(card: Mapping[str, str], tmp_path: Path) -> None:
    with pulse.listening(card, tmp_path / "heard"):
        code, _, errors = finished("said_to_the_end", card)

    assert code == 0, errors
    length_s = sum(pulse.stretches_s(pulse.heard(tmp_path / "heard")))
    assert length_s == pytest.approx(0.6, abs=0.1)


@pytest.mark.slow
def test_the_loudspeaker_falls_silent_when_the_caller_interrupts(
    card: Mapping[str, str], tmp_path: Path
) -> None:
    with pulse.listening(card, tmp_path / "heard"):
        code, _, errors = finished("interrupted", card)

    assert code == 0, errors
    length_s = sum(pulse.stretches_s(pulse.heard(tmp_path / "heard")))
    assert 0.2 < length_s < 0.9  # of 3 s; half a second had passed


@pytest.mark.slow
def test_twenty_calls_cancelled_while_the_agent_speaks_crash_nothing(
    card: Mapping[str, str],
) -> None:
    code, out, errors = finished("cancelled", card)

    assert code == 0, errors
    assert out[-2] == "cancelled 20"


@pytest.mark.slow
def test_hanging_up_is_reported_once(card: Mapping[str, str]) -> None:
    code, out, errors = finished("put_down", card)

    assert (code, out[0]) == (0, "caller_hung_up"), errors


@pytest.mark.slow
def test_a_device_that_is_taken_away_ends_the_call(card: Mapping[str, str]) -> None:
    program = start("device_taken", card)
    assert program.stdout
    assert program.stdout.readline().strip() == "ready"
    os.kill(int((Path(card["PULSE_RUNTIME_PATH"]) / "pid").read_text()), signal.SIGKILL)

    out, errors = program.communicate(timeout=30)

    assert (program.returncode, out) == (0, "device_lost\n"), errors


def without_sound(folder: Path) -> dict[str, str]:
    """Return an environment in which PortAudio finds no device, on any machine."""
    nothing = folder / "asound.conf"
    nothing.write_text("pcm.nothing { type hw card 99 }")  # without any, PortAudio aborts
    return os.environ | {"ALSA_CONFIG_PATH": str(nothing), "PULSE_SERVER": "unix:/nonexistent"}


def with_sounddevice(folder: Path, code: str) -> dict[str, str]:
    """Return an environment in which this replaces the sounddevice package."""
    (folder / "sounddevice.py").write_text(code)
    return os.environ | {"PYTHONPATH": str(folder)}


def check(environment: Mapping[str, str]) -> str:
    """Return the output of `check_devices` in a process of its own."""
    code = (
        "from transports.local.sound_card import NoAudioError, check_devices\n"
        "try: check_devices()\n"
        "except NoAudioError as missing: print(missing)\n"
        "else: print('ready')\n"
    )
    ran = subprocess.run(  # noqa: S603 - our own program
        [sys.executable, "-c", code],
        env=environment,
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=30,
        check=True,
    )
    assert ran.stderr == ""
    return ran.stdout.strip()


def test_a_sound_card_that_works_passes_the_check(card: Mapping[str, str]) -> None:
    assert check(card) == "ready"


def test_no_device_is_one_line_that_names_the_package(tmp_path: Path) -> None:
    pulse.require()

    said = check(without_sound(tmp_path))

    assert said.startswith("this machine has no microphone")
    assert "libasound2-plugins" in said
    assert "\n" not in said


def test_no_sounddevice_is_one_line_that_names_the_package(tmp_path: Path) -> None:
    said = check(with_sounddevice(tmp_path, "raise ModuleNotFoundError('sounddevice')"))

    assert "holdline[mic]" in said
    assert "\n" not in said


def test_the_command_without_a_device_is_one_line_and_exit_code_2(tmp_path: Path) -> None:
    code = "raise OSError('PortAudio library not found')"
    keys = ("DEEPGRAM_API_KEY", "OPENAI_API_KEY", "CARTESIA_API_KEY", "ELEVENLABS_API_KEY")
    environment = with_sounddevice(tmp_path, code) | dict.fromkeys(keys, "k")

    ran = subprocess.run(
        [sys.executable, "-c", "import bot.__main__; bot.__main__.main()", "mic"],
        env=environment | {"PYTHONPATH": f"{tmp_path}:{ROOT}"},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )

    assert ran.returncode == 2
    assert ran.stderr.startswith("holdline: the microphone needs PortAudio: install libportaudio2")
    assert ran.stderr.count("\n") == 1


def test_sound_is_read_in_order_and_silence_follows_it() -> None:
    playback = Playback()

    playback.write(b"\1\2\3\4")

    assert playback.take(2) == b"\1\2"
    assert playback.take(4) == b"\3\4\0\0"
    assert playback.take(2) == b"\0\0"


def test_queued_sound_is_counted_in_seconds_and_dropped_on_clear() -> None:
    playback = Playback()

    playback.write(bytes(BLOCK_FRAMES * 2 * 3))

    assert playback.waiting_s == pytest.approx(0.06)
    playback.clear()
    assert playback.waiting_s == 0.0


class Tape:
    """A stream that records its calls."""

    latency = 0.0

    def __init__(self) -> None:
        self.done: list[str] = []

    def start(self) -> None:
        self.done.append("start")

    def abort(self) -> None:
        self.done.append("abort")

    def close(self) -> None:
        self.done.append("close")


async def test_a_device_is_closed_once() -> None:
    tape = Tape()
    device = Direction(lambda _: tape, lost=lambda: None, lock=threading.Lock())

    await device.open()
    await device.close()
    await device.close()

    assert tape.done == ["start", "abort", "close"]


async def test_a_device_that_was_closed_first_is_never_opened() -> None:
    tape = Tape()
    device = Direction(lambda _: tape, lost=lambda: None, lock=threading.Lock())

    await device.close()
    await device.open()

    assert tape.done == []


async def test_an_unrequested_end_is_a_lost_device() -> None:
    ended, lost = [], []

    def make(end):
        ended.append(end)
        return Tape()

    device = Direction(make, lost=lambda: lost.append("lost"), lock=threading.Lock())
    await device.open()
    ended[0]()
    assert lost == ["lost"]

    await device.close()
    ended[0]()
    assert lost == ["lost"]


@pytest.mark.parametrize("error", [NoAudioError("no PortAudio"), ValueError("no such device")])
async def test_a_device_that_does_not_open_counts_as_lost(error: Exception) -> None:
    lost = []

    def make(_: object) -> Tape:
        raise error

    device = Direction(make, lost=lambda: lost.append("lost"), lock=threading.Lock())
    with pytest.raises(NoAudioError, match=str(error)):
        await device.open()

    assert lost == ["lost"]


def holdline(environment: Mapping[str, str], *arguments: str) -> subprocess.CompletedProcess[str]:
    keys = ("DEEPGRAM_API_KEY", "OPENAI_API_KEY", "CARTESIA_API_KEY", "ELEVENLABS_API_KEY")
    return subprocess.run(  # noqa: S603 - our own program
        [sys.executable, "-m", "bot", "mic", *arguments],
        env={**environment, **dict.fromkeys(keys, "k"), "PYTHONPATH": str(ROOT), "COLUMNS": "200"},
        cwd=environment.get("PULSE_RUNTIME_PATH", "/"),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_the_devices_are_listed_with_their_numbers(card: Mapping[str, str]) -> None:
    ran = holdline(card, "--list-devices")

    assert (ran.returncode, ran.stderr) == (0, "")
    assert "pulse" in ran.stdout
    assert "microphone, loudspeaker" in ran.stdout  # the default ones
