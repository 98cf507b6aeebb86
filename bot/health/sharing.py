"""Shares the providers' health with other processes; while the board is down, each works alone."""

import asyncio
import hashlib
import json
import platform
import secrets
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Final

from loguru import logger
from sqlalchemy.engine import make_url

from bot.health.policies import credential
from calls.entry import Emit
from calls.events import ShareLost, ShareRegained
from configuration.database_urls import LOCAL, SHARES
from configuration.rungs import language_for_stage
from configuration.settings import Settings
from fallbacks.availability import AvailabilityTable, RungAvailability
from fallbacks.breaker import State
from fallbacks.events import RungFollowed
from fallbacks.failure import ONE_CALL, VERDICTS, Kind
from fallbacks.shared_health import Aspect, RungReport, SharedRung
from operations.database.database import StorageError
from operations.database.provider_board import ProviderBoard
from operations.database.sql_board import SqlBoard
from operations.keep_running import keep_running
from runtime import clock

SYNC_EVERY_S: Final = 0.5  # about how long a report takes to reach other processes
LEASE_S: Final = 6.0  # an unrenewed lease expires; then another process probes
RENEW_EVERY_S: Final = 2.0
BOARD_ANSWER_S: Final = 3.0  # a board that takes longer counts as unreachable
FIRST_READINGS: Final = 3  # readings of the board's clock before the first report
MAX_AGE_S: Final = 60.0  # of a reading of the board's clock (chosen)
NORMAL_DRIFT_S: Final = 0.1  # within `MAX_AGE_S`; more drift means that a clock was set
MISSES_REPORTED: Final = 3  # failed syncs in a row that are reported; two are normal at startup


@dataclass(frozen=True, slots=True, kw_only=True)
class _ClockReading:
    """A reading of the board's clock, compared with ours."""

    ahead_s: float  # the board's time minus our monotonic time
    within_s: float  # the uncertainty of `ahead_s`
    at: float  # monotonic


def _followed_event(rung: RungAvailability) -> RungFollowed:
    """Return the event of a change that was adopted; a refusal without proof is marked as such."""
    kind, _, status = rung.cause.partition(" ")
    if kind and VERDICTS[Kind(kind)].trips and rung.breaker.state is State.CLOSED:
        status = f"{ONE_CALL}: {status}"
    return RungFollowed(
        stage=rung.stage,
        provider=rung.provider,
        breaker=rung.breaker.state,
        suspect=rung.suspect_since is not None,
        kind=kind,
        reason=status,
    )


def _follows_cause(report: RungReport) -> bool:
    return report.aspect is not Aspect.CAUSE


def _clock_was_set(before: _ClockReading, after: _ClockReading) -> bool:
    """Return whether two readings differ by more than uncertainty and normal drift explain."""
    apart_s = abs(after.ahead_s - before.ahead_s)
    return apart_s > before.within_s + after.within_s + NORMAL_DRIFT_S


def _uncertainty_s(reading: _ClockReading) -> float:
    return reading.within_s


