"""`/api/calls/search`: calls on record, by date, party, agent, campaign, result and verdict.

Calls in progress are on record, too. The list is JSON, and a CSV file at `/search.csv`.
"""

import csv
import io
import re
from collections.abc import Mapping
from dataclasses import asdict, fields, replace
from datetime import datetime
from typing import Annotated, Any, Final

from fastapi import APIRouter, Query, Request
from fastapi.responses import Response
from pydantic import AfterValidator, BaseModel, Field

from bot.server.call_routes import CallRoute, to_utc, with_iso_times
from bot.server.operator_routes import Disclosures
from calls.sentences import ENDS, OUTCOMES, WHYS, phrase
from contacts.numbers import readings_of
from operations.masking import ending, mask_number, without_phones
from operations.record.call_list import CallFilter, CallList, ListedCall
from operations.record.exporting import cell

MAX_LISTED: Final = 200  # calls in one page
MAX_LINES: Final = 10_000  # calls in one CSV file, which ignores `limit`
MAX_DIGITS: Final = 15  # of a number in international format
NOTATION: Final = re.compile(r"(?:tel:)?[\d\s+()./\u2010-\u2015-]*\d[\s)]*")
WHOLE_DIGITS: Final = 6  # with more, it is a whole number and not only its end
COLUMNS: Final = tuple(field.name for field in fields(ListedCall))

Word = Annotated[str, Field(max_length=100)]


def _digits_to_search(number: str) -> str:
    """Return the digits to search: of the one number that it can be, else as they are.

    A zero before an area code is left out, because numbers are stored in international format.
    """
    if number and not NOTATION.fullmatch(number):
        raise ValueError("must be a telephone number, or its last digits")
    readings = readings_of(number, region=None)
    digits = "".join(filter(str.isdecimal, readings[0] if len(readings) == 1 else number))
    return (digits.lstrip("0") if len(digits) > WHOLE_DIGITS else digits)[-MAX_DIGITS:]


class CallQuery(BaseModel):
    """The parameters of a search; an empty one does not filter."""

    since: datetime | None = None
    before: datetime | None = None
    number: Annotated[str, Field(max_length=60), AfterValidator(_digits_to_search)] = ""
    """The other party's number in any notation, or its last digits."""
    name: Word = ""
    agent: Word = ""
    campaign: Word = ""
    result: Word = ""
    verdict: Word = ""
    numbers: bool = False
    limit: Annotated[int, Field(ge=1, le=MAX_LISTED)] = 50

    def filter(self, *, least: int = 0) -> CallFilter:
        """Return the filter for the record's query; `least` is the length of numbers to search."""
        return CallFilter(
            since=None if self.since is None else to_utc(self.since),
            before=None if self.before is None else to_utc(self.before),
            number=self.number,
            least_length=least,
            name=self.name,
            agent=self.agent,
            campaign=self.campaign,
            result=self.result,
            verdict=self.verdict,
        )


QueryParams = Annotated[CallQuery, Query()]


def call_list_router(calls: CallList, disclosures: Disclosures) -> APIRouter:
    """Return the routes; numbers are masked, and each request for complete ones is recorded.

    A search cannot find what the answer hides: `disclosures` checks and records one that could.
    """
    router = APIRouter(prefix="/api/calls", route_class=CallRoute)

    def checked(request: Request, query: CallQuery) -> CallFilter:
        if any(map(str.isdecimal, query.name)):  # a contact's name may be its number
            disclosures.note(request, "unmask", "a search by number")
        return query.filter(least=disclosures.check_search(request, query.number))

    @router.get("/search", response_model=None)
    async def search(  # pyright: ignore[reportUnusedFunction]
        request: Request, query: QueryParams
    ) -> Mapping[str, Any]:
        wanted = checked(request, query)
        answer = await _page_as_json(calls, wanted, query)
        if query.numbers:
            disclosures.note(request, "unmask", f"{len(answer['calls'])} calls of the list")
        return answer

    @router.get("/search.csv", response_model=None)
    async def lines(  # pyright: ignore[reportUnusedFunction]
        request: Request, query: QueryParams
    ) -> Response:
        wanted = checked(request, query)
        text = await _csv_of(calls, wanted, numbers=query.numbers)
        if query.numbers:
            disclosures.note(request, "unmask", "the file of calls")
        headers = {"Content-Disposition": 'attachment; filename="calls.csv"'}
        headers |= {"Cache-Control": "no-store"}
        return Response(text, media_type="text/csv; charset=utf-8", headers=headers)

    return router


async def _page_as_json(calls: CallList, wanted: CallFilter, query: CallQuery) -> dict[str, Any]:
    """Return a page of matching calls, the sums of all, and the values that filters can take."""
    rows, sums = await calls.find(wanted, limit=query.limit), await calls.sums(wanted)
    choices = await calls.choices()
    found = [with_iso_times(_call_json(row, numbers=query.numbers)) for row in rows]
    says = {code: phrase(OUTCOMES, code) for code in choices.results}
    offered = asdict(choices) | {"results_say": says}
    return {"calls": found, "sums": [asdict(row) for row in sums], "choices": offered}


def _call_json(call: ListedCall, *, numbers: bool) -> dict[str, Any]:
    """Return a call with its result in words and, as `ending`, its number's last digits.

    The number itself is masked unless `numbers`; also in a name that is, or has, a number.
    """
    code = call.result or call.reason or call.state
    result = phrase(OUTCOMES if call.result else ENDS, code)
    shown = asdict(call) | {"ending": ending(call.number), "result_says": result}
    shown |= {"why_says": phrase(WHYS, call.why)}
    hidden = {"number": mask_number(call.number), "name": without_phones(call.name)}
    return shown if numbers else shown | hidden


async def _csv_of(calls: CallList, page_filter: CallFilter, *, numbers: bool) -> str:
    """Return at most `MAX_LINES` calls as CSV.

    They are read page by page, so that calls in progress on this event loop do not wait.
    """
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(COLUMNS)
    for _ in range(MAX_LINES // MAX_LISTED):
        page = await calls.find(page_filter, limit=MAX_LISTED)
        for call in page:
            row = _call_json(call, numbers=numbers)
            writer.writerow([cell(row[column]) for column in COLUMNS])
        if len(page) < MAX_LISTED:
            break
        page_filter = replace(page_filter, before=page[-1].started_at)
    return text.getvalue()
