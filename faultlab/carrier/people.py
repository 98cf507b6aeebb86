"""People with telephones who are called through the carrier: who picks up, and who does not.

What Twilio does with `POST Calls.json`: rings, and when somebody picks up does what the TwiML says.
Source: twilio.com/docs/voice/api/call-resource.
"""

import asyncio
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

import aiohttp

from faultlab.carrier.carrier import Carrier
from faultlab.carrier.manner import TwilioManner
from faultlab.carrier.webhook import AgentServer, PhoneCall, Twiml, read_twiml

Does: TypeAlias = Literal["answers", "busy", "no-answer", "failed", "puts down"]


@dataclass(kw_only=True)
class LabPerson:
    """Somebody with a telephone.

    Attributes:
        does: When it rings.
        after_s: How long it rings before that.
        call: On the telephone, once it was picked up.
        status: Of the latest call, as the carrier says it.
        rang: How often it rang.
    """

    does: Does = "answers"
    after_s: float = 2.0
    call: Carrier | None = None
    status: str = ""
    rang: int = 0
    answered: asyncio.Event = field(default_factory=asyncio.Event)


class _GivenManner(TwilioManner):
    """Twilio's way with a call whose TwiML came with the request that placed it."""

    def __init__(self, twiml: Twiml) -> None:
        self._twiml = twiml

    async def ring(
        self, session: aiohttp.ClientSession, phone: PhoneCall, server: AgentServer
    ) -> Twiml:
        """Ask nobody."""
        return self._twiml


@dataclass(kw_only=True)
class PlacedCall:
    """A call that the agent had placed."""

    phone: PhoneCall
    person: LabPerson
    twiml: str
    ring_s: float
    status: str = "queued"
    ringing: asyncio.Task[None] | None = None


class Exchange:
    """Rings people, by their numbers, and knows what has become of each call."""

    def __init__(self, base_url: str, auth_token: str) -> None:
        """Take where the agent's server is, and the token of its account."""
        self.people: dict[str, LabPerson] = {}
        self.placed: dict[str, PlacedCall] = {}
        self._base_url = base_url
        self._auth_token = auth_token

    def place(self, form: dict[str, str]) -> PlacedCall | None:
        """Begin to ring; None: there is no such number."""
        person = self.people.get(form["To"])
        if person is None:
            return None
        phone = PhoneCall(caller=form["From"], called=form["To"])
        call = PlacedCall(
            phone=phone,
            person=person,
            twiml=form["Twiml"],
            ring_s=float(form.get("Timeout", "60")),
        )
        self.placed[phone.call_sid] = call
        loop = asyncio.get_running_loop()
        call.ringing = loop.create_task(self._ring(call), name="a telephone rings")
        return call

    async def end(self, call: PlacedCall) -> bool:
        """End a call as the agent asks for it; False: it is over."""
        if call.status not in ("queued", "ringing", "in-progress"):
            return False
        if call.status == "in-progress" and call.person.call:
            await call.person.call.hang_up(by="agent")
            return True
        self._set(call, "canceled")
        if call.ringing:
            call.ringing.cancel()
        return True

    async def close(self) -> None:
        """End whatever rings or is talked on."""
        tasks = [each.ringing for each in self.placed.values() if each.ringing]
        for task in tasks:
            task.cancel()
        with suppress(asyncio.CancelledError):
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _ring(self, call: PlacedCall) -> None:
        person = call.person
        person.rang += 1
        self._set(call, "ringing")
        await asyncio.sleep(min(person.after_s, call.ring_s))
        if person.does == "no-answer" or person.after_s > call.ring_s:
            await asyncio.sleep(max(0.0, call.ring_s - person.after_s))
            self._set(call, "no-answer")
        elif person.does != "answers":
            self._set(call, "completed" if person.does == "puts down" else person.does)
        else:
            await self._talk(call)

    async def _talk(self, call: PlacedCall) -> None:
        self._set(call, "in-progress")
        manner = _GivenManner(read_twiml(call.twiml))
        carrier = Carrier(self._base_url, self._auth_token, phone=call.phone, manner=manner)
        async with carrier:
            call.person.call = carrier
            call.person.answered.set()
            await carrier.ended.wait()
        self._set(call, "completed")

    def _set(self, call: PlacedCall, status: str) -> None:
        call.status = call.person.status = status


def described(call: PlacedCall) -> dict[str, Any]:
    """Return a call as the REST interface shows it."""
    return {
        "sid": call.phone.call_sid,
        "status": call.status,
        "to": call.phone.called,
        "from": call.phone.caller,
        "direction": "outbound-api",
        "answered_by": None,
    }
