"""The spreadsheet over HTTP: rows are appended as they are, and keys are read.

`RAW` keeps what a cell says from being read as a formula, whatever a caller has said.
Source: Google Sheets API v4, spreadsheets.values.append and .get; its limits: 300 writes a minute
for a project and 60 for a user, which a service account is.
"""

import asyncio
import json
from collections.abc import Mapping, Sequence
from typing import Any, Final
from urllib.parse import quote

import aiohttp
from aiolimiter import AsyncLimiter

from bot import clock
from bot.config.sheets import SheetsSettings
from fallbacks.retry_after import retry_after_s
from operations.sheets.account import ServiceAccount
from operations.sheets.outbox import Cells
from operations.sheets.refusal import answered, said_nothing, went_quiet
from transports.http_requests import request

ASK_S: Final = 30.0
PER_MINUTE: Final = 50  # of the 60 that a user has, who may have another program
APPENDING: Final = {"valueInputOption": "RAW", "insertDataOption": "INSERT_ROWS"}
UNAUTHORIZED: Final = 401


class Sheet:
    """One spreadsheet; every method raises `SheetError` when it did not do it."""

    def __init__(self, settings: SheetsSettings, account: ServiceAccount) -> None:
        """Write to the spreadsheet in `settings`, as `account`."""
        place = quote(settings.spreadsheet_id, safe="")
        self._address = f"{settings.url.rstrip('/')}/v4/spreadsheets/{place}/values/"
        self._account = account
        self._pace = AsyncLimiter(PER_MINUTE, 60.0)

    async def append(self, tab: str, rows: Sequence[Cells]) -> None:
        """Put rows behind the last one."""
        said = {"majorDimension": "ROWS", "values": [list(each) for each in rows]}
        await self._ask("POST", f"{_range(tab, 'A1')}:append", params=APPENDING, json=said)

    async def keys(self, tab: str) -> set[str]:
        """Return what stands in the first column."""
        told = await self._ask("GET", _range(tab, "A:A"))
        return {str(row[0]) for row in told.get("values", ()) if row}

    async def _ask(self, method: str, path: str, **said: Any) -> Mapping[str, Any]:
        headers = {"Authorization": f"Bearer {await self._account.token()}"}
        async with self._pace:
            status, told, heads = await self._request(method, path, headers=headers, **said)
        if status == UNAUTHORIZED:
            self._account.forget()
        if status >= 300:  # also one that names another place: we follow none
            wait_s = retry_after_s(heads, utc_s=clock.utc_now().timestamp())
            raise answered(status, _why(told), retry_after_s=wait_s)
        if told is None:
            raise said_nothing()
        return told

    async def _request(
        self, method: str, path: str, **said: Any
    ) -> tuple[int, Mapping[str, Any] | None, Mapping[str, str]]:
        try:
            async with (
                asyncio.timeout(ASK_S),
                request(method, self._address + path, allow_redirects=False, **said) as answer,
            ):
                return answer.status, _read(await answer.read()), answer.headers
        except (TimeoutError, aiohttp.ClientError, OSError) as error:
            raise went_quiet(error) from None


def _range(tab: str, cells: str) -> str:
    """Return a range of a tab, whose name may hold anything."""
    return quote("'" + tab.replace("'", "''") + "'!" + cells, safe="!:")


def _read(body: bytes) -> Mapping[str, Any] | None:
    """Return an answer; None: it is none, and something else may stand in the way."""
    try:
        told = json.loads(body)
    except ValueError:
        return None
    return told if isinstance(told, dict) else None


def _why(told: Mapping[str, Any] | None) -> str:
    error = told.get("error") if told else None
    return str(error.get("status", "")) if isinstance(error, dict) else ""
