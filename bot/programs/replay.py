"""Replays recorded callers through the pipeline; writes the audio, a timeline and a summary."""

import asyncio
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import chain, count
from pathlib import Path
from typing import Any, Final

import numpy as np
import soundfile
import soxr
from numpy.typing import NDArray
from rich.console import Console

from bot import clock
from bot.config.settings import Settings
from bot.exits import BAD_USAGE, DONE, FAILED
from bot.workers.process import Process, open_process
from calls.entry import Entry
from calls.events import CallEnded, Event
from calls.outcome import Outcome, outcome
from lab.process import lab_process, with_lab
from transports.loopback.leg import LoopbackLeg

MAX_S: Final = 3600.0  # an hour-long call; longer is a mistake
RATES_HZ: Final = (8_000, 192_000)
SUBTYPES: Final = ("PCM_16", "PCM_U8", "PCM_S8", "FLOAT", "ULAW", "ALAW")
CHANNELS: Final = (1, 2)


class UnreadableAudioError(Exception):
    """A file that cannot be a caller; the text is one line with the file and the reason."""


@dataclass(frozen=True, slots=True)
class Recording:
    """A recorded caller: 16-bit mono samples at `rate_hz`."""

    samples: NDArray[np.int16]
    rate_hz: int

    @property
    def length_s(self) -> float:
        """The length in seconds."""
        return self.samples.size / self.rate_hz


def read(path: Path, *, rate_hz: int | None = None) -> Recording:
    """Return a recorded caller at `rate_hz`, or at the nearest telephone rate.

    A file at 8 kHz stays at 8 kHz, any other becomes 16 kHz. Two channels are mixed to one.

    Raises:
        UnreadableAudioError: Missing, empty, truncated, not audio, 24-bit, too long.
    """
    if path.is_file() and path.stat().st_size == 0:
        raise UnreadableAudioError(f"{path}: empty, no bytes")
    try:
        file = soundfile.info(str(path))
        _check(path, file)
        samples, found_hz = soundfile.read(str(path), dtype="float32", always_2d=True)
    except soundfile.LibsndfileError as broken:
        reason = "no such file" if not path.exists() else "not audio that can be read"
        raise UnreadableAudioError(f"{path}: {reason} ({broken.error_string})") from broken
    if not samples.shape[0]:
        raise UnreadableAudioError(f"{path}: empty, no samples")
    if samples.shape[0] < file.frames or _promises_more(path, samples.shape[0]):
        raise UnreadableAudioError(f"{path}: truncated, shorter than its header says")
    target_hz = rate_hz or (8_000 if found_hz == 8_000 else 16_000)
    mono = samples.mean(axis=1)
    if found_hz != target_hz:
        mono = soxr.resample(mono, found_hz, target_hz)
    return Recording(np.clip(mono * 32768.0, -32768, 32767).astype(np.int16), target_hz)


def write(path: Path, samples: NDArray[np.int16], *, rate_hz: int) -> None:
    """Write 16-bit mono samples as a wav file."""
    soundfile.write(str(path), samples, rate_hz, subtype="PCM_16")


def _check(path: Path, file: object) -> None:
    subtype = getattr(file, "subtype", "")
    channels = getattr(file, "channels", 0)
    rate_hz = getattr(file, "samplerate", 0)
    if subtype not in SUBTYPES:
        raise UnreadableAudioError(
            f"{path}: {subtype} samples; make it 16-bit, for instance: sox IN -b 16 OUT"
        )
    if channels not in CHANNELS:
        raise UnreadableAudioError(f"{path}: {channels} channels; it must have one or two")
    if not RATES_HZ[0] <= rate_hz <= RATES_HZ[1]:
        raise UnreadableAudioError(f"{path}: {rate_hz} Hz; it must have 8000 to 192000 Hz")
    if getattr(file, "duration", 0.0) > MAX_S:
        raise UnreadableAudioError(f"{path}: longer than {MAX_S:g} s")


def _promises_more(path: Path, frames: int) -> bool:
    """Return whether a RIFF file's data chunk announces more bytes than the file holds."""
    with path.open("rb") as file:
        head = file.read(64 * 1024)
    at = head.find(b"data")
    if not head.startswith(b"RIFF") or at < 0 or not frames:
        return False
    announced = int.from_bytes(head[at + 4 : at + 8], "little")
    # Programs that stream to a pipe write 0xFFFFFFFF or 0.
    return announced not in (0, 0xFFFFFFFF) and at + 8 + announced > path.stat().st_size


LINGER_S: Final = 20.0  # the longest wait of a recorded caller for the end of an answer
LOGS: Final = "logs"  # next to the callers' folders
CONTENT_S: Final = 2.5  # of silence after an answer: no answer takes that long to begin


