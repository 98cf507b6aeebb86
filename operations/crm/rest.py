"""A register behind HTTP and JSON: which request means what stands in the configuration."""

import asyncio
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import SplitResult, quote, urlsplit

import aiohttp

from calls.caller import without_halves
from fallbacks.failure import Kind
from fallbacks.retry_after import retry_after_s
from operations.crm.customer import CrmContact, CrmReport, dig, fill
from operations.crm.port import CrmError, refused, unanswered
from transports.http_requests import request

# A next page that a register names by a whole address: followed at the register itself alone.
#
# The key of the register goes with each request, so no link of an answer may say where that is
# sent.

PORTS: Final = {"http": 80, "https": 443}
WHOLE: Final = re.compile(r"https?://", re.IGNORECASE)
PLAIN: Final = re.compile(r"[!-\[\]-~]{1,2000}")
"""ASCII without spaces, lines and backslashes, which readers of addresses disagree about."""


def is_whole(link: str) -> bool:
    """Say whether a register names a page by its address, rather than by a mark."""
    return WHOLE.match(link) is not None


def path_here(link: str, url: str) -> str | None:
    """Return path and query of a link; None: it leads to another place than the register's."""
    if PLAIN.fullmatch(link) is None:
        return None
    try:
        there, here = urlsplit(link), urlsplit(url)
        if "@" in there.netloc or _origin(there) != _origin(here):
            return None
    except ValueError:  # a port that is none
        return None
    return (there.path or "/") + (f"?{there.query}" if there.query else "")


