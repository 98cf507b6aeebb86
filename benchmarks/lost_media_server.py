"""Measures how long a SIP caller hears nothing when the media server dies during an answer.

    .venv/bin/python -m benchmarks.lost_media_server [--times 5] [--how killed,bare,stopped]

benchmarks/README.md describes the measurement, and which program accounts for which time.
"""

import argparse
import asyncio
import statistics
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Final

import numpy as np

from lab.callers import caller_says
from lab.process import LabOptions, lab_process
from operations.telemetry import logs
from tests.peers.agent import answering
from tests.peers.children import UnprovenError
from tests.peers.media_server import MediaServer, running_media_server
from tests.peers.sip_phone import RATE_HZ, SipPhone, sip_phone

WITHIN_S: Final = 5.0
HOW: Final = ("killed", "bare", "stopped")
QUESTION: Final = "What are your opening hours?"
CRASH_AFTER_S: Final = 1.0  # the time of the crash in an answer of some seven seconds
LOUD: Final = 600  # of 32768: on this line only a voice is louder
BUFFERED_S: Final = 1.0  # by then, audio that was in transit when the server died has been played
SAMPLES: Final = RATE_HZ // 50
LIMIT_S: Final = 60.0  # a safety limit
MARKS: Final = {
    "opened": ("livekit-server.log", "selected node for room", ""),
    "gateway": ("livekit-server.log", "starting RTC session", '"participant": "sip_'),
    "agent": ("livekit-server.log", "starting RTC session", '"participant": "holdline"'),
    "taken_up": ("livekit-sip.log", "track subscribed", ""),
}
PARTS: Final = ("server", "gateway", "we", "taken up", "heard", "in all")


@dataclass(frozen=True, slots=True, kw_only=True)
class LostServer:
    """One crash of the server: when each part worked again, in seconds after the crash.

    The times are from LiveKit's own logs, and from the telephone's recording.

    Attributes:
        opened_s: The new server has taken over the room, and lets participants in.
        gateway_s: livekit-sip has joined the room again.
        agent_s: The agent has joined again.
        taken_up_s: livekit-sip has subscribed to our audio.
        heard_s: The caller hears the agent.
    """

    opened_s: float
    gateway_s: float
    agent_s: float
    taken_up_s: float
    heard_s: float

    @property
    def parts_s(self) -> tuple[float, ...]:
        """The time that each part took, in the order of `PARTS`; the last one is the total.

        The gateway and the agent reconnect at the same time. The agent's part is only the time by
        which it reconnects later than the gateway.
        """
        both_s = max(self.gateway_s, self.agent_s)
        return (
            self.opened_s,
            self.gateway_s - self.opened_s,
            both_s - self.gateway_s,
            self.taken_up_s - both_s,
            self.heard_s - self.taken_up_s,
            self.heard_s,
        )


def main() -> int:
    """Measure and print; return 0, 1 if the target was missed, 3 if measuring was impossible."""
    parser = argparse.ArgumentParser(description=str(__doc__).partition("\n")[0])
    parser.add_argument("--times", type=int, default=5, help="deaths of each kind")
    parser.add_argument("--how", type=lambda text: text.split(","), default=HOW)
    options = parser.parse_args()
    logs.set_up(level="ERROR", folder=None)
    good = True
    for how in options.how:
        with tempfile.TemporaryDirectory(prefix="holdline-lost-") as folder:
            try:
                with running_media_server(Path(folder)) as server:
                    found = asyncio.run(_measure_crashes(server, how, options.times, Path(folder)))
            except UnprovenError as why:
                print(f"unproven: {why}")
                return 3
        good &= _print_and_judge(how, found)
    return 0 if good else 1


async def _measure_crashes(
    server: MediaServer, how: str, times: int, folder: Path
) -> Sequence[LostServer | None]:
    found: list[LostServer | None] = []
    await asyncio.to_thread((folder / "agent").mkdir)
    await server.add_number()
    async with (
        lab_process(options=LabOptions(steady=True)) as lab,
        answering(server, folder / "agent", lab=lab, changes={"hold": {"render": False}}),
    ):
        for number in range(times):
            async with sip_phone(folder / f"phone-{number}") as phone:
                found.append(await _crash_during_answer(server, how, phone))
    return found