@dataclass(frozen=True, slots=True, kw_only=True)
class Replayed:
    """The result of one recorded caller."""

    path: Path
    folder: Path
    events: Sequence[Event]
    outcome: Outcome


class KeptEntries:
    """Collects the entries of the replayed calls."""

    def __init__(self) -> None:
        self._kept: dict[str, list[Entry]] = {}

    async def hear(self, entry: Entry) -> None:
        """Add an entry."""
        if entry.call_id:
            self._kept.setdefault(entry.call_id, []).append(entry)

    def take(self, call_id: str) -> list[Entry]:
        """Return a call's entries and forget them."""
        return self._kept.pop(call_id, [])


async def replay(audio: Sequence[Path], *, faults: Path | None, out: Path) -> int:
    """Replay each file against a fault lab, one after the other.

    Returns:
        0; 1 if a call failed; 2 if a file could not be read (the others are still replayed).
    """
    console = Console(soft_wrap=True, highlight=False)
    callers: list[tuple[Path, Recording]] = []
    code = DONE
    for path in audio:
        try:
            callers.append((path, await asyncio.to_thread(read, path)))
        except UnreadableAudioError as unreadable:
            code = BAD_USAGE
            print(f"holdline: {unreadable}", file=sys.stderr)  # noqa: T201 - for the terminal
    if not callers:
        return code
    async with lab_process(faults=faults) as lab:
        settings = with_lab(lab, {"logs": {"dir": out / LOGS}})
        failed = await _replay_all(settings, callers, out=out, console=console)
    return code or (FAILED if failed else DONE)


async def _replay_all(
    settings: Settings, callers: Sequence[tuple[Path, Recording]], *, out: Path, console: Console
) -> bool:
    notes = KeptEntries()
    failed = False
    async with open_process(settings, words=True, listeners=[notes]) as process:
        names = folder_names([path for path, _ in callers])
        for (path, caller), name in zip(callers, names, strict=True):
            folder = out / name
            replayed = await replay_one(process, notes, caller, path=path, folder=folder)
            console.print(_line(replayed, folder))
            failed = failed or replayed.outcome.reason == "failed"
    return failed


def folder_names(paths: Sequence[Path]) -> list[str]:
    """Return a folder name for each recording: its own, with a number if that is taken."""
    taken = {LOGS}
    names: list[str] = []
    for path in paths:
        numbered = (f"{path.stem}-{number}" for number in count(2))
        name = next(item for item in chain([path.stem], numbered) if item not in taken)
        taken.add(name)
        names.append(name)
    return names


async def replay_one(
    process: Process, notes: KeptEntries, caller: Recording, *, path: Path, folder: Path
) -> Replayed:
    """Replay one caller in a call and write heard.wav, timeline.jsonl and summary.json."""
    leg = LoopbackLeg(
        caller.samples,
        sample_rate_hz=caller.rate_hz,
        linger_s=LINGER_S,
        content_s=CONTENT_S,
        clock=clock.monotonic,
    )
    call = process.call(leg)
    await process.switchboard.answer(leg, call)
    await process.emitter.flush()
    entries = notes.take(call.call_id)
    events = [entry.event for entry in entries]
    replayed = Replayed(path=path, folder=folder, events=events, outcome=outcome(events))
    await asyncio.to_thread(_write, folder, leg, entries, replayed)
    return replayed


def _write(folder: Path, leg: LoopbackLeg, entries: Sequence[Entry], replayed: Replayed) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    write(folder / "heard.wav", leg.line.heard(), rate_hz=leg.line.sample_rate_hz)
    lines = (json.dumps(entry.as_json(), ensure_ascii=False) + "\n" for entry in entries)
    (folder / "timeline.jsonl").write_text("".join(lines), encoding="utf-8")
    summary: dict[str, Any] = {"caller": str(replayed.path), **asdict(replayed.outcome)}
    text = json.dumps(summary, indent=2, ensure_ascii=False)
    (folder / "summary.json").write_text(text + "\n", encoding="utf-8")


def _line(replayed: Replayed, folder: Path) -> str:
    found = replayed.outcome
    v2v = f", answered in {found.v2v.p50_s:.2f} s (p50)" if found.v2v else ""
    ended = next((event for event in replayed.events if isinstance(event, CallEnded)), None)
    reason = ended.reason if ended else "unknown"
    return (
        f"{replayed.path}: {found.turns} turns{v2v}, {_cost(found)}, ended: {reason}; see {folder}"
    )


def _cost(found: Outcome) -> str:
    if found.cost is None:
        return f"cost unknown ({', '.join(found.costs.unpriced)})"
    return f"cost {found.cost:.4f} {found.costs.currency}".rstrip()
