"""Runs the mirror while a server runs, if it is configured."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime

from calls.entry import Emit
from configuration.settings import Settings
from operations.database.database import Database
from operations.database.database_clock import DatabaseClock
from operations.keep_running import at_work
from operations.retrying import Retries
from runtime import clock


@asynccontextmanager
async def mirror_in_sheet(
    settings: Settings, database: Database, *, emit: Emit, leads: Callable[[], bool]
) -> AsyncIterator[None]:
    """Mirror calls and alerts during the block, if that is configured."""
    sheets = settings.sheets
    if not sheets.enabled or sheets.credentials_file is None:
        yield
        return
    # Not at the top: google-auth is an extra.
    from operations.notify.alert_outbox import AlertHistory  # noqa: PLC0415
    from operations.sheets.mirror import ALERTS, CALLS, SheetMirror  # noqa: PLC0415
    from operations.sheets.sheet import ServiceAccount, Sheet  # noqa: PLC0415
    from operations.sheets.sheet_outbox import SheetOutbox  # noqa: PLC0415

    now = DatabaseClock(database, utc_s=clock.utc_s, monotonic=clock.monotonic)
    mirror = SheetMirror(
        Sheet(sheets, ServiceAccount(sheets.credentials_file, clock=clock.monotonic)),
        SheetOutbox(database, clock=now),
        AlertHistory(database),
        tabs={CALLS: sheets.calls_tab, ALERTS: sheets.alerts_tab},
        retries=Retries(settings=settings.resilience.retry_settings(), emit=emit),
        leads=leads,
        utc_now=lambda: datetime.fromtimestamp(now.now_s(), UTC),
    )
    async with at_work(mirror=mirror.run()):
        yield
