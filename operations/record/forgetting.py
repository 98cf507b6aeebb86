"""Erases old data every day, and all data about one number: rows, audio files and journals.

Each process deletes old files, by their age. One process for all erases old rows, by the age for
each kind.
"""

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator, Callable, Collection, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final

from loguru import logger

from calls.entry import Emit
from calls.operations_events import RecordsForgotten
from configuration.settings import Settings
from contacts.numbers import last_digits, same_as
from operations.after_call.outcome_rules import SETTLED_S
from operations.database.database import Database, StorageError
from operations.keep_running import at_work, keep_repeating, keep_running
from operations.moments import for_people
from operations.record.erasing import Erasure, SameNumber, their_numbers, unlink_all
from operations.record.machine_files import ErasureRequest, MachineFiles
from operations.record.voicemails import LEFT_S, finish_left
from operations.telemetry.journal import forget_old
from runtime import clock

DAY_S: Final = 86_400.0
RETRY_S: Final = 600.0  # after a failure of the database
CHECK_LEADER_S: Final = 60.0  # between two checks whether this process leads the worker pool
CALLS: Final = "calls"
MESSAGES: Final = "messages"
RECORDINGS: Final = "recordings"


def forget(settings: Settings, *, utc_s: float) -> int:
    """Delete old files with callers' words; return how many; blocks."""
    logs, rows = settings.logs, settings.storage.keep_days
    kept = {CALLS: logs.keep_days, MESSAGES: rows.voicemails, RECORDINGS: rows.recordings}
    return sum(
        forget_old(logs.dir / folder, keep_days=days, utc_s=utc_s) for folder, days in kept.items()
    )


@asynccontextmanager
async def forget_daily(settings: Settings, *, emit: Emit) -> AsyncIterator[None]:
    """Delete old files at the start of the block, and then once a day.

    Files that dead processes left unfinished are completed every `LEFT_S`. When a process is
    replaced, its files are still too new for that, and callers wait for an answer to messages.
    """

    async def finish() -> None:
        utc_s = clock.utc_now().timestamp()
        for folder in (MESSAGES, RECORDINGS):
            await asyncio.to_thread(finish_left, settings.logs.dir / folder, utc_s=utc_s)

    async def finish_regularly() -> None:
        while True:
            await asyncio.sleep(LEFT_S)
            await finish()

    async def repeat() -> None:
        while True:
            await finish()
            utc_s = clock.utc_now().timestamp()
            if files := await asyncio.to_thread(forget, settings, utc_s=utc_s):
                emit(RecordsForgotten(files=files, keep_days=settings.logs.keep_days))
            await asyncio.sleep(DAY_S)

    async with at_work(
        forgetting=keep_running("deletion of old calls", repeat),
        finishing=keep_running("completion of unfinished recordings", finish_regularly),
    ):
        yield


@asynccontextmanager
async def forget_rows_daily(
    settings: Settings, database: Database, *, leads: Callable[[], bool]
) -> AsyncIterator[None]:
    """Erase old rows once a day while `leads` returns True; after a failure, in `RETRY_S`."""
    erasure = Erasure(database)
    keep_days = settings.storage.keep_days.model_dump()

    async def repeat() -> None:
        """Erase old rows once a day while this process leads; retry a failure after `RETRY_S`."""
        while True:
            while not leads():  # noqa: ASYNC110 - the leader of the pool may change at any time
                await asyncio.sleep(CHECK_LEADER_S)
            try:
                erased = await erasure.erase_old(keep_days, now=clock.utc_now())
            except StorageError as error:
                logger.error("old rows could not be erased yet: {}", error)
                await asyncio.sleep(RETRY_S)
                continue
            if erased:
                logger.info("erased old rows: {}", dict(erased))
            await asyncio.sleep(DAY_S)

    async with at_work(erasing=keep_running("erasure of old rows", repeat)):
        yield


MACHINES_S: Final = 20.0  # for the answers of other machines, which look every `LOOK_EVERY_S`
LOOK_EVERY_S: Final = 5.0
FIRST_LINES: Final = 20  # of a call's journal, which include its start


@dataclass(frozen=True, slots=True, kw_only=True)
class Forgotten:
    """What was erased."""

    counts: Mapping[str, int]
    live: int  # calls in progress, just ended or being placed: they are still being written
    left: Mapping[str, str]  # by path: why it could not be deleted; its call remains, too
    machines: Mapping[str, str] = field(default_factory=dict[str, str])
    """By name the other machines that have not deleted their files yet, and why."""


