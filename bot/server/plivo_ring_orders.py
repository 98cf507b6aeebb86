"""Whom callers over Plivo are handed on to: kept in the house until Plivo asks, once.

Plivo is given an address of ours and no number. Whatever process it asks there takes the order that
a leg left in the house; a question without one rings nobody.
"""

import secrets
from dataclasses import dataclass
from typing import Final

from bot.workers.pool import Shelf
from calls.handover import Destination, RingTrouble
from transports.plivo.dial import dial_verb, transfer_url
from transports.plivo.rest import PlivoRest

KEPT_S: Final = 15.0  # no longer than a leg waits for what comes of it, however short the ringing


@dataclass(frozen=True, slots=True, kw_only=True)
class PlivoRingOrders:
    """Orders of this account's calls, given and asked for in any process."""

    rest: PlivoRest
    shelf: Shelf

    async def ring(self, call_ref: str, to: Destination, *, ring_s: float) -> RingTrouble | None:
        """Have Plivo ask whom to ring; return what went wrong, or None."""
        order_id, place = secrets.token_hex(16), _place(call_ref)
        said = {"order_id": order_id, "name": to.name, "number": to.number, "ring_s": ring_s}
        await self.shelf.keep(place, said, for_s=KEPT_S)
        url = transfer_url(order_id, public_url=self.rest.public_url)
        error = await self.rest.redirect(call_ref, url)
        if error is None:
            return None
        await self.shelf.take(place)  # if Plivo asks all the same, nobody is rung
        return RingTrouble(words=error)

    async def take(self, call_ref: str, order_id: str | None = None) -> str | None:
        """Return what a call is to do, once; None: nobody is to be rung.

        An order that is asked for by another id is used up: it is not what its leg waits for.

        Args:
            call_ref: Whose call, as Plivo signed it.
            order_id: From the address that was asked; None: it is the one behind the stream, which
                has none.
        """
        said = await self.shelf.take(_place(call_ref))
        if said is None or (order_id is not None and order_id != said["order_id"]):
            return None
        to = Destination(name=said["name"], number=said["number"])
        return dial_verb(to, ring_s=said["ring_s"], public_url=self.rest.public_url)


def _place(call_ref: str) -> str:
    return f"plivo order {call_ref}"
