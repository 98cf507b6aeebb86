"""A slow or failing listener affects only itself."""

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

import pytest

from calls.entry import Entry
from calls.events import KeyPressed
from calls.incident import IncidentBegan, IncidentEnded
from fallbacks.events import AttemptFailed, AttemptWon
from fallbacks.failure import Kind, Scope, Severity
from operations.notify.incident_rules import CALM_S, Incidents
from operations.telemetry import emitter as emitter_module
from operations.telemetry.emitter import FLUSH_S, Emitter, Listener

pytestmark = pytest.mark.virtual_time

LADDERS = {"tts": ["cartesia", "elevenlabs"]}
REFUSED = AttemptFailed(
    stage="tts", provider="cartesia", kind=Kind.AUTH, scope=Scope.CREDENTIAL, after_s=0.1,
    permanent=True, severity=Severity.HIGH, reason="401",
)  # fmt: skip
WON = AttemptWon(stage="tts", provider="cartesia", attempt=2, after_s=0.1)


@dataclass
class Heard:
    """Keeps its entries with their moments; is slow if told to."""

    takes_s: float = 0.0
    entries: list[Entry] = field(default_factory=list)
    at_s: list[float] = field(default_factory=list)

    async def hear(self, entry: Entry) -> None:
        if self.takes_s:
            await asyncio.sleep(self.takes_s)
        self.entries.append(entry)
        self.at_s.append(time.monotonic())

    @property
    def numbers(self) -> list[int]:
        return [entry.number for entry in self.entries]


class Slow(Heard):
    """A listener with a name of its own in the counts."""


@dataclass
class Gathers(Heard):
    """Gets a batch at a time, as a file does."""

    at_once: list[int] = field(default_factory=list)

    async def hear_all(self, entries: Sequence[Entry]) -> None:
        self.at_once.append(len(entries))
        for entry in entries:
            await self.hear(entry)


class Refuses:
    async def hear(self, entry: Entry) -> None:
        raise OSError(f"no room for {entry.number}")


def emitter(listeners: Sequence[Listener], incidents: Incidents | None = None) -> Emitter:
    return Emitter(
        listeners=listeners,
        utc_now=lambda: datetime(2026, 1, 1, tzinfo=UTC),
        incidents=incidents,
        clock=time.monotonic,
    )


async def test_a_listener_that_blocks_for_ten_seconds_does_not_delay_others() -> None:
    slow, quick, last = Slow(takes_s=10.0), Heard(), Heard()
    told_at_s = []
    async with emitter([quick, slow, last]) as telling:
        emit = telling.emit_for("c")
        for _ in range(50):
            told_at_s.append(time.monotonic())
            emit(KeyPressed(key="1"))
            await asyncio.sleep(0.1)

        assert quick.at_s == last.at_s == told_at_s
        assert slow.entries == []


async def test_a_slow_listener_loses_its_own_oldest_and_they_are_counted(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(emitter_module, "QUEUE_ENTRIES", 5)
    slow, quick = Slow(takes_s=1.0), Heard()
    async with emitter([slow, quick]) as telling:
        emit = telling.emit_for("c")
        for _ in range(20):
            emit(KeyPressed(key="1"))
            await asyncio.sleep(0.1)
        await asyncio.sleep(10.0)

        assert quick.numbers == list(range(1, 21))
        assert slow.numbers == sorted(slow.numbers)
        assert slow.numbers[-5:] == [16, 17, 18, 19, 20]
        assert telling.counts().lost == {"Slow": 20 - len(slow.numbers), "Heard": 0}
        assert telling.counts().lost["Slow"] > 0


async def test_a_batching_listener_gets_the_entries_of_a_moment_together() -> None:
    gathers = Gathers()
    async with emitter([gathers]) as telling:
        emit = telling.emit_for("c")
        for _ in range(20):
            emit(KeyPressed(key="1"))
            await asyncio.sleep(0.05)
        await asyncio.sleep(1.0)

        assert gathers.numbers == list(range(1, 21))
        assert len(gathers.at_once) <= 6
        assert telling.counts().lost == {"Gathers": 0}


async def test_a_full_flush_waits_for_no_batching() -> None:
    gathers = Gathers()
    async with emitter([gathers]) as telling:
        telling.emit_for("c")(KeyPressed(key="1"))
        told_at_s = time.monotonic()
        await telling.flush()

    assert gathers.at_s == [told_at_s]


async def test_a_raising_listener_continues_and_is_counted() -> None:
    quick = Heard()
    async with emitter([Refuses(), quick]) as telling:
        emit = telling.emit_for("c")
        for _ in range(3):
            emit(KeyPressed(key="1"))
        await telling.flush()

        assert telling.counts().failed == {"Refuses": 3, "Heard": 0}
    assert quick.numbers == [1, 2, 3]


async def test_the_end_waits_for_each_listener_for_a_bounded_time() -> None:
    quick = Heard()
    telling = emitter([Slow(takes_s=60.0), quick])
    async with telling:
        emit = telling.emit_for("c")
        for _ in range(3):
            emit(KeyPressed(key="1"))
        ended_at_s = time.monotonic()

    assert time.monotonic() - ended_at_s == pytest.approx(FLUSH_S, abs=0.01)
    assert quick.numbers == [1, 2, 3]
    assert telling.counts().lost["Slow"] == 3


async def test_many_entries_at_once_yield_to_other_tasks() -> None:
    turns = 0

    async def take_turns() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    async with emitter([Heard()]) as telling:
        emit = telling.emit_for("c")
        for _ in range(1000):
            emit(KeyPressed(key="1"))
        other = asyncio.ensure_future(take_turns())
        await telling.flush()
        other.cancel()

    assert turns > 50


async def test_an_incident_is_reported_once_after_the_event_that_began_it() -> None:
    one, other = Heard(), Heard()
    async with emitter([one, other], Incidents(LADDERS)) as telling:
        telling.emit_for("a")(REFUSED)
        telling.emit_for("b")(REFUSED)
        await telling.flush()

    told = [(entry.call_id, type(entry.event), entry.number) for entry in one.entries]
    assert told == [("a", AttemptFailed, 1), ("a", IncidentBegan, 2), ("b", AttemptFailed, 1)]
    assert one.entries == other.entries


async def test_an_incident_that_ended_by_time_is_reported_by_the_process() -> None:
    heard = Heard()
    async with emitter([heard], Incidents(LADDERS)) as telling:
        emit = telling.emit_for("a")
        emit(REFUSED)
        emit(WON)
        await asyncio.sleep(CALM_S + 2.0)

    (ended,) = [entry for entry in heard.entries if isinstance(entry.event, IncidentEnded)]
    assert (ended.call_id, ended.number) == ("", 1)


async def test_the_process_counts_its_entries_once_whichever_call_reports_them() -> None:
    heard = Heard()
    async with emitter([heard]) as telling:
        for _ in range(3):
            telling.emit_for("")(KeyPressed(key="1"))

    assert heard.numbers == [1, 2, 3]


class Keeps(Heard):
    """Keeps its entries for an unavailable disk."""

    waiting = 7
    lost = 3


async def test_a_listeners_own_backlog_is_counted_with_its_queue() -> None:
    async with emitter([Keeps(), Heard()]) as telling:
        assert telling.counts().waiting == {"Keeps": 7, "Heard": 0}
        assert telling.counts().lost == {"Keeps": 3, "Heard": 0}