async def forget_number(
    settings: Settings, number: str, *, gone: Collection[str] = ()
) -> Forgotten:
    """Erase everything about a number, even while a server runs; files also on other machines.

    Args:
        settings: The configuration.
        number: E.164.
        gone: Machines that exist no more; they are not asked.

    Raises:
        StorageError: The database failed; what was erased before stays erased.
    """
    async with Database(settings.storage.url) as database:
        machines = MachineFiles(database)
        await machines.strike(gone)
        forgotten = await _erase_number(settings, database, number)
        return replace(forgotten, machines=await _not_confirmed(machines, number))


async def _erase_number(settings: Settings, database: Database, number: str) -> Forgotten:
    """Erase a number's rows, and its files on this machine; ask other machines to erase theirs."""
    same, ending = same_as(number, region=settings.server.region), last_digits(number)
    logs = settings.logs.dir
    ours = _is_ours(settings, same)
    erasure = Erasure(database)
    traced = await erasure.calls_of(ending, same, ours=ours, settled=_complete_before(settings))
    ended = [call for call in traced if not call.live]
    live = {call.id: call.dial_id for call in traced if call.live}
    in_journals = await asyncio.to_thread(_calls_in_journal, logs / "calls", same, ours=ours)
    ids = sorted(({call.id for call in ended} | in_journals) - live.keys())
    voicemails = await erasure.voicemails_of(ids, same)
    voicemail_paths = {path for call_id, path in voicemails if call_id not in live}
    audio = {
        "recordings": await asyncio.to_thread(_audio_files, logs / "recordings", ids)
        | {call.recording for call in ended},
        "voicemail files": await asyncio.to_thread(_audio_files, logs / "messages", ids)
        | voicemail_paths,
    }
    paths = {call.recording for call in ended if call.recording} | voicemail_paths
    own = settings.server.machine or ""
    await MachineFiles(database).request(number, ids, paths, besides=own)
    counts, left = await asyncio.to_thread(_unlink_files, logs, ids, audio)
    # Calls whose files could not be deleted stay, because their rows lead to the files. A file
    # may also have been written by another process that had the call.
    kept = _calls_of(left) | live.keys()
    ids = sorted(set(ids) - kept)
    counts.update(await erasure.erase_calls(ids))
    without_call = sorted({call_id for call_id, _ in voicemails} - kept - set(ids))
    counts["voicemails"] += await erasure.erase_voicemails(without_call)
    counts.update(await erasure.erase_numbered(ending, same, now=clock.utc_s()))
    called = await erasure.count_called(ending, same, besides=live.values())
    return Forgotten(counts=counts, live=len(live) + called, left=left)


async def _not_confirmed(machines: MachineFiles, number: str) -> Mapping[str, str]:
    """Wait for the other machines; return by name why one has not deleted its files."""
    requests = await machines.wait(number, within_s=MACHINES_S)
    seen = await machines.last_seen() if requests else {}
    return {
        item.machine: item.why or f"no answer, last seen at {for_people(seen.get(item.machine))}"
        for item in requests
    }


@asynccontextmanager
async def erase_files_on_request(
    settings: Settings, database: Database, *, leads: Callable[[], bool]
) -> AsyncIterator[None]:
    """Carry out the requests of `forget_number` at other machines during the block.

    Does so while `leads` returns True. A server without `server.machine` gets no requests.
    """
    machines, machine = MachineFiles(database), settings.server.machine
    list_at = try_at = clock.monotonic()

    async def look() -> bool:
        """Carry out new requests, and retry failed ones every `RETRY_S`; always return False."""
        nonlocal list_at, try_at
        now = clock.monotonic()
        if machine is None or not leads():
            return False
        if now >= list_at:
            await machines.list_machine(machine, now=clock.utc_now())
            list_at = now + CHECK_LEADER_S
        for request in await machines.requests(machine=machine):
            if not request.why or now >= try_at:
                try:
                    left = await _erase_files(settings, database, request)
                except OSError as error:  # a journal that cannot be read
                    left = {str(error.filename): error.strerror or type(error).__name__}
                why = "; ".join(f"{path}: {why}" for path, why in left.items())
                await machines.answer(request, why=why)
                logger.info("deleted a number's files on request; not deleted: {}", why or "none")
        try_at = now + RETRY_S if now >= try_at else try_at
        return False

    if machine is None:
        yield
        return
    repeating = keep_repeating("erasure of files on request", look, rest_s=lambda: LOOK_EVERY_S)
    async with at_work(requests=repeating):
        yield


