"""Erases all that is about one number: rows, recordings, messages, the calls' own records."""

import asyncio
import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final

from bot import clock
from bot.config.settings import Settings
from campaigns.store.callback_contacts import SETTLED_S
from operations.record.erasing import Erasure, their_numbers, unlink_all
from operations.record.numbered_rows import SameNumber
from operations.record.phone_numbers import ending_of, same_as

FIRST_LINES: Final = 20  # of a call's own record, among which its start stands


@dataclass(frozen=True, slots=True, kw_only=True)
class Forgotten:
    """What was erased."""

    counts: Mapping[str, int]
    live: int  # calls that go on, ended just now, or are being placed: they are being written
    left: Mapping[str, str]  # by path: why the disk did not delete it; its call is left, too


async def forget_number(settings: Settings, number: str) -> Forgotten:
    """Erase all that is about a number, also while a server runs.

    Args:
        settings: The configuration.
        number: E.164.

    Raises:
        StorageError: The database did not do it; what was erased by then stays erased.
    """
    same = same_as(number, region=settings.server.region)
    ending = ending_of(number)
    erasure, ours = Erasure(settings.storage.url), _is_ours(settings, same)
    try:
        traced = await erasure.calls_of(ending, same, ours=ours, settled=_settled(settings))
        over = [each for each in traced if not each.live]
        logs, live = settings.logs.dir, {each.id: each.dial_id for each in traced if each.live}
        written = await asyncio.to_thread(_calls_written, logs / "calls", same, ours=ours)
        ids = sorted(({each.id for each in over} | written) - live.keys())
        mails = await erasure.voicemails_of(ids, same)
        left_by_them = {path for call_id, path in mails if call_id not in live}
        sound = {
            "recordings": await asyncio.to_thread(_sound, logs / "recordings", ids)
            | {call.recording for call in over},
            "voicemail files": await asyncio.to_thread(_sound, logs / "messages", ids)
            | left_by_them,
        }
        counts, left = await asyncio.to_thread(_unlink, sound)
        # To be found again, also by what was recorded in another process.
        kept = {_call_of(Path(path).stem) for path in left} | live.keys()
        ids = sorted(set(ids) - kept)
        counts["call records"] = await asyncio.to_thread(_unlink_records, logs / "calls", ids)
        counts.update(await erasure.erase_calls(ids))
        alone = sorted({call_id for call_id, _ in mails} - kept - set(ids))
        counts["voicemails"] += await erasure.erase_voicemails(alone)
        counts.update(await erasure.erase_numbered(ending, same, now=clock.utc_s()))
        called = await erasure.count_called(ending, same, besides=live.values())
    finally:
        await erasure.close()
    return Forgotten(counts=counts, live=len(live) + called, left=left)


def _is_ours(settings: Settings, same: SameNumber) -> bool:
    """Return whether it is the number of our own line at LiveKit."""
    return any(map(same, settings.transports.livekit.sip.all_numbers))


def _settled(settings: Settings) -> datetime:
    """Return the moment before which a call ended of which nothing more is written down."""
    return clock.utc_now() - timedelta(seconds=settings.after_call.within_s + SETTLED_S)


def _calls_written(folder: Path, same: SameNumber, *, ours: bool) -> set[str]:
    """Return the calls of a number by their own records: the database may never have had them."""
    records = folder.glob("*.jsonl")
    return {path.stem for path in records if any(map(same, _numbers(path, ours=ours)))}


def _numbers(path: Path, *, ours: bool) -> Sequence[str]:
    """Return the numbers by which the side that is not ours may be meant."""
    with path.open(encoding="utf-8", errors="replace") as file:
        for _, line in zip(range(FIRST_LINES), file, strict=False):
            try:
                said = json.loads(line)
            except ValueError:
                continue
            if isinstance(said, dict) and said.get("event") == "CallStarted":
                return their_numbers(said, ours=ours)
    return ()


def _sound(folder: Path, ids: Sequence[str]) -> set[str]:
    """Return where the sound of calls stands, also that no row names: it may be gone before."""
    known, found = set(ids), {str(folder / f"{call_id}.wav") for call_id in ids}
    # A call that went on in another process has a file from there, too, whole or not.
    names = (path.name.partition(".")[0] for path in folder.glob("*-*.wav*"))
    return found | {str(folder / f"{name}.wav") for name in names if _call_of(name) in known}


def _call_of(name: str) -> str:
    return name.partition("-")[0]


def _unlink(sound: Mapping[str, Iterable[str]]) -> tuple[Counter[str], Mapping[str, str]]:
    """Delete the files of each kind; return how many there were, and by path what stays and why."""
    counts: Counter[str] = Counter()
    left: dict[str, str] = {}
    for kind, paths in sound.items():
        unlinked = unlink_all(filter(None, paths))
        counts[kind] = unlinked.count
        left |= unlinked.left
    return counts, left


def _unlink_records(folder: Path, call_ids: Iterable[str]) -> int:
    count = 0
    for each in call_ids:
        count += (folder / f"{each}.jsonl").exists()
        for name in (f"{each}.jsonl", f"{each}.summary.json"):
            (folder / name).unlink(missing_ok=True)
    return count
