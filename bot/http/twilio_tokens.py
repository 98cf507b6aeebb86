"""One-time tokens that tie a Media Stream to the webhook that asked for it."""

import secrets
from collections import OrderedDict
from dataclasses import dataclass
from typing import Final

LIFE_S: Final = 60.0  # Twilio opens the stream within seconds of the TwiML
MOST: Final = 1000  # calls between webhook and stream; only signed webhooks make tokens


@dataclass(frozen=True, slots=True, kw_only=True)
class Ticket:
    """What the webhook said of the call that will open a stream."""

    call_sid: str
    caller: str
    called: str


class Tokens:
    """Hands out tokens and takes each one back once."""

    def __init__(self) -> None:
        self._tickets: OrderedDict[str, tuple[float, Ticket]] = OrderedDict()  # oldest first

    def issue(self, ticket: Ticket, *, now: float) -> str:
        """Return a new token for `ticket`; the oldest gives way when there are too many."""
        while self._tickets and self._oldest_must_go(now):
            self._tickets.popitem(last=False)
        token = secrets.token_urlsafe(32)
        self._tickets[token] = (now + LIFE_S, ticket)
        return token

    def redeem(self, token: str, *, call_sid: str, now: float) -> Ticket | str:
        """Return the ticket of a token, which is used up by it, or why it is not good.

        A token shown for another call is used up too: somebody else has seen it.
        """
        until, ticket = self._tickets.pop(token, (0.0, None))
        if ticket is None:
            return "token_unknown_or_used" if token else "token_missing"
        if now >= until:
            return "token_expired"
        return ticket if ticket.call_sid == call_sid else "token_of_another_call"

    def _oldest_must_go(self, now: float) -> bool:
        until, _ = next(iter(self._tickets.values()))
        return now >= until or len(self._tickets) >= MOST