async def _erase_files(
    settings: Settings, database: Database, request: ErasureRequest
) -> Mapping[str, str]:
    """Delete this machine's files of a number; return by path why one remains."""
    same, logs = same_as(request.number, region=settings.server.region), settings.logs.dir
    ours = _is_ours(settings, same)
    traced = await Erasure(database).calls_of(
        last_digits(request.number), same, ours=ours, settled=_complete_before(settings)
    )
    live = {call.id for call in traced if call.live}
    in_journals = await asyncio.to_thread(_calls_in_journal, logs / "calls", same, ours=ours)
    ids = sorted((in_journals | set(request.calls)) - live)

    def erase() -> Mapping[str, str]:
        folders = (logs / "recordings", logs / "messages")
        audio = {str(it): _audio_files(it, ids) for it in folders} | {"paths": request.paths}
        return _unlink_files(logs, ids, audio)[1]

    return await asyncio.to_thread(erase)


def _is_ours(settings: Settings, same: SameNumber) -> bool:
    """Return whether the number is one of our own LiveKit lines."""
    return any(map(same, settings.transports.livekit.sip.all_numbers))


def _complete_before(settings: Settings) -> datetime:
    """Return the moment before which ended calls are complete."""
    return clock.utc_now() - timedelta(seconds=settings.after_call.within_s + SETTLED_S)


def _calls_in_journal(folder: Path, same: SameNumber, *, ours: bool) -> set[str]:
    """Return a number's calls from the journals, because the database may lack some of them."""
    records = folder.glob("*.jsonl")
    return {path.stem for path in records if any(map(same, _numbers_in_journal(path, ours=ours)))}


def _numbers_in_journal(path: Path, *, ours: bool) -> Sequence[str]:
    """Return the numbers that may identify the other party; blocks.

    None if the call's start is not in the first `FIRST_LINES` lines of the journal.
    """
    if not path.exists():  # deleted meanwhile, because it was old
        return ()
    with path.open(encoding="utf-8", errors="replace") as file:
        for _, line in zip(range(FIRST_LINES), file, strict=False):
            try:
                event = json.loads(line)
            except ValueError:
                continue
            if isinstance(event, dict) and event.get("event") == "CallStarted":
                return their_numbers(event, ours=ours)
    return ()


def _audio_files(folder: Path, ids: Sequence[str]) -> set[str]:
    """Return the paths of calls' audio files; not each of them exists. Blocks.

    The names contain the call, so those of calls whose rows were erased earlier are included.
    """
    known, found = set(ids), {str(folder / f"{call_id}.wav") for call_id in ids}
    # A call that moved to another process has another file from there, complete or not.
    names = (path.name.partition(".")[0] for path in folder.glob("*-*.wav*"))
    return found | {str(folder / f"{name}.wav") for name in names if _call_of(name) in known}


def _call_of(name: str) -> str:
    """Return the call's id in a file's name; a resumed call's file is `ID-NUMBER`."""
    return name.partition("-")[0]


def _calls_of(paths: Iterable[str]) -> set[str]:
    return {_call_of(Path(path).stem) for path in paths}


def _unlink_files(
    logs: Path, call_ids: Iterable[str], audio: Mapping[str, Iterable[str]]
) -> tuple[Counter[str], Mapping[str, str]]:
    """Delete audio, then the journals of calls whose audio is gone; see `_unlink_by_kind`."""
    counts, left = _unlink_by_kind(audio)
    journals = [str(logs / "calls" / f"{it}.jsonl") for it in set(call_ids) - _calls_of(left)]
    records, stuck = _unlink_by_kind({"call records": journals})
    counts.update(records)
    return counts, {**left, **stuck}


def _unlink_by_kind(audio: Mapping[str, Iterable[str]]) -> tuple[Counter[str], Mapping[str, str]]:
    """Delete the files of each kind; return the counts, and by path why a file remains."""
    counts: Counter[str] = Counter()
    left: dict[str, str] = {}
    for kind, paths in audio.items():
        unlinked = unlink_all(filter(None, paths))
        counts[kind] = unlinked.count
        left |= unlinked.left
    return counts, left
