"""Whom campaigns may call: contacts that were imported, their consent, the do-not-call list."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final, Literal, TypeAlias

from calls.outbound import CallConsent

ImportedAs: TypeAlias = Literal["added", "known", "do_not_call"]
BATCH: Final = 1000  # rows of one transaction


@dataclass(frozen=True, slots=True, kw_only=True)
class NewContact:
    """A contact to be kept; the number is E.164."""

    number: str
    name: str = ""
    zones: tuple[str, ...] = ()
    fields: dict[str, str] = field(default_factory=dict[str, str])
    consent: CallConsent | None = None
    priority: int = 0
    due_s: float = 0.0  # a callback has a time


class ContactBook:
    """Every method raises `StorageError` when it cannot."""

    def __init__(self, url: str) -> None:
        """Take the database's address."""
        raise NotImplementedError

    async def add(
        self, campaign: str, contacts: Sequence[NewContact], *, now: float
    ) -> Sequence[ImportedAs]:
        """Keep contacts, at most `BATCH`; say of each what became of it, in their order."""
        raise NotImplementedError

    async def do_not_call(self, numbers: Iterable[str]) -> frozenset[str]:
        """Return those of these numbers that are on the list."""
        raise NotImplementedError

    async def add_do_not_call(self, number: str, *, source: str, now: float) -> bool:
        """Put a number on the list, and its contacts out of every campaign; False: it was on it."""
        raise NotImplementedError

    async def close(self) -> None:
        """Let the connections go."""
        raise NotImplementedError
