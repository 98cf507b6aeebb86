"""`/api/campaigns/NAME/contacts` and `/summary`: its contacts; what a start would do."""

import asyncio
import gzip
import io
import tempfile
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, Final

from fastapi import APIRouter, Body, Request

from bot.outbound.outbound import Outbound
from bot.server.api_route import ApiRoute, Refused
from bot.server.operator_routes import NAME_CHARACTERS, By, OperatorWord, emit_action
from calls.entry import Emit
from campaigns.importing import (
    ImportPlan,
    ImportRefusedError,
    ImportTally,
    RefusedRow,
    import_contacts,
)
from campaigns.model import Campaign
from campaigns.refusals import CURES, cure_of
from campaigns.store.queue import take_out
from campaigns.summary import StartSummary, summarize
from contacts.numbers import readings_of
from operations.masking import mask_number, without_phones
from runtime.exits import CommandError, UsageError

MAX_FILE_BYTES: Final = 4 << 20  # decompressed; about fifty thousand rows
MAX_LINES: Final = 10  # line numbers listed for each reason
GZIP: Final = b"\x1f\x8b"
DAMAGED: Final = "The compressed file is damaged or incomplete; compress it again."
TOO_LARGE: Final = "The file is too large for the browser; use holdline {} import."
BUSY: Final = "Another file is being read. Try again in a moment."

Number = Annotated[str, Body(max_length=60)]


def contact_router(outbound: Outbound, emit: Emit, *, region: str) -> APIRouter:
    """Return the routes; a file may be compressed with gzip, so that more fits in a request.

    Args:
        outbound: The campaigns, and their database.
        emit: Emits an `OperatorActed` for each import, and for each contact that is taken out.
        region: The country of numbers without a country code, for campaigns that set none.
    """
    router = APIRouter(prefix="/api/campaigns/{name}", route_class=ApiRoute)
    uploads = ContactUploads(outbound, emit, region)
    router.add_api_route("/summary", uploads.summary, response_model=None)
    router.add_api_route("/contacts", uploads.import_file, methods=["POST"], response_model=None)
    remove = "/contacts/remove"
    router.add_api_route(remove, uploads.take_out, methods=["POST"], response_model=None)
    return router


class ContactUploads:
    """Imports uploaded files of contacts, one at a time, and takes single contacts out."""

    def __init__(self, outbound: Outbound, emit: Emit, region: str) -> None:
        self._outbound = outbound
        self._emit = emit
        self._region = region
        self._reading = asyncio.Lock()

    def _campaign_or_refuse(self, name: str) -> Campaign:
        if (campaign := self._outbound.campaigns.get(name)) is None:
            raise Refused("There is no such campaign.", 404)
        return campaign

    async def summary(self, name: str) -> dict[str, Any]:
        """Return what a start would do."""
        campaign, outbound = self._campaign_or_refuse(name), self._outbound
        database, now = outbound.figures.database, outbound.now_s()
        found = await summarize(campaign, database, currency=outbound.currency, now=now)
        return _summary_as_json(found)

    async def import_file(
        self, request: Request, name: str, by: str = "", *, preview: bool = True
    ) -> dict[str, Any]:
        """Import the file in the request's body; with `preview`, only return what that would do.

        Raises:
            Refused: Another import runs (503), or there is no such campaign.
        """
        campaign = self._campaign_or_refuse(name)
        if self._reading.locked():
            raise Refused(BUSY, 503)
        async with self._reading:
            data = await asyncio.to_thread(unpack, await request.body(), command="campaign")
            result = await _import_rows(
                self._outbound, campaign, data, self._region, preview=preview
            )
        if not preview:
            word = OperatorWord(by=by[:NAME_CHARACTERS])
            emit_action(self._emit, request, "import", target=name, word=word)
        return result

    async def take_out(
        self, request: Request, name: str, number: Number, by: By = ""
    ) -> dict[str, Any]:
        """Exclude the contact with a number, in any notation, from all further dials.

        Raises:
            Refused: It is no number, the campaign has no contact with it (404), or it may be more
                than one number.
        """
        region = self._campaign_or_refuse(name).region or self._region or None
        readings = readings_of(number, region=region)
        if not readings:
            raise Refused(f"{CURES['not_a_number'].capitalize()}.")
        found = await take_out(self._outbound.queue.database, name, readings)
        if not found:
            raise Refused("The campaign has no contact with this number.", 404)
        if len(found) > 1:
            raise Refused(f"This may be {' or '.join(found)}. Write the one that you mean.")
        target = f"{name}: {mask_number(found[0])}"
        emit_action(self._emit, request, "take_out", target=target, word=OperatorWord(by=by))
        return {"number": mask_number(found[0])}


