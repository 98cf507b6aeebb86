"""One-time tokens that tie a Media Stream to the webhook that asked for it, in any process."""

import secrets
from dataclasses import asdict, dataclass
from string import hexdigits
from typing import Final

from bot.workers.pool import Shelf

LIFE_S: Final = 60.0  # Twilio opens the stream within seconds of the TwiML
KNOWN_S: Final = 2 * LIFE_S  # for so long a token that came too late is told from a wrong one
TOKEN_BYTES: Final = 32
_DIGITS: Final = frozenset(hexdigits.lower())


@dataclass(frozen=True, slots=True, kw_only=True)
class Ticket:
    """What the webhook said of the call that will open a stream."""

    call_sid: str
    caller: str
    called: str
    seat: int = 0  # in the house, held for the call
    goes_on: bool = False  # the call is here already, and has lost its stream
    outbound: bool = False  # we called
    dial_id: str = ""  # our own id of that dial


class Tokens:
    """Hands out tokens and takes each one back once."""

    def __init__(self, shelf: Shelf) -> None:
        self._shelf = shelf

    async def issue(self, ticket: Ticket, *, now: float, for_s: float = LIFE_S) -> str:
        """Return a new token for `ticket`."""
        token = secrets.token_hex(TOKEN_BYTES)  # Plivo passes on letters and digits alone
        kept = asdict(ticket) | {"until": now + for_s}
        await self._shelf.keep(_place(token), kept, for_s=KNOWN_S)
        return token

    async def redeem(self, token: str, *, call_sid: str, now: float) -> Ticket | str:
        """Return the ticket of a token, which is used up by it, or why it is not good.

        A token shown for another call is used up too: somebody else has seen it. What has not a
        token's form is not looked for: it might name something else that is kept of a call.
        """
        if not token:
            return "token_missing"
        kept = await self._shelf.take(_place(token)) if _is_token(token) else None
        if kept is None:
            return "token_unknown_or_used"
        if now >= kept.pop("until"):
            return "token_expired"
        ticket = Ticket(**kept)
        return ticket if ticket.call_sid == call_sid else "token_of_another_call"


def _is_token(text: str) -> bool:
    return len(text) == 2 * TOKEN_BYTES and _DIGITS.issuperset(text)


def _place(token: str) -> str:
    return f"twilio {token}"