async def _crash_during_answer(server: MediaServer, how: str, phone: SipPhone) -> LostServer | None:
    """Crash the server and return the result; `None` if livekit-sip hung up on the caller."""
    await phone.dial(server.uri())
    await phone.until("CALL_ESTABLISHED", within_s=LIMIT_S)
    greeted = await phone.until_heard(_has_greeted, within_s=LIMIT_S)
    await phone.say(caller_says(QUESTION))
    await phone.until_heard(
        lambda sound: _voiced_pieces(sound[greeted.size :]).size, within_s=LIMIT_S
    )
    await asyncio.sleep(CRASH_AFTER_S)
    clock, died_at = asyncio.get_running_loop().time, datetime.now().astimezone()
    before, lost_at = phone.heard().size, clock()
    if how == "stopped":
        await asyncio.to_thread(server.stop_server)
    else:
        server.kill_server()
    await asyncio.to_thread(server.start_server, bare=how == "bare")
    async with asyncio.timeout(LIMIT_S):
        while (at := _first_new_sound(phone.heard()[before:])) is None:
            if phone.told("CALL_CLOSED"):
                return None
            await asyncio.sleep(0.02)
    heard_s = phone.heard_at(before + at) - lost_at
    await phone.hang_up()
    moments = {name: _logged_after_s(server.folder, name, died_at) for name in MARKS}
    return LostServer(
        opened_s=moments["opened"],
        gateway_s=moments["gateway"],
        agent_s=moments["agent"],
        taken_up_s=moments["taken_up"],
        heard_s=heard_s,
    )


def _voiced_pieces(sound: np.ndarray) -> np.ndarray:
    """Return the indexes of the 20 ms pieces in which a voice is audible."""
    pieces = np.abs(sound[: sound.size // SAMPLES * SAMPLES].astype(int)).reshape(-1, SAMPLES)
    return np.flatnonzero(pieces.max(axis=1) > LOUD)


def _has_greeted(sound: np.ndarray) -> bool:
    """Return whether there was over half a second of voice, and then over a second of silence."""
    voiced = _voiced_pieces(sound)
    return voiced.size > 25 and (sound.size // SAMPLES - int(voiced[-1])) > 50


def _first_new_sound(sound: np.ndarray) -> int | None:
    """Return the first audible sample after `BUFFERED_S`; `None` if there is none."""
    voiced = _voiced_pieces(sound)
    later = voiced[voiced * SAMPLES > BUFFERED_S * RATE_HZ]
    return int(later[0]) * SAMPLES if later.size else None


def _logged_after_s(folder: Path, name: str, died_at: datetime) -> float:
    """Return when a mark was logged, in seconds after the crash; NaN if it was not.

    Of several lines, the first one counts for `opened`, and the last one for the others.
    """
    file, words, detail = MARKS[name]
    times = [
        (at - died_at).total_seconds()
        for at, line in _dated_lines(folder / file)
        if at > died_at and words in line and detail in line
    ]
    if not times:
        return float("nan")
    return times[0] if name == "opened" else times[-1]


def _dated_lines(path: Path) -> Iterator[tuple[datetime, str]]:
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        stamp = line.partition("\t")[0]
        try:
            yield datetime.fromisoformat(stamp), line
        except ValueError:
            continue


def _print_and_judge(how: str, found: Sequence[LostServer | None]) -> bool:
    """Print the times of each crash; return whether all callers heard the agent in time."""
    print(f"the server {how}; seconds each part took:")
    print("".join(f"{name:>10}" for name in PARTS))
    for lost_server in found:
        row = (
            ""
            if lost_server is None
            else "".join(f"{value:10.2f}" for value in lost_server.parts_s)
        )
        print(row or "   hung up on")
    heard = [lost_server.heard_s for lost_server in found if lost_server is not None]
    kept = sum(heard_s <= WITHIN_S for heard_s in heard)
    if heard:
        print(f"heard again after {statistics.median(heard):.2f} s (median), ", end="")
        print(f"{min(heard):.2f} to {max(heard):.2f}; ", end="")
    good = kept == len(found)
    print(f"{kept} of {len(found)} within {WITHIN_S:g} s: {'met' if good else 'missed'}")
    return good


if __name__ == "__main__":
    sys.exit(main())
