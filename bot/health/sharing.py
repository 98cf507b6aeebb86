"""Shares the providers' health with other processes, and continues alone without them."""

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

from bot import clock
from bot.config.database_urls import LOCAL, SHARES
from bot.config.rungs import spoken
from bot.config.settings import Settings
from bot.health.policies import credential
from calls.entry import Emit
from calls.events import ShareLost, ShareRegained
from fallbacks.availability import AvailabilityTable, RungAvailability
from fallbacks.events import RungFollowed
from fallbacks.shared_health import Aspect, BoardWord, SharedRung
from operations.database.database import StorageError
from operations.database.provider_board import ProviderBoard
from operations.database.sql_board import SqlBoard
from operations.keep_running import keep_running

LOOK_S: Final = 0.5  # the longest delay until one process learns what another found
LEASE_S: Final = 6.0  # after this, another process takes over the probing
RENEW_S: Final = 2.0
ANSWER_S: Final = 3.0  # a board that takes longer counts as gone
LOOKS: Final = 3  # readings of the board's clock before the first report
TRUST_S: Final = 60.0  # a clock that drifts by `ASTRAY_S` in that time is broken (chosen)
ASTRAY_S: Final = 0.1
DOUBTS: Final = 3  # failed rounds in a row before it is reported: two may be a start


@dataclass(frozen=True, slots=True, kw_only=True)
class _Sight:
    """A reading of the board's clock against our own."""

    ahead_s: float  # how far the board's clock is ahead
    within_s: float  # the uncertainty of `ahead_s`
    at: float  # monotonic


def _followed(rung: RungAvailability) -> RungFollowed:
    return RungFollowed(
        stage=rung.stage,
        provider=rung.provider,
        breaker=rung.breaker.state,
        suspect=rung.suspect_since is not None,
    )


def _was_set(before: _Sight, after: _Sight) -> bool:
    """Return whether two readings can only differ because the clock was set."""
    apart_s = abs(after.ahead_s - before.ahead_s)
    return apart_s > before.within_s + after.within_s + ASTRAY_S


def _within(sight: _Sight) -> float:
    return sight.within_s


