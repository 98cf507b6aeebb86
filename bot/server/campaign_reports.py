"""A campaign's report over HTTP: the same files that `holdline campaign report` writes."""

import asyncio
import csv
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import BinaryIO, Final

from fastapi import APIRouter
from fastapi.responses import JSONResponse, Response, StreamingResponse

from bot.exits import UsageError
from bot.outbound.opening import Outbound
from campaigns.state import report_campaign
from operations.csv_cells import safe_cell
from operations.database.database import StorageError
from operations.privacy import masked

PIECE_BYTES: Final = 64 * 1024
KINDS: Final = {"html": "text/html; charset=utf-8", "csv": "text/csv; charset=utf-8"}
PAGE_HEADERS: Final = {
    # The page has a sheet of its own in it, and nothing else of a page: no script, no picture.
    "Content-Security-Policy": (
        "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; "
        "frame-ancestors 'none'"
    ),
    "Cache-Control": "no-store",
    "X-Content-Type-Options": "nosniff",
}


class CampaignReports:
    """Writes one report at a time."""

    def __init__(self, outbound: Outbound) -> None:
        """Report on the campaigns that are configured, from their database."""
        self._outbound = outbound
        self._writing = asyncio.Lock()

    async def page(self, name: str) -> Response:
        """Return the report as a page; it has no numbers of people."""
        return await self._answer(name, "html", headers=PAGE_HEADERS, numbers=True)

    async def lines(self, name: str, *, numbers: bool = False) -> Response:
        """Return a line for each contact, to be kept as a file."""
        headers = PAGE_HEADERS | {"Content-Disposition": f'attachment; filename="{name}.csv"'}
        return await self._answer(name, "csv", headers=headers, numbers=numbers)

    async def _answer(
        self, name: str, ending: str, *, headers: Mapping[str, str], numbers: bool
    ) -> Response:
        if name not in self._outbound.campaigns:
            return _refused("There is no such campaign.", 404)
        if self._writing.locked():
            return _refused("Another report is being written; ask again in a moment.", 503)
        url = self._outbound.url
        try:
            async with self._writing:
                file = await asyncio.to_thread(_write, url, name, ending, numbers=numbers)
        except UsageError:
            return _refused("This campaign has no contacts yet.", 404)
        except StorageError:
            return _refused("The database does not answer.", 503)
        return StreamingResponse(_pieces(file), media_type=KINDS[ending], headers=headers)


def report_router(outbound: Outbound) -> APIRouter:
    """Return the routes of the reports; numbers are masked unless somebody asks for them."""
    router, reports = APIRouter(prefix="/api/campaigns/{name}"), CampaignReports(outbound)
    router.add_api_route("/report.html", reports.page, response_model=None)
    router.add_api_route("/report.csv", reports.lines, response_model=None)
    return router


def _write(url: str, name: str, ending: str, *, numbers: bool) -> BinaryIO:
    """Write a report and open it; its name is gone then, so nothing of it stays behind. Blocks."""
    with tempfile.TemporaryDirectory(prefix="holdline-report-") as place:
        folder = Path(place)
        # On a loop of this thread: the server's has calls to look after.
        asyncio.run(report_campaign(url, name, folder, say=lambda _: None))
        path = folder / f"{name}.{ending}"
        return (path if numbers else _masked_file(path)).open("rb")


def _masked_file(path: Path) -> Path:
    """Return a copy in which every number is masked."""
    copy = path.with_suffix(".masked")
    with (
        path.open(encoding="utf-8", newline="") as file,
        copy.open("w", encoding="utf-8", newline="") as to,
    ):
        rows = csv.DictReader(file)
        writer = csv.DictWriter(to, rows.fieldnames or ())
        writer.writeheader()
        for row in rows:
            writer.writerow(row | {"number": safe_cell(masked(row["number"].lstrip("'")))})
    return copy


def _pieces(file: BinaryIO) -> Iterator[bytes]:
    with file:
        while piece := file.read(PIECE_BYTES):
            yield piece


def _refused(why: str, status: int) -> JSONResponse:
    return JSONResponse({"detail": why}, status_code=status)