class BoardClient:
    """Exchanges one process's provider health with the shared board, and leases the probing.

    Attributes:
        synced: Set after the first exchange, even a failed one; before it, `leads` is always false.
    """

    def __init__(self, rungs: Iterable[SharedRung], *, board: ProviderBoard, emit: Emit) -> None:
        self._rungs = {rung.place: rung for rung in rungs}
        self._board = board
        self._emit = emit
        # The newest unwritten report on each aspect of each rung.
        self._pending: dict[tuple[str, Aspect], RungReport] = {}
        self._led: frozenset[str] = frozenset()
        self._renew_at = 0.0
        self._clock_reading: _ClockReading | None = None  # `None` before the first one
        self._misses = 0
        self._board_lost_at: float | None = None
        self.synced = asyncio.Event()

    def leads(self, place: str) -> bool:
        """Return whether this process probes a rung: it has the lease, or the last sync failed."""
        return place in self._led or self._misses > 0

    async def run(self) -> None:
        """Sync every `SYNC_EVERY_S` until cancelled."""
        task = asyncio.current_task()
        # The client may swallow a cancellation that arrives while it reads.
        while not (task and task.cancelling()):
            await self.sync()
            await asyncio.sleep(SYNC_EVERY_S)

    async def sync(self) -> None:
        """Write our new reports to the board, adopt those of others, renew the leases if due.

        Failures of the board, and answers later than `BOARD_ANSWER_S`, are counted, not raised.
        """
        self._collect_reports()
        try:
            async with asyncio.timeout(BOARD_ANSWER_S):
                await self._exchange_reports()
        except (StorageError, TimeoutError) as gone:
            self._count_miss(gone)
        else:
            self._end_outage()
        finally:
            self.synced.set()

    def count_failed_sync(self, broken: Exception) -> None:
        """Count a sync that raised an unexpected exception."""
        self._count_miss(StorageError(type(broken).__name__))

    async def close(self) -> None:
        """Return the leases and disconnect, each within `BOARD_ANSWER_S`; never raises."""
        for part in (self._board.leave, self._board.close):
            try:
                async with asyncio.timeout(BOARD_ANSWER_S):
                    await part()
            except (StorageError, TimeoutError):
                continue  # harmless: leases expire
            except Exception as broken:  # noqa: BLE001 - the rest of the shutdown must go on
                logger.opt(exception=broken).error("the shared health board could not be closed")

    def _collect_reports(self) -> None:
        """Queue our new reports; none before the board's clock, which dates them, has been read."""
        if self._clock_reading is None:
            return
        now = clock.monotonic()
        for rung in self._rungs.values():
            for report in rung.take_changes(now, utc_s=now + self._clock_reading.ahead_s):
                self._pending[report.place, report.aspect] = report

    async def _exchange_reports(self) -> None:
        """Write our reports and adopt those of others; if due, read the clock and renew the leases.

        Emits `RungFollowed` for each breaker or suspicion that changes. Raises `StorageError` if
        the board fails; then unwritten reports stay queued.
        """
        renews = clock.monotonic() >= self._renew_at
        if renews or self._clock_reading is None:
            self._clock_reading = await self._best_clock_reading()
            self._collect_reports()  # before the first reading, `sync` could queue none
        writing = dict(self._pending)
        await self._board.write(writing.values())
        for key, report in writing.items():
            if self._pending.get(key) is report:
                del self._pending[key]
        # The causes first, so that a breaker is not followed without its cause.
        for report in sorted(await self._board.others(self._rungs), key=_follows_cause):
            now = clock.monotonic()
            rung = self._rungs[report.place]
            before = _followed_event(rung.rung)
            rung.adopt(report, now, utc_s=now + self._clock_reading.ahead_s)
            event = _followed_event(rung.rung)
            if event != before and report.aspect in (Aspect.BREAKER, Aspect.SUSPICION):
                self._emit(event)
        if renews:
            self._led = await self._board.lease(self._rungs, for_s=LEASE_S)
            self._renew_at = clock.monotonic() + RENEW_EVERY_S

    async def _best_clock_reading(self) -> _ClockReading:
        """Read the board's clock, several times at first, and return the most certain reading.

        As in NTP (RFC 5905, section 10, Clock Filter Algorithm), the reading with the shortest
        round trip is the most certain one. A reading that is too old, or was taken before the clock
        was set, is replaced by a less certain one, too.
        """
        if self._clock_reading is None:
            await self._board.clock_s()  # connects, so that no reading includes connecting
            return min(
                [await self._read_clock() for _ in range(FIRST_READINGS)], key=_uncertainty_s
            )
        new = await self._read_clock()
        if new.at - self._clock_reading.at >= MAX_AGE_S or _clock_was_set(self._clock_reading, new):
            return new
        return min(new, self._clock_reading, key=_uncertainty_s)

    async def _read_clock(self) -> _ClockReading:
        began = clock.monotonic()
        board_s = await self._board.clock_s()
        now = clock.monotonic()
        return _ClockReading(
            ahead_s=board_s - (began + now) / 2, within_s=(now - began) / 2, at=now
        )

    def _count_miss(self, gone: Exception) -> None:
        """Count a failed sync; emit `ShareLost` when `MISSES_REPORTED` have failed in a row."""
        self._misses += 1
        self._renew_at = 0.0  # the lease may have expired, so renew it in the next sync
        if self._misses == MISSES_REPORTED:
            self._board_lost_at = clock.monotonic()
            self._emit(ShareLost(reason=_reason_of_loss(gone)))

    def _end_outage(self) -> None:
        """After a successful sync: end the outage, if there was one, and repeat all reports.

        Emits `ShareRegained` if the outage was reported.
        """
        if self._misses == 0:
            return
        self._misses = 0
        if self._board_lost_at is not None:  # `ShareLost` was emitted
            self._emit(ShareRegained(alone_s=clock.monotonic() - self._board_lost_at))
            self._board_lost_at = None
        for rung in self._rungs.values():
            rung.repeat_all()  # a restarted board may have forgotten everything