class Share:
    """One process's side of the shared board.

    Attributes:
        looked: Set after the first exchange, also a failed one: since then `leads` is known.
    """

    def __init__(self, rungs: Iterable[SharedRung], *, board: ProviderBoard, emit: Emit) -> None:
        """Share the health of these rungs, each at its place on the board."""
        self._rungs = {rung.place: rung for rung in rungs}
        self._board = board
        self._emit = emit
        self._unsaid: dict[tuple[str, Aspect], BoardWord] = {}  # the last report on each aspect
        self._led: frozenset[str] = frozenset()
        self._renew_at = 0.0
        self._sight: _Sight | None = None  # of the board's clock; `None` before the first reading
        self._misses = 0
        self._alone_since: float | None = None
        self.looked = asyncio.Event()

    def leads(self, place: str) -> bool:
        """Return whether this process should probe a rung; without the board, each process does."""
        return place in self._led or self._misses > 0

    async def run(self) -> None:
        """Exchange with the board repeatedly until cancelled."""
        while True:
            await self.look()
            await asyncio.sleep(LOOK_S)

    async def look(self) -> None:
        """Write our new reports to the board, and take over those of others."""
        self._listen_to_ourselves()
        try:
            async with asyncio.timeout(ANSWER_S):
                await self._exchange()
        except (StorageError, TimeoutError) as gone:
            self._count_miss(gone)
        else:
            self._rejoin()
        finally:
            self.looked.set()

    def doubt(self, broken: Exception) -> None:
        """Continue alone for now: a round failed in an unexpected way."""
        self._count_miss(StorageError(type(broken).__name__))

    async def close(self) -> None:
        """Leave the probing to others; does not wait for a board that hangs."""
        for part in (self._board.leave, self._board.close):
            try:
                async with asyncio.timeout(ANSWER_S):
                    await part()
            except (StorageError, TimeoutError):
                continue  # nothing depends on it: leases expire
            except Exception as broken:  # noqa: BLE001 - calls still have to end after this
                logger.opt(exception=broken).error("the shared health board could not be closed")

    def _listen_to_ourselves(self) -> None:
        """Collect our new reports; they wait until the board's clock was read."""
        if self._sight is None:
            return
        now = clock.monotonic()
        for rung in self._rungs.values():
            for word in rung.news(now, utc_s=now + self._sight.ahead_s):
                self._unsaid[word.place, word.aspect] = word

    async def _exchange(self) -> None:
        renews = clock.monotonic() >= self._renew_at
        if renews or self._sight is None:
            self._sight = await self._sight_clock()
            self._listen_to_ourselves()
        saying = dict(self._unsaid)
        await self._board.write(saying.values())
        for key, word in saying.items():
            if self._unsaid.get(key) is word:
                del self._unsaid[key]
        for word in await self._board.others(self._rungs):
            now = clock.monotonic()
            rung = self._rungs[word.place]
            changed = rung.heed(word, now, utc_s=now + self._sight.ahead_s)
            if changed and word.aspect in (Aspect.BREAKER, Aspect.SUSPICION):
                self._emit(_followed(rung.rung))
        if renews:
            self._led = await self._board.lease(self._rungs, for_s=LEASE_S)
            self._renew_at = clock.monotonic() + RENEW_S

    async def _sight_clock(self) -> _Sight:
        """Read the board's clock and return the best reading; the first time takes several.

        As in NTP (RFC 5905, 10 Clock Filter Algorithm), a quicker answer is a more certain one.
        """
        if self._sight is None:
            await self._board.clock_s()  # connects first, because connecting takes time
            return min([await self._look_at_clock() for _ in range(LOOKS)], key=_within)
        new = await self._look_at_clock()
        if new.at - self._sight.at >= TRUST_S or _was_set(self._sight, new):
            return new
        return min(new, self._sight, key=_within)

    async def _look_at_clock(self) -> _Sight:
        began = clock.monotonic()
        board_s = await self._board.clock_s()
        now = clock.monotonic()
        return _Sight(ahead_s=board_s - (began + now) / 2, within_s=(now - began) / 2, at=now)

    def _count_miss(self, gone: Exception) -> None:
        self._misses += 1
        self._renew_at = 0.0
        if self._misses == DOUBTS:
            self._alone_since = clock.monotonic()
            self._emit(ShareLost(reason=_reason(gone)))

    def _rejoin(self) -> None:
        if self._misses == 0:
            return
        self._misses = 0
        if self._alone_since is not None:
            self._emit(ShareRegained(alone_s=clock.monotonic() - self._alone_since))
            self._alone_since = None
        for rung in self._rungs.values():
            rung.tell_again()  # a restarted board may have forgotten everything


def _reason(gone: Exception) -> str:
    """Return in one line why we are alone."""
    return str(gone) if isinstance(gone, StorageError) else f"no answer within {ANSWER_S:g} s"


def places(settings: Settings) -> dict[tuple[str, str], str]:
    """Return each rung's place on the board: shared only by equal requests with the same key.

    A misspelt voice or refused options are no failure for a rung with other ones. A rung without a
    URL runs on its own machine and fails with it.
    """
    found: dict[tuple[str, str], str] = {}
    for stage, rung in settings.stages.rungs():
        asked = [
            rung.kind,
            rung.url or platform.node(),
            credential(rung),
            rung.model,
            rung.voice,
            rung.language or spoken(settings.agent.language, stage),
            getattr(rung, "alternatives", 1),
            rung.options,
        ]
        said = json.dumps(asked, sort_keys=True, default=str)
        mark = hashlib.sha256(said.encode()).hexdigest()[:12]
        found[stage, rung.name] = f"{stage}/{rung.name[:150]}/{mark}"
    return found


def board_at(share: str, *, holder: str) -> ProviderBoard:
    """Return the board at a valid address; it connects on first use.

    Args:
        share: The address.
        holder: The name under which this process writes, unique for each process.
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
) -> AsyncIterator[Share | None]:
    """Share while the block runs; yields `None` if sharing is not configured."""
    if settings.resilience.share == LOCAL:
        yield None
        return
    board = board_at(settings.resilience.share, holder=secrets.token_hex(8))
    rungs = [SharedRung(place, availability.of(*key)) for key, place in places(settings).items()]
    share = Share(rungs, board=board, emit=emit)
    try:
        async with asyncio.TaskGroup() as tasks:
            running = keep_running("a look at the board", share.run, on_failure=share.doubt)
            looking = tasks.create_task(running, name="share the providers' health")
            try:
                yield share
            finally:
                looking.cancel()
    finally:
        await share.close()
