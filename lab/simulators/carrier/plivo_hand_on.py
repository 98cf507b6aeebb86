"""Transfers of Plivo's live calls: `<Dial>`, its callbacks, its action.

Source: plivo.com/docs/voice/xml/dial, /docs/voice/use-cases/dial-status-reporting; a callback's
fields are those of one that a customer has shown. Chosen: the cause of a call that was declined.
"""

import asyncio
import secrets
from collections.abc import Callable, Mapping
from typing import Final
from xml.etree import ElementTree

import aiohttp

from lab.simulators.carrier.callee import Callee, DialVerb
from lab.simulators.carrier.webhook import ANSWER_S, AgentServer, NotConnectedError

NEVER_S: Final = 3600.0  # it rings until one side gives up, if the verb sets no time
DECLINED: Final = 603
ENDS: Final[Mapping[str, tuple[str, str]]] = {
    "busy": ("busy", "USER_BUSY"),
    "no-answer": ("no-answer", "NO_ANSWER"),
    "timeout": ("timeout", "NO_ANSWER"),
    "failed": ("failed", "UNALLOCATED_NUMBER"),
    "declined": ("failed", "CALL_REJECTED"),
}
"""The status and the network's cause of an unanswered dial."""


class PlivoSwitch:
    """Connects an account's live calls with callees.

    Attributes:
        people: The behaviour of each number or address; unknown ones answer.
        dialled: The callees of all transfers.
        silent: No callback is sent, as if each were lost.
    """

    def __init__(self, signed: Callable[[str, Mapping[str, str]], dict[str, str]]) -> None:
        """Start without callees; `signed` returns the headers of a form to an address."""
        self.people: dict[str, Callee] = {}
        self.dialled: list[DialVerb] = []
        self.silent = False
        self._signed = signed

    async def connect(
        self,
        session: aiohttp.ClientSession,
        form: Mapping[str, str],
        verb: DialVerb,
        server: AgentServer,
    ) -> dict[str, str]:
        """Connect a call with a callee; return the result for the verb's `action`."""
        self.dialled.append(verb)
        callee = self.people.get(verb.number, Callee())
        await asyncio.sleep(min(callee.ring_s, verb.timeout_s))
        told = {"DialRingStatus": "true", "DialALegUUID": form["CallUUID"], "DialBLegUUID": ""}
        end = _end_of(callee, verb)
        if end:
            status, cause = ENDS[end]
            return told | {"DialStatus": status, "DialHangupCause": cause}
        told |= {"DialBLegUUID": secrets.token_hex(16)}
        for action in ("answer", "connected"):
            await self._tell(session, verb, _news(form, told, action), server)
        await asyncio.sleep(callee.talk_s)
        await self._tell(session, verb, _news(form, told, "hangup"), server)
        return told | {"DialStatus": "completed", "DialHangupCause": "NORMAL_CLEARING"}

    async def _tell(
        self,
        session: aiohttp.ClientSession,
        verb: DialVerb,
        news: Mapping[str, str],
        server: AgentServer,
    ) -> None:
        if verb.callback is None or self.silent:
            return
        headers = self._signed(verb.callback, news)
        async with (
            asyncio.timeout(ANSWER_S),
            session.post(server.real(verb.callback), data=news, headers=headers),
        ):
            pass


def read_plivo_dial(text: str) -> DialVerb | None:
    """Return the verb of an answer that rings a person, if there is one.

    Raises:
        NotConnectedError: It has no number, or no next step.
    """
    dial = ElementTree.fromstring(text).find("Dial")  # noqa: S314 - of the server under test
    if dial is None:
        return None
    number, user = dial.findtext("Number"), dial.findtext("User")
    if bool(number) == bool(user) or (user and not user.startswith("sip")):
        raise NotConnectedError(status=200, said=f"a dial that cannot be: {text}")
    if dial.get("method") != "POST" or dial.get("callbackMethod") != "POST":
        raise NotConnectedError(status=200, said=f"asked by GET, which has no route: {text}")
    return DialVerb(
        number=str(number or user),
        action=dial.get("action"),
        timeout_s=float(dial.get("timeout", NEVER_S)),
        callback=dial.get("callbackUrl"),
    )


def _end_of(callee: Callee, verb: DialVerb) -> str:
    """Return why the call is not answered; empty if it is."""
    if callee.ring_s > verb.timeout_s:
        return "timeout"
    if callee.sip == DECLINED:
        return "declined"
    return "" if callee.fate == "answered" else callee.fate


def _news(form: Mapping[str, str], told: Mapping[str, str], action: str) -> dict[str, str]:
    """Return a callback's fields: the caller's call, and the other leg."""
    return {
        "CallUUID": form["CallUUID"],
        "DialALegUUID": told["DialALegUUID"],
        "DialAction": action,
        "DialBLegFrom": form["From"],
        "DialBLegPosition": "1",
        "DialBLegStatus": "hangup" if action == "hangup" else "answer",
        "DialBLegUUID": told["DialBLegUUID"],
        "Event": f"Dial{action.capitalize()}",
    }
