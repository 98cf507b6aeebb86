"""Replays recorded callers through the pipeline; writes what each heard, a timeline, a summary."""

import asyncio
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import chain, count
from pathlib import Path
from typing import Any, Final

from rich.console import Console

from bot.workers.process import Process, open_process
from calls.entry import Entry
from calls.events import CallEnded, Event
from calls.outcome import Outcome, call_outcome_of
from calls.state import state_of
from configuration.settings import Settings
from lab.process import lab_process, with_lab
from lab.recording import Recording, UnreadableAudioError, read_recording, write_recording
from runtime import clock
from runtime.exits import BAD_USAGE, DONE, FAILED
from transports.loopback.leg import LoopbackLeg

LINGER_S: Final = 20.0  # how long a recorded caller waits at most for the end of an answer
LOGS: Final = "logs"  # next to the callers' folders
QUIET_S: Final = 2.5  # silence after an answer that ends the call: no answer begins that late


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
        """Add an entry if it belongs to a call."""
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
            callers.append((path, await asyncio.to_thread(read_recording, path)))
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
    """Replay the callers, and print a line for each; return whether a call failed."""
    kept = KeptEntries()
    failed = False
    async with open_process(settings, words=True, listeners=[kept]) as process:
        names = folder_names([path for path, _ in callers])
        for (path, caller), name in zip(callers, names, strict=True):
            folder = out / name
            replayed = await replay_one(process, kept, caller, path=path, folder=folder)
            console.print(_summary_line(replayed, folder))
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
    process: Process, kept: KeptEntries, caller: Recording, *, path: Path, folder: Path
) -> Replayed:
    """Replay one caller in a call and write heard.wav, timeline.jsonl and summary.json."""
    leg = LoopbackLeg(
        caller.samples,
        sample_rate_hz=caller.rate_hz,
        linger_s=LINGER_S,
        content_s=QUIET_S,
        clock=clock.monotonic,
    )
    call = process.call(leg)
    await process.switchboard.answer(leg, call)
    await process.emitter.flush()
    entries = kept.take(call.call_id)
    events = [entry.event for entry in entries]
    outcome = call_outcome_of(state_of(events))
    replayed = Replayed(path=path, folder=folder, events=events, outcome=outcome)
    await asyncio.to_thread(_write_files, folder, leg, entries, replayed)
    return replayed


def _write_files(
    folder: Path, leg: LoopbackLeg, entries: Sequence[Entry], replayed: Replayed
) -> None:
    """Write the three files of a caller; earlier ones in the folder are replaced."""
    folder.mkdir(parents=True, exist_ok=True)
    write_recording(folder / "heard.wav", leg.line.heard(), rate_hz=leg.line.sample_rate_hz)
    lines = (json.dumps(entry.as_json(), ensure_ascii=False) + "\n" for entry in entries)
    (folder / "timeline.jsonl").write_text("".join(lines), encoding="utf-8")
    summary: dict[str, Any] = {"caller": str(replayed.path), **asdict(replayed.outcome)}
    text = json.dumps(summary, indent=2, ensure_ascii=False)
    (folder / "summary.json").write_text(text + "\n", encoding="utf-8")


def _summary_line(replayed: Replayed, folder: Path) -> str:
    """Return how a replayed caller fared, as a line, with the folder of the files."""
    found = replayed.outcome
    v2v = f", answered in {found.v2v.p50_s:.2f} s (p50)" if found.v2v else ""
    ended = next((event for event in replayed.events if isinstance(event, CallEnded)), None)
    reason = ended.reason if ended else "unknown"
    facts = f"{found.turns} turns{v2v}, {_cost_text(found)}, ended: {reason}"
    return f"{replayed.path}: {facts}; see {folder}"


def _cost_text(found: Outcome) -> str:
    if found.cost is None:
        return f"cost unknown ({', '.join(found.costs.unpriced)})"
    return f"cost {found.cost:.4f} {found.costs.currency}".rstrip()
