"""The parts of a process are closed, also when one of them fails to close."""

from pathlib import Path
from typing import Any, cast

import pytest

from bot.workers import process
from bot.workers.lag import LagReporter
from bot.workers.listeners import own_listeners
from bot.workers.process import open_shared
from fallbacks.lag import Lag
from operations.database.database import Database
from runtime import clock
from tests.bot.workers.test_pool_client import settings_with


class Closable:
    """Records that it was closed; may fail while doing so."""

    def __init__(self, *, fails: bool = False) -> None:
        self.closed = False
        self._fails = fails

    async def close(self) -> None:
        self.closed = True
        if self._fails:
            raise ConnectionResetError("already gone")


@pytest.fixture
def parts(monkeypatch: pytest.MonkeyPatch) -> dict[str, Closable]:
    found = {"first": Closable(fails=True), "second": Closable(fails=True), "menu": Closable()}
    services = {name: found[name] for name in ("first", "second")}
    monkeypatch.setattr(process, "share_providers", lambda _: services)
    monkeypatch.setattr(process.LastResort, "of", lambda *_: found["menu"])
    return found


async def open_and_close(tmp_path: Path, *, error: Exception | None = None) -> None:
    measuring = LagReporter(lag=Lag(), emit=lambda _: None, clock=clock.monotonic)
    settings, nothing = settings_with(), cast("Any", None)
    own = own_listeners(settings, words=False, metrics_folder=None, record_listener=None)
    async with (
        Database(f"sqlite+aiosqlite:///{tmp_path}/x.db") as database,
        open_shared(settings, database, own, nothing, measuring),
    ):
        if error:
            raise error


async def test_a_service_that_does_not_close_does_not_keep_others_open(
    parts: dict[str, Closable], tmp_path: Path
) -> None:
    with pytest.raises(ConnectionResetError):
        await open_and_close(tmp_path)

    assert [name for name, part in parts.items() if not part.closed] == []


async def test_services_are_closed_after_an_error(
    parts: dict[str, Closable], tmp_path: Path
) -> None:
    with pytest.raises((LookupError, ConnectionResetError)):
        await open_and_close(tmp_path, error=LookupError())

    assert [name for name, part in parts.items() if not part.closed] == []
