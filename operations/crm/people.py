"""Reads a CRM's contacts page by page into a file for an import."""

import csv
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, cast
from urllib.parse import quote

from configuration.sections import CrmPeopleSettings, CrmSettings
from fallbacks.failure import Kind
from operations.crm.customer import dig, fill
from operations.crm.rest import (
    HUBSPOT,
    HUBSPOT_FIELDS,
    HUBSPOT_URL,
    RestRequest,
    is_full_url,
    path_on_host,
    text_of,
)
from operations.remote import RemoteError

NUMBER, NAME, CRM_ID = "number", "name", "crm_id"
MAX_PEOPLE: Final = 1_000_000  # of one import; more is implausible for one owner (chosen)
MAX_PAGES: Final = 100_000
Ask = Callable[[RestRequest], Awaitable[Any]]
"""Requests one page; raises the CRM's error."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PeopleMapping:
    """The requests for a CRM's contacts, and the paths in its answers.

    Attributes:
        request: For the first page.
        url: The CRM's address.
        found: The path to the list of contacts.
        next: The path to the next page's address or cursor.
        cursor: The query parameter for a cursor, for requests without a body.
        number: Paths within a contact; the first that is not empty counts.
        contact_id: The path within a contact.
        name: The paths to the parts of the name, within a contact.
        columns: The path of each further column, by name.
    """

    request: RestRequest
    url: str = ""
    found: str = "results"
    next: str = "next"
    cursor: str = "after"
    number: tuple[str, ...] = ("number",)
    contact_id: str = "id"
    name: tuple[str, ...] = ("name",)
    columns: Mapping[str, str] = field(default_factory=dict[str, str])

    @property
    def header(self) -> tuple[str, ...]:
        """The columns of the file."""
        return (NUMBER, NAME, CRM_ID, *self.columns)

    def page(self, after: str) -> RestRequest:
        """Return the request for a page.

        A full address is requested as it is. A cursor goes into the request's body, or into the
        query if there is no body.

        Args:
            after: The address or cursor from the page before; empty for the first page.

        Raises:
            RemoteError: The address is at another host.
        """
        request = self.request
        if is_full_url(after):
            path = path_on_host(after, self.url)
            if path is None:
                raise RemoteError(Kind.PROTOCOL, "its next page is not at crm.url")
            return RestRequest(method=request.method, path=path, body=request.body, rooted=True)
        if request.body is not None:
            body = fill(request.body, {"cursor": after})
            return RestRequest(method=request.method, path=request.path, body=body)
        if not after:
            return request
        joint = "&" if "?" in request.path else "?"
        path = f"{request.path}{joint}{quote(self.cursor)}={quote(after, safe='')}"
        return RestRequest(method=request.method, path=path)

    def row(self, person: Any) -> tuple[str, ...]:
        """Return a contact as a row: its first number, its name, its id, then `columns`."""
        numbers = (text_of(dig(person, path)) for path in self.number)
        name = " ".join(filter(None, (text_of(dig(person, path)) for path in self.name)))
        number = next(filter(None, numbers), "")
        more = (text_of(dig(person, path)) for path in self.columns.values())
        return (number, name, text_of(dig(person, self.contact_id)), *more)


def people_mapping(crm: CrmSettings) -> PeopleMapping | None:
    """Return how to read this CRM's contacts; `None` if it cannot list them."""
    if crm.kind == "hubspot":
        return _hubspot_mapping(crm)
    mapping = crm.mapping
    if crm.kind != "rest" or mapping is None or mapping.people is None:
        return None
    people: CrmPeopleSettings = mapping.people
    return PeopleMapping(
        request=RestRequest(method=people.method, path=people.path, body=people.body),
        url=crm.url or "",
        found=people.found,
        next=people.next,
        cursor=people.cursor,
        number=people.number,
        contact_id=mapping.contact_id,
        name=mapping.name,
        columns=_additional_columns({**mapping.fields, **crm.columns}),
    )


def _hubspot_mapping(crm: CrmSettings) -> PeopleMapping:
    """Return how to read HubSpot's contacts: 100 a page, with the properties that we need."""
    names = ("phone", "mobilephone", *HUBSPOT_FIELDS, *crm.columns.values())
    properties = quote(",".join(dict.fromkeys(names)), safe=",")
    known = {name: f"properties.{name}" for name in HUBSPOT_FIELDS[2:]}  # without the names
    configured = {column: f"properties.{name}" for column, name in crm.columns.items()}
    return PeopleMapping(
        request=RestRequest(
            method="GET", path=f"/crm/v3/objects/contacts?limit=100&properties={properties}"
        ),
        url=crm.url or HUBSPOT_URL,
        next="paging.next.after",
        number=("properties.phone", "properties.mobilephone"),
        name=HUBSPOT.name,
        columns=_additional_columns({**known, **configured}),
    )


def _additional_columns(columns: Mapping[str, str]) -> dict[str, str]:
    """Return the columns without those that every file has."""
    return {
        column: path for column, path in columns.items() if column not in (NUMBER, NAME, CRM_ID)
    }


async def read_people(mapping: PeopleMapping, ask: Ask) -> AsyncIterator[Sequence[Any]]:
    """Yield the contacts of each page, until there is no next one.

    Raises:
        RemoteError: An answer does not fit the mapping, or the pages never end.
    """
    after = ""  # the address or cursor of the next page
    seen = set[str]()
    for _ in range(MAX_PAGES):
        answer = await ask(mapping.page(after))
        found = dig(answer, mapping.found)
        if not isinstance(found, list):
            raise RemoteError(Kind.PROTOCOL, f"its answer has no contacts at {mapping.found}")
        yield cast("list[Any]", found)
        after = text_of(dig(answer, mapping.next))
        if not after:
            return
        if after in seen:
            raise RemoteError(Kind.PROTOCOL, f"it repeats the page {after[:40]}")
        seen.add(after)
    raise RemoteError(Kind.PROTOCOL, f"it has more than {MAX_PAGES} pages")


async def write_people(mapping: PeopleMapping, ask: Ask, target: Path) -> int:
    """Write all contacts into a file, page by page; return their number.

    After an error, the file holds the pages before it.

    Raises:
        RemoteError: As `read_people`, or there are too many.
    """
    count = 0
    with target.open("w", encoding="utf-8", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(mapping.header)
        async for page in read_people(mapping, ask):
            count += len(page)
            if count > MAX_PEOPLE:
                raise RemoteError(Kind.PROTOCOL, f"it has more than {MAX_PEOPLE} contacts")
            rows.writerows(mapping.row(item) for item in page)
    return count
