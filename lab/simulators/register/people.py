"""A simulated CRM's contacts, in its own format and in HubSpot's."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

MOST_ON_A_PAGE: Final = 100  # HubSpot's own limit for lists


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownPerson:
    """One contact; `more` holds further fields."""

    id: str
    number: str
    name: str = ""
    more: Mapping[str, str] = field(default_factory=dict[str, str])

    def plain(self) -> dict[str, Any]:
        """Return the CRM's own format."""
        return {"id": self.id, "number": self.number, "name": self.name, **self.more}

    def as_hubspot(self) -> dict[str, Any]:
        """Return HubSpot's format: everything but the id is a property."""
        first, _, last = self.name.partition(" ")
        said = {"phone": self.number, "firstname": first, "lastname": last}
        return {"id": self.id, "properties": {**said, **self.more}}


def page_of(
    people: Sequence[KnownPerson], after: str, limit: str
) -> tuple[Sequence[KnownPerson], str]:
    """Return a page of contacts after a mark, and the next mark; empty after the last page."""
    begin = int(after) if after.isdecimal() else 0
    size = min(int(limit), MOST_ON_A_PAGE) if limit.isdecimal() else MOST_ON_A_PAGE
    until = begin + max(1, size)
    return people[begin:until], str(until) if until < len(people) else ""
