"""Accepts connections on the server's port and passes each to a worker.

Of a request, only the first bytes are peeked at; the worker reads it.
"""

import asyncio
import errno
import json
import re
import socket
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict
from typing import Final
from xml.sax.saxutils import escape, quoteattr

from bot.health.readiness_rules import Readiness
from calls.languages.facts import language_of, languages
from configuration.texts import sentence
from processors.holding.utterance_rules import DEFAULT_LANGUAGE, Situation
from runtime.machines import ANY_MACHINE

MAX_HELD_S: Final = 20.0  # how long a call without a worker is held
REDIRECT_PAUSE_S: Final = 2  # before the carrier asks again; whole seconds
MAX_REDIRECTS: Final = round(MAX_HELD_S / REDIRECT_PAUSE_S)
_ANY: Final = ANY_MACHINE.encode()
REDIRECTED: Final = re.compile(
    rb"POST %s(/(?:twilio|plivo)/after)(?:\?meanwhile=(\d{1,2}))? HTTP/" % _ANY
)
TELNYX_WEBHOOK: Final = re.compile(rb"POST %s/telnyx/voice HTTP/" % _ANY)


def hold_response(request: bytes, *, public_url: str, language: str) -> bytes | None:
    """Return the response to a carrier's request that no worker can take.

    If a worker dies, its streams end, and the carrier requests the next instruction. The first
    response says a sentence. Each response pauses, then makes the carrier ask again, with the
    number of responses in the URL. A response to Telnyx cannot contain commands, so its request
    waits. Responses reveal nothing but our public address, so signatures are not checked.

    Returns:
        The complete response; empty if the request may wait for a worker, for `MAX_HELD_S`; `None`
        if it is not a carrier's, or its call has been held for long enough.

    Args:
        request: The part of the request that has arrived.
        public_url: The server's address, as the carrier knows it.
        language: The agent's language.
    """
    if TELNYX_WEBHOOK.match(request):
        return b""
    matched = REDIRECTED.match(request)
    if matched is None:
        return None
    redirects = int(matched[2] or 0)  # the number of responses so far
    if redirects >= MAX_REDIRECTS:
        return None
    path = matched[1].decode()
    url = f"{public_url.rstrip('/')}{path}?meanwhile={redirects + 1}"
    say, pause = ("Speak", "Wait") if path.startswith("/plivo") else ("Say", "Pause")
    tag, words = _hold_sentence(language)
    verbs = (
        "" if redirects else f'<{say} language="{tag}">{words}</{say}>',
        f"<{pause} length={quoteattr(str(REDIRECT_PAUSE_S))}/>",
        f'<Redirect method="POST">{escape(url)}</Redirect>',
    )
    body = f'<?xml version="1.0" encoding="UTF-8"?><Response>{"".join(verbs)}</Response>'.encode()
    head = (
        "HTTP/1.1 200 OK\r\nContent-Type: text/xml; charset=utf-8\r\n"
        f"Content-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    )
    return head.encode() + body


def _hold_sentence(language: str) -> tuple[str, str]:
    """Return the carrier's tag of a language, and the sentence in it; English for any other."""
    facts = language_of(language)
    spoken = facts if facts and facts.region else languages()[DEFAULT_LANGUAGE]
    return spoken.region, sentence(Situation.BRIDGE, spoken.tag)


PEEK_BYTES: Final = 64 * 1024  # of a request; a webhook has about 1 kB
MAX_SILENT_S: Final = 10.0  # a connection that has sent nothing by then is closed
MAX_SILENT_CONNECTIONS: Final = 512  # that have sent nothing; a further one closes the oldest
ACCEPT_PAUSE_S: Final = 0.001  # after each connection: at most 1,000 connections a second
ACCEPT_BURST: Final = 64  # connections accepted without a pause; thirty callers at once do not wait
FAILED_ACCEPT_PAUSE_S: Final = 0.05
DESCRIPTORS_USED_UP: Final = (errno.EMFILE, errno.ENFILE)
CALL_REQUEST: Final = re.compile(
    rb"GET %s/(?:twilio|telnyx|plivo|exotel)/media|POST %s/api/offer" % (_ANY, _ANY)
)
HEALTHZ: Final = re.compile(rb"(GET|HEAD) /healthz[ ?]")
READYZ: Final = re.compile(rb"(GET|HEAD) /readyz[ ?]")
END_OF_HEAD: Final = b"\r\n\r\n"  # of a response's head
HEAD_METHOD: Final = b"HEAD "  # requests only the head of the response
# While the workers are loading, `/healthz` waits for one until then; after that, the supervisor
# answers. Chosen: half of the 10 s after which a server that does not answer is considered dead.
HEALTHZ_WAIT_S: Final = 5.0
MAX_WAITING: Final = 512  # requests that wait for a worker; further ones get 503
RESUME: Final = re.compile(
    rb"GET %s/\w+/media/(w\d+) " % _ANY
)  # continues a call in the named worker
NO_WORKER: Final = (
    b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 5\r\nConnection: close\r\n"
    b"Content-Type: text/plain\r\nContent-Length: 27\r\n\r\nNo worker is available now."
)
ALIVE: Final = (
    b"HTTP/1.1 200 OK\r\nConnection: close\r\n"
    b'Content-Type: application/json\r\nContent-Length: 15\r\n\r\n{"status":"ok"}'
)
STARTING: Final = "starting"  # why no worker is ready, unless the server is stopping

Hand = Callable[[socket.socket, bool, str], bool]
"""Sends a connection to a worker; returns False if no worker can take it.

Takes the connection, whether it may begin a call, and the name of the preferred worker, if any.
"""

Answer = Callable[[bytes], bytes]
"""Takes the first part of a request; returns a complete response, or nothing if a worker must."""

MakeHoldResponse = Callable[[bytes], bytes | None]
"""Takes a request that no worker can take; returns the complete response to the carrier.

Empty if the request may wait for a worker; `None` if the carrier needs no response of its own.
"""


class ConnectionPace:
    """Limits how fast connections are accepted: a burst, then a steady rate."""

    def __init__(self, now: float) -> None:
        self._tokens = float(ACCEPT_BURST)
        self._counted_at = now

    def pause_s(self, now: float) -> float:
        """Count a connection; return the pause before the next one, in seconds."""
        earned = (now - self._counted_at) / ACCEPT_PAUSE_S
        self._tokens = min(ACCEPT_BURST, self._tokens + earned) - 1.0
        self._counted_at = now
        return 0.0 if self._tokens > 0 else ACCEPT_PAUSE_S


class ConnectionListener:
    """Accepts connections on the listening socket and passes them on, closing its own copy of each.

    Until `open`, requests wait, because the workers are still loading. Meanwhile `/readyz` is
    answered at once, with the reason, and `/healthz` not before `HEALTHZ_WAIT_S` after the start.
    Later both are answered here whenever no worker is ready.
    """

    def __init__(
        self,
        listener: socket.socket,
        *,
        hand: Hand,
        answer: Answer = lambda _: b"",
        hold_response: MakeHoldResponse = lambda _: None,
        why_not_ready: Callable[[], str] = lambda: STARTING,
        is_open: bool = True,
    ) -> None:
        """Accept connections once `run` is called.

        Args:
            listener: The listening socket.
            hand: Sends a connection to a worker.
            answer: Responds to requests that need no worker.
            hold_response: Responds to a call's requests while no worker is ready.
            why_not_ready: Returns why no worker is ready.
            is_open: Whether to pass connections on at once, without a call of `open`.
        """
        listener.settimeout(0)
        self._listener = listener
        self._hand = hand
        self._answer = answer
        self._hold_response = hold_response
        self._why_not_ready = why_not_ready
        # Connections that have sent nothing, the oldest first, with the timers that close them.
        self._silent: dict[socket.socket, asyncio.TimerHandle] = {}
        self._is_open = is_open
        # Connections whose requests wait for a worker, with the timers that answer them; `None` if
        # the request waits until `open`.
        self._waiting: dict[socket.socket, asyncio.TimerHandle | None] = {}
        self._healthz_at = 0.0

    def open(self) -> None:
        """Pass on the waiting connections, and from now on every new one.

        Called again when a worker is ready, for requests that wait because there was none.
        """
        self._is_open = True
        waiting, self._waiting = self._waiting, {}
        for connection, timer in waiting.items():
            if timer:
                timer.cancel()
            self._became_readable(connection)

    async def run(self) -> None:
        """Accept connections until cancelled; then close those that no worker has."""
        loop = asyncio.get_running_loop()
        pace = ConnectionPace(loop.time())
        self._healthz_at = loop.time() + HEALTHZ_WAIT_S
        try:
            while True:
                try:
                    connection, _ = await loop.sock_accept(self._listener)
                except OSError as failed:  # already closed, or out of file descriptors
                    self._free_descriptor(failed)
                    await asyncio.sleep(FAILED_ACCEPT_PAUSE_S)
                    continue
                self._wait_for_data(connection, loop)
                await asyncio.sleep(pace.pause_s(loop.time()))
        finally:
            for item in (*self._silent, *self._waiting):
                self._close_waiting(item)

    def _free_descriptor(self, failed: OSError) -> None:
        """If file descriptors have run out, close the oldest connection that has sent nothing."""
        if failed.errno in DESCRIPTORS_USED_UP and self._silent:
            self._close_waiting(next(iter(self._silent)))

    def _wait_for_data(self, connection: socket.socket, loop: asyncio.AbstractEventLoop) -> None:
        """Wait `MAX_SILENT_S` for a connection's data; if too many wait, close the oldest."""
        connection.settimeout(0)
        if len(self._silent) >= MAX_SILENT_CONNECTIONS:
            self._close_waiting(next(iter(self._silent)))
        self._silent[connection] = loop.call_later(MAX_SILENT_S, self._close_waiting, connection)
        loop.add_reader(connection, self._became_readable, connection)

    def _became_readable(self, connection: socket.socket) -> None:
        """Pass on a connection that has received data, respond to it, or let it wait."""
        try:
            first = connection.recv(PEEK_BYTES, socket.MSG_PEEK)
        except BlockingIOError:
            return
        except OSError:
            first = b""
        self._stop_waiting(connection)
        if not first:
            connection.close()
        elif self._is_open:
            self._respond_or_hand_on(connection, first)
        elif READYZ.match(first):
            _respond_and_close(connection, _not_ready_response(self._why_not_ready()))
        elif len(self._waiting) < MAX_WAITING:
            within_s = self._healthz_at - asyncio.get_running_loop().time()
            is_healthz = HEALTHZ.match(first)
            timer = self._respond_later(connection, within_s, ALIVE) if is_healthz else None
            self._waiting[connection] = timer
        else:
            _respond_and_close(connection, NO_WORKER)

    def _respond_later(
        self, connection: socket.socket, after_s: float, response: bytes
    ) -> asyncio.TimerHandle:
        """Respond to a waiting connection after `after_s`, unless the timer is cancelled."""

        def respond() -> None:
            del self._waiting[connection]
            _respond_and_close(connection, response)

        return asyncio.get_running_loop().call_later(after_s, respond)

    def _respond_or_hand_on(self, connection: socket.socket, first: bytes) -> None:
        """Respond to a request here, or pass its connection on to a worker.

        If no worker takes it, it is refused, or waits for one. `first` is the request's beginning.
        """
        resuming = RESUME.match(first)  # continues a call in a certain worker
        worker = resuming[1].decode() if resuming else ""
        begins_call = bool(CALL_REQUEST.match(first)) and not worker
        if response := self._answer(first):
            _respond_and_close(connection, response)
        elif self._hand(connection, begins_call, worker):
            connection.close()  # the worker has its own copy
        else:
            self._respond_without_worker(connection, first)

    def _respond_without_worker(self, connection: socket.socket, first: bytes) -> None:
        """Respond to a request that no worker can take, or let a call's request wait for one."""
        why = self._why_not_ready()
        response = self._hold_response(first) if why == STARTING else None
        if response == b"" and len(self._waiting) < MAX_WAITING:
            self._waiting[connection] = self._respond_later(connection, MAX_HELD_S, NO_WORKER)
        else:
            _respond_and_close(connection, response or _response_without_worker(first, why))

    def _close_waiting(self, connection: socket.socket) -> None:
        """Close a waiting connection, and stop its timer and its reader."""
        self._stop_waiting(connection)
        connection.close()

    def _stop_waiting(self, connection: socket.socket) -> None:
        """Stop the reader and the timer of a waiting connection; it stays open."""
        asyncio.get_running_loop().remove_reader(connection)
        for item in (self._silent, self._waiting):
            if timer := item.pop(connection, None):
                timer.cancel()


def _response_without_worker(first: bytes, why: str) -> bytes:
    """Return the supervisor's own response to a request while no worker is ready."""
    if HEALTHZ.match(first):
        return ALIVE
    return _not_ready_response(why) if READYZ.match(first) else NO_WORKER


def _not_ready_response(why: str) -> bytes:
    """Return a response to `GET /readyz`, in the same form as a worker's."""
    body = json.dumps(asdict(Readiness(ready=False, degraded=False, reasons=(why,)))).encode()
    return (
        b"HTTP/1.1 503 Service Unavailable\r\nConnection: close\r\n"
        b"Content-Type: application/json\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body)
    )


def _respond_and_close(connection: socket.socket, response: bytes) -> None:
    """Send a response, to HEAD only its head, and close the connection."""
    with suppress(OSError):
        request = connection.recv(PEEK_BYTES)  # unread data would reset the connection
        if request.startswith(HEAD_METHOD):
            response = b"".join(response.partition(END_OF_HEAD)[:2])
        connection.send(response)
    connection.close()