async def _import_rows(
    outbound: Outbound, campaign: Campaign, data: bytes, region: str, *, preview: bool
) -> dict[str, Any]:
    """Import the rows of a file; return their counts, and the first refused lines by reason."""
    lines: dict[str, list[int]] = {}

    def note_refused(row: RefusedRow) -> None:
        # After a colon, a reason lists the possible readings of the number.
        of_reason = lines.setdefault(row.reason.partition(":")[0], [])
        if len(of_reason) < MAX_LINES:
            of_reason.append(row.line)

    with upload() as file:
        await asyncio.to_thread(file.write_bytes, data)
        plan = ImportPlan(
            file=file,
            campaign=campaign,
            now=outbound.now_s(),
            region=region,
            order_rules=outbound.gate.rules,
        )
        contacts = replace(outbound.contacts, dry=preview)
        tally = await import_contacts(plan, contacts, note_refused)
    return _tally_as_json(tally, campaign, lines) | {"preview": preview}


def _tally_as_json(
    tally: ImportTally, campaign: Campaign, lines: Mapping[str, Sequence[int]]
) -> dict[str, Any]:
    """Return an import's result; `lines` names the refused rows of each reason."""
    refused = _reasons_as_json(tally.refused, campaign)
    return {
        "rows": tally.rows,
        "added": tally.added,
        "updated": tally.updated,
        "known": tally.known,
        "refused": [item | {"lines": lines[item["reason"]]} for item in refused],
        "never": _reasons_as_json(tally.never, campaign),
        "about_columns": tally.about_columns,
        "encoding": tally.encoding,
        "sample": tally.sample,
    }


def _reasons_as_json(counts: Mapping[str, int], campaign: Campaign) -> Sequence[dict[str, Any]]:
    return [
        {"reason": reason, "contacts": count, "cure": cure_of(reason, campaign)}
        for reason, count in sorted(counts.items(), key=lambda item: -item[1])
    ]


def _summary_as_json(summary: StartSummary) -> dict[str, Any]:
    """Return what a start would do, as the console shows it before; names without numbers."""
    return {
        "callable": summary.callable,
        "opens_s": summary.opens_s,
        "countries": summary.countries,
        "names": [without_phones(name) for name in summary.names],
        "never": _reasons_as_json(summary.never, summary.campaign),
        "lacking": summary.lacking,
        "cost": summary.cost,
        "currency": summary.currency,
        "lines": [without_phones(line) for line in summary.lines()],
        "why_none": summary.why_none,
    }


def unpack(body: bytes, *, command: str) -> bytes:
    """Return the file in a request's body, decompressed if that is gzip. Blocks.

    Raises:
        Refused: It is too large, and `command` can import it; or it is not valid gzip.
    """
    if not body.startswith(GZIP):
        return body
    try:
        data = gzip.GzipFile(fileobj=io.BytesIO(body)).read(MAX_FILE_BYTES + 1)
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise Refused(DAMAGED) from error
    if len(data) > MAX_FILE_BYTES:
        raise Refused(TOO_LARGE.format(command), 413)
    return data


@contextmanager
def upload() -> Iterator[Path]:
    """Yield the path for a temporary file, which is deleted after the block.

    Raises:
        Refused: The import in the block has refused the file, whose path means nothing to the
            operator.
    """
    with tempfile.TemporaryDirectory(prefix="holdline-upload-") as folder:
        file = Path(folder) / "upload.csv"
        try:
            yield file
        except (ImportRefusedError, UsageError, CommandError) as error:
            raise Refused(str(error).replace(str(file), "The file")) from error