def _reason_of_loss(gone: Exception) -> str:
    """Return in one line why the board is unreachable."""
    return str(gone) if isinstance(gone, StorageError) else f"no answer within {BOARD_ANSWER_S:g} s"


def places(settings: Settings) -> dict[tuple[str, str], str]:
    """Return each rung's place on the board, by stage and name.

    Processes share a place only if their rungs send equal requests with the same key: a misspelt
    voice or refused options must not count against a rung configured differently. A rung without a
    URL runs on its own machine, so its place contains the machine's name.
    """
    found: dict[tuple[str, str], str] = {}
    for stage, rung in settings.stages.rungs():
        identity = [
            rung.kind,
            rung.url or platform.node(),
            credential(rung, stage),
            rung.model,
            rung.voice,
            rung.language or language_for_stage(settings.agent.language, stage),
            getattr(rung, "alternatives", 1),
            rung.options,
            *((rung.service, rung.init, rung.settings, rung.rate_hz) if rung.service else ()),
        ]
        text = json.dumps(identity, sort_keys=True, default=str)
        digest = hashlib.sha256(text.encode()).hexdigest()[:12]
        found[stage, rung.name] = f"{stage}/{rung.name[:150]}/{digest}"
    return found


def board_at(share: str, *, holder: str) -> ProviderBoard:
    """Return a client of the board at a valid address; it connects on first use.

    Args:
        share: The address, as in `resilience.share`.
        holder: The name under which this process writes and leases, unique to it.
    """
    scheme = SHARES[share.partition("://")[0]]
    if scheme.backend == "redis":
        from operations.database.redis_board import RedisBoard  # noqa: PLC0415 - its driver is an extra

        return RedisBoard(share, holder=holder)
    url = make_url(share)
    if scheme.backend == "sqlite":
        return SqlBoard(url.set(drivername="sqlite+aiosqlite"), holder=holder)
    url = url.set(drivername="postgresql+asyncpg")
    if "sslmode" in url.query:  # libpq's name for what asyncpg calls ssl
        ssl = url.query["sslmode"]
        url = url.difference_update_query(["sslmode"]).update_query_dict({"ssl": ssl})
    return SqlBoard(url, holder=holder)


@asynccontextmanager
async def share_health(
    settings: Settings, availability: AvailabilityTable, *, emit: Emit
) -> AsyncIterator[BoardClient | None]:
    """Exchange the health of all rungs with the board at `resilience.share` while the block runs.

    Yields:
        The client, which knows which rungs this process probes; `None` if sharing is `local`.
    """
    if settings.resilience.share == LOCAL:
        yield None
        return
    board = board_at(settings.resilience.share, holder=secrets.token_hex(8))
    rungs = [SharedRung(place, availability.of(*key)) for key, place in places(settings).items()]
    client = BoardClient(rungs, board=board, emit=emit)
    try:
        async with asyncio.TaskGroup() as tasks:
            running = keep_running(
                "sharing the providers' health", client.run, on_failure=client.count_failed_sync
            )
            syncing = tasks.create_task(running, name="share the providers' health")
            try:
                yield client
            finally:
                syncing.cancel()
    finally:
        await client.close()
