"""A sound card without hardware: PulseAudio with a person at one end and our program at the other.

`paplay -d caller` is the person speaking, `parec -d agent.monitor` the person listening.
"""

import ctypes.util
import os
import shutil
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tests.absent import report_absent

RATE_HZ = 48_000
REST_S = 0.4  # what is still on its way when the speaker has finished
NEEDS = "pulseaudio, pulseaudio-utils, libasound2-plugins and libportaudio2"
FOLDERS = ("/usr/lib", "/usr/lib64")
WIRES = """
load-module module-native-protocol-unix auth-anonymous=1 socket={run}/native
load-module module-null-sink sink_name=caller rate=48000 channels=1
load-module module-null-sink sink_name=agent rate=48000 channels=1
load-module module-remap-source source_name=mic master=caller.monitor
set-default-source mic
set-default-sink agent
"""


def require() -> None:
    """Skip where the packages are not installed; fail there in CI, which installs them."""
    programs = all(shutil.which(name) for name in ("pulseaudio", "paplay", "parec"))
    plugin = any(
        next(Path(folder).glob("**/libasound_module_pcm_pulse.so"), None) for folder in FOLDERS
    )
    if programs and plugin and ctypes.util.find_library("portaudio"):
        return
    report_absent(NEEDS)


@contextmanager
def sound_card(folder: Path) -> Iterator[Mapping[str, str]]:
    """Start PulseAudio in `folder` and yield the environment for it."""
    run = folder / "run"
    run.mkdir()
    (folder / "default.pa").write_text(WIRES.format(run=run))
    environment = os.environ | {
        "PULSE_RUNTIME_PATH": str(run),
        "PULSE_STATE_PATH": str(run),
        "PULSE_SERVER": f"unix:{run}/native",
    }
    command = ["pulseaudio", "-n", "-F", str(folder / "default.pa"), "--daemonize=no"]
    command += ["--exit-idle-time=-1", "--disable-shm=yes"]
    with (folder / "pulse.log").open("w") as log:
        server = subprocess.Popen(command, env=environment, stderr=log)  # noqa: S603 (fixed)
    try:
        until = time.monotonic() + 10
        while not (run / "native").exists():
            assert server.poll() is None, (folder / "pulse.log").read_text()
            assert time.monotonic() < until, "PulseAudio did not start within 10 s"
            time.sleep(0.05)
        yield environment
    finally:
        server.terminate()
        server.wait(timeout=10)


def put_beside_each_other(environment: Mapping[str, str]) -> None:
    """Feed our program's sound into the microphone, as a loudspeaker next to it would."""
    command = ["pactl", "load-module", "module-loopback", "source=agent.monitor", "sink=caller"]
    command += ["latency_msec=30"]
    subprocess.run(command, env=environment, check=True, timeout=20, capture_output=True)  # noqa: S603 (fixed)


@contextmanager
def listening(environment: Mapping[str, str], path: Path) -> Iterator[None]:
    """Record what our program plays into `path`, raw."""
    command = ["parec", "-d", "agent.monitor", "--format=s16le", f"--rate={RATE_HZ}"]
    command += ["--channels=1", "--raw", "--latency-msec=20"]
    with path.open("wb") as file:
        listener = subprocess.Popen(command, env=environment, stdout=file)  # noqa: S603 (fixed)
    try:
        until = time.monotonic() + 10
        while not path.stat().st_size:
            assert time.monotonic() < until, "PulseAudio gave no sound within 10 s"
            time.sleep(0.02)
        yield
        time.sleep(REST_S)
    finally:
        listener.terminate()
        listener.wait(timeout=10)


def speak(environment: Mapping[str, str], sound: NDArray[np.int16]) -> None:
    """Play `sound` into the microphone; return when it has been played."""
    command = ["paplay", "-d", "caller", "--raw", "--format=s16le", f"--rate={RATE_HZ}"]
    command += ["--channels=1", "--latency-msec=20"]
    pcm = sound.tobytes()
    subprocess.run(command, env=environment, input=pcm, check=True, timeout=20)  # noqa: S603 (fixed)


def speak_until_heard(environment: Mapping[str, str], sound: NDArray[np.int16], path: Path) -> None:
    """Play `sound` into the microphone until `listening` has recorded any, twenty times at most."""
    for _ in range(20):
        speak(environment, sound)
        time.sleep(REST_S)
        if stretches_s(heard(path)):
            return
    raise AssertionError("nothing was heard")


def tone(hz: float, length_s: float) -> NDArray[np.int16]:
    """Return a sine at half of full scale."""
    t = np.arange(round(length_s * RATE_HZ)) / RATE_HZ
    return (16_000 * np.sin(2 * np.pi * hz * t)).astype(np.int16)


def heard(path: Path) -> NDArray[np.int16]:
    """Return what `listening` recorded."""
    content = path.read_bytes()
    return np.frombuffer(content[: len(content) // 2 * 2], dtype="<i2")


def stretches_s(sound: NDArray[np.int16]) -> list[float]:
    """Return the length of each loud stretch; a gap under 20 ms does not end one."""
    block = RATE_HZ // 50
    blocks = np.abs(sound[: sound.size // block * block].astype(int)).reshape(-1, block)
    loud = "".join("x" if item.max() > 1000 else " " for item in blocks)
    return [len(run) / 50 for run in loud.split()]