def root_of(url: str) -> str:
    """Return an address without its path."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}"


def _origin(parts: SplitResult) -> tuple[str, str | None, int | None]:
    return parts.scheme, parts.hostname, parts.port or PORTS.get(parts.scheme)


MOST_BYTES: Final = 256 << 10  # of an answer
MOST_WAIT_S: Final = 3600.0  # whatever a far end asks for


@dataclass(frozen=True, slots=True, kw_only=True)
class RestRequest:
    """One request, with places such as `{number}`.

    Attributes:
        path: Behind the address; values in it are escaped.
        body: JSON; None: the request has none.
        rooted: The path is one that the register itself has named: whole, and with no places in it.
    """

    method: str
    path: str
    body: Mapping[str, Any] | None = None
    rooted: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class RestMapping:
    """How a register is asked and told.

    Attributes:
        look_up: Asks who has a number; None: it is not asked.
        found: The path to the first one found; a register that found nobody has nothing there.
        contact_id: The path to its id, from there.
        name: The paths to the parts of its name, from there.
        fields: The paths to what else a model is told, by name.
        write: Tells of a call; None: it is told nothing.
        key_header: Carries the report's key; empty: it knows no such keys.
    """

    look_up: RestRequest | None = None
    found: str = ""
    contact_id: str = "id"
    name: tuple[str, ...] = ("name",)
    fields: Mapping[str, str] = field(default_factory=dict[str, str])
    write: RestRequest | None = None
    key_header: str = "Idempotency-Key"


@dataclass(frozen=True, slots=True, kw_only=True)
class RestPlace:
    """Where it is, and what opens it."""

    url: str
    headers: Mapping[str, str] = field(default_factory=dict[str, str], repr=False)
    timeout_s: float = 5.0


class RestCrm:
    """One register over HTTP."""

    def __init__(self, name: str, place: RestPlace, mapping: RestMapping) -> None:
        """Ask the register at `place`; `mapping` says which of its fields are which of ours."""
        self._name = name
        self._place = place
        self._mapping = mapping

    @property
    def name(self) -> str:
        """What it is called in the log."""
        return self._name

    async def look_up(self, number: str) -> CrmContact | None:
        """Return whom it knows under a number."""
        if self._mapping.look_up is None:
            return None
        try:
            answer = await self.ask(self._mapping.look_up, {"number": number})
        except CrmError as error:
            if error.kind is Kind.NOT_FOUND:  # some say so of a person whom they do not know
                return None
            raise
        return self._contact(dig(answer, self._mapping.found))

    async def write(self, report: CrmReport) -> None:
        """Tell it of a call."""
        if self._mapping.write is None:
            return
        header = self._mapping.key_header
        headers = {header: report.key} if header else {}
        await self.ask(self._mapping.write, report.values(), headers=headers)

    async def close(self) -> None:
        """Do nothing: its connections belong to the process."""

    def _contact(self, found: Any) -> CrmContact | None:
        if not isinstance(found, Mapping):
            return None
        mapping = self._mapping
        name = " ".join(filter(None, (text_of(dig(found, text)) for text in mapping.name)))
        fields = {key: text_of(dig(found, path)) for key, path in mapping.fields.items()}
        return CrmContact(id=text_of(dig(found, mapping.contact_id)), name=name, fields=fields)

    async def ask(
        self,
        asked: RestRequest,
        values: Mapping[str, Any],
        *,
        headers: Mapping[str, str] | None = None,
        most_bytes: int = MOST_BYTES,
    ) -> Any:
        """Return the JSON it answers to a request with these values in their places, or `None`.

        Raises:
            CrmError: It refused, did not answer, or answered with something else.
        """
        url = self._address(asked, values)
        body = None if asked.body is None else json.dumps(fill(asked.body, values)).encode()
        told = {**self._place.headers, **(headers or {}), "content-type": "application/json"}
        try:
            async with request(
                asked.method,
                url,
                data=body,
                headers=told,
                allow_redirects=False,
                timeout=aiohttp.ClientTimeout(total=self._place.timeout_s),
            ) as said:
                text = await _read(said.content, most_bytes)
        except (TimeoutError, ValueError, aiohttp.ClientError, OSError) as error:
            raise unanswered(error) from None  # its text may hold the address
        check_taken(said.status, said.headers)
        try:
            return await asyncio.to_thread(json.loads, text) if text.strip() else None
        except ValueError:
            raise CrmError(Kind.PROTOCOL, "the answer is no JSON") from None

    def _address(self, request: RestRequest, values: Mapping[str, Any]) -> str:
        if request.rooted:
            return root_of(self._place.url) + request.path
        escaped = {key: quote(str(value), safe="") for key, value in values.items()}
        return self._place.url.rstrip("/") + fill(request.path, escaped)


def check_taken(status: int, headers: Mapping[str, str]) -> None:
    """Do nothing about an answer that says that it was done.

    Raises:
        CrmError: It says that it was not.
    """
    if not 200 <= status < 300:
        wait_s = retry_after_s(headers)  # a date is read beside the answer's own
        raise refused(status, retry_after_s=wait_s and min(wait_s, MOST_WAIT_S))


async def _read(content: aiohttp.StreamReader, most_bytes: int) -> bytes:
    """Return a whole answer; what came in several pieces is read to its end."""
    text = bytearray()
    async for piece in content.iter_any():
        text += piece
        if len(text) > most_bytes:
            raise CrmError(Kind.PROTOCOL, f"the answer is larger than {most_bytes} bytes")
    return bytes(text)


def text_of(value: Any) -> str:
    """Return what is known, as text; a list and an object are none.

    Half a sign, as a register leaves of an emoji that it has cut, is none either: no file and no
    request takes it, that of a model included.
    """
    return "" if value is None or isinstance(value, dict | list) else without_halves(str(value))


# HubSpot: people by their number, and calls as engagements.
#
# Source: developers.hubspot.com, CRM API v3: objects/contacts/search, objects/calls.

URL: Final = "https://api.hubapi.com"
KNOWN: Final = ("firstname", "lastname", "email", "company", "lifecyclestage")


HUBSPOT: Final = RestMapping(
    look_up=RestRequest(
        method="POST",
        path="/crm/v3/objects/contacts/search",
        body={
            "filterGroups": [
                {"filters": [{"propertyName": item, "operator": "EQ", "value": "{number}"}]}
                for item in ("phone", "mobilephone")
            ],
            "properties": list(KNOWN),
            "limit": 1,
        },
    ),
    found="results.0",
    name=("properties.firstname", "properties.lastname"),
    fields={item: f"properties.{item}" for item in KNOWN[2:]},
    write=RestRequest(
        method="POST",
        path="/crm/v3/objects/calls",
        body={
            "properties": {
                "hs_timestamp": "{began_ms}",
                "hs_call_title": "Call with {agent}",
                "hs_call_body": "{account}",
                "hs_call_direction": "{direction_upper}",
                "hs_call_duration": "{length_ms}",
                "hs_call_from_number": "{from_number}",
                "hs_call_to_number": "{to_number}",
                # Of its BUSY, CALLING_CRM_USER, CANCELED, COMPLETED, CONNECTING, FAILED,
                # IN_PROGRESS, NO_ANSWER, QUEUED and RINGING those that are an end.
                "hs_call_status": "{status_upper}",
            }
        },
    ),
    # Whether HubSpot looks at it is not documented; a repeat carries the same one.
    key_header="Idempotency-Key",
)
"""An engagement is not tied to its contact here: that takes an id which a template cannot omit."""
