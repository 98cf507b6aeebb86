"""Pages of a register's people as rows of a file of contacts, for an import."""

import csv
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, cast
from urllib.parse import quote

from bot.config.sections import CrmPeopleSettings, CrmSettings
from fallbacks.failure import Kind
from operations.crm import rest as hubspot
from operations.crm.customer import dig, fill
from operations.crm.port import CrmError
from operations.crm.rest import RestRequest, is_whole, path_here, text_of

NUMBER, NAME, CRM_ID = "number", "name", "crm_id"
MOST_PEOPLE: Final = 1_000_000  # of one import; more is no register of one owner (chosen)
MOST_PAGES: Final = 100_000
Ask = Callable[[RestRequest], Awaitable[Any]]
"""Asks a register for one page; raises what says that it came to nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PeopleMapping:
    """How a register's people are asked for, and where in its answer what stands.

    Attributes:
        request: Of the first page.
        url: Where the register is.
        columns: The path to each further column, by its name.
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
        """Return the request of the page that begins there; empty: of the first.

        Raises:
            CrmError: It is said to be at another place.
        """
        request = self.request
        if is_whole(after):
            path = path_here(after, self.url)
            if path is None:
                raise CrmError(Kind.PROTOCOL, "its next page is at another place than crm.url")
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
        """Return a person as a row."""
        numbers = (text_of(dig(person, item)) for item in self.number)
        name = " ".join(filter(None, (text_of(dig(person, text)) for text in self.name)))
        more = (text_of(dig(person, column)) for column in self.columns.values())
        own = (next(filter(None, numbers), ""), name, text_of(dig(person, self.contact_id)))
        return (*own, *more)


def people_mapping(crm: CrmSettings) -> PeopleMapping | None:
    """Return how this register's people are asked for; None: they cannot be."""
    if crm.kind == "hubspot":
        return _hubspot(crm)
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
        columns=_columns({**mapping.fields, **crm.columns}),
    )


def _hubspot(crm: CrmSettings) -> PeopleMapping:
    asked = ("phone", "mobilephone", *hubspot.KNOWN, *crm.columns.values())
    properties = quote(",".join(dict.fromkeys(asked)), safe=",")
    own = {name: f"properties.{name}" for name in hubspot.KNOWN[2:]}
    theirs = {column: f"properties.{name}" for column, name in crm.columns.items()}
    return PeopleMapping(
        request=RestRequest(
            method="GET", path=f"/crm/v3/objects/contacts?limit=100&properties={properties}"
        ),
        url=crm.url or hubspot.URL,
        next="paging.next.after",
        number=("properties.phone", "properties.mobilephone"),
        name=hubspot.HUBSPOT.name,
        columns=_columns({**own, **theirs}),
    )


def _columns(columns: Mapping[str, str]) -> dict[str, str]:
    return {each: path for each, path in columns.items() if each not in (NUMBER, NAME, CRM_ID)}


async def read_people(mapping: PeopleMapping, ask: Ask) -> AsyncIterator[Sequence[Any]]:
    """Yield the people of each page, until there is no next one.

    Raises:
        CrmError: An answer is not what the mapping says, or it never ends.
    """
    after, seen = "", set[str]()
    for _ in range(MOST_PAGES):
        answer = await ask(mapping.page(after))
        found = dig(answer, mapping.found)
        if not isinstance(found, list):
            raise CrmError(Kind.PROTOCOL, f"there are no people at {mapping.found} in its answer")
        yield cast("list[Any]", found)
        after = text_of(dig(answer, mapping.next))
        if not after:
            return
        if after in seen:
            raise CrmError(Kind.PROTOCOL, f"it names the page {after[:40]} a second time")
        seen.add(after)
    raise CrmError(Kind.PROTOCOL, f"it has more than {MOST_PAGES} pages")


async def write_people(mapping: PeopleMapping, ask: Ask, target: Path) -> int:
    """Write all people into a file, a page at a time; return how many they are.

    Raises:
        CrmError: As `read_people`, or there are too many.
    """
    count = 0
    with target.open("w", encoding="utf-8", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(mapping.header)
        async for page in read_people(mapping, ask):
            count += len(page)
            if count > MOST_PEOPLE:
                raise CrmError(Kind.PROTOCOL, f"it has more than {MOST_PEOPLE} people")
            rows.writerows(mapping.row(item) for item in page)
    return count
