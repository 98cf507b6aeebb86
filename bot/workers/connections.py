"""Accepts connections on the one port and passes each to a worker; it only peeks at requests."""

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

# The supervisor's answers to carriers while no worker is ready.
#
# After a worker's death, the carrier asks what follows its stream. The answer is to say a sentence,
# to wait, and to ask again; the URL counts the requests. An answer to Telnyx cannot hold commands,
# so its request waits. The answers hold nothing but our public address, which is no secret, so
# signatures are not checked.

TOLD_S: Final = 20.0  # calls without a worker are held for this long
WORKER_PAUSE_S: Final = 2  # whole seconds
SAID: Final = (
    ("en-US", "One moment, please."),
    ("es-ES", "Un momento, por favor."),
    ("ru-RU", "Одну минуту, пожалуйста."),
)
"""By the language of the carrier's voice; the first one is the default."""
MAX_PAUSES: Final = round(TOLD_S / WORKER_PAUSE_S)
AFTER: Final = re.compile(rb"POST (/(?:twilio|plivo)/after)(?:\?meanwhile=(\d{1,2}))? HTTP/")
WAITS: Final = re.compile(rb"POST /telnyx/voice HTTP/")  # answered by API requests


def meanwhile(request: bytes, *, public_url: str, language: str) -> bytes | None:
    """Return the whole answer to a request without a worker; `None` if it is not a carrier's.

    An empty answer means that the request may wait for a worker, for `TOLD_S`.

    Args:
        request: The received part of the request.
        public_url: The server's address, as the carrier knows it.
        language: The agent's language.
    """
    if WAITS.match(request):
        return b""
    asked = AFTER.match(request)
    times = int(asked[2] or 0) if asked else MAX_PAUSES
    if asked is None or times >= MAX_PAUSES:
        return None
    path = asked[1].decode()
    url = f"{public_url.rstrip('/')}{path}?meanwhile={times + 1}"
    say, pause = ("Speak", "Wait") if path.startswith("/plivo") else ("Say", "Pause")
    tag, words = next((said for said in SAID if language[:2] == said[0][:2]), SAID[0])
    verbs = (
        "" if times else f'<{say} language="{tag}">{words}</{say}>',
        f"<{pause} length={quoteattr(str(WORKER_PAUSE_S))}/>",
        f'<Redirect method="POST">{escape(url)}</Redirect>',
    )
    body = f'<?xml version="1.0" encoding="UTF-8"?><Response>{"".join(verbs)}</Response>'.encode()
    head = (
        "HTTP/1.1 200 OK\r\nContent-Type: text/xml; charset=utf-8\r\n"
        f"Content-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    )
    return head.encode() + body


READ_BYTES: Final = 64 * 1024  # per request: a webhook has about 1 kB
SILENT_S: Final = 10.0  # after this, a connection without a byte is closed
MAX_SILENT: Final = 512  # connections without a byte so far; the oldest is closed for a new one
PAUSE_S: Final = 0.001  # per connection: at most 1,000 connections a second
AT_ONCE: Final = 64  # connections before the pauses begin: thirty callers do not wait
NO_ROOM_S: Final = 0.05  # the pause after a failed accept
NO_ROOM: Final = (errno.EMFILE, errno.ENFILE)
CALLS: Final = (
    b"GET /twilio/media",
    b"GET /telnyx/media",
    b"GET /plivo/media",
    b"GET /exotel/media",
    b"POST /api/offer",
)
LIVES: Final = re.compile(rb"(GET|HEAD) /healthz[ ?]")
READY: Final = re.compile(rb"(GET|HEAD) /readyz[ ?]")
END: Final = b"\r\n\r\n"  # of a response's head
HEAD: Final = b"HEAD "  # requests only the head of the response
LIVES_S: Final = 5.0  # then the supervisor answers health checks, if workers still load. Chosen:
# half of the 10 s after which others consider a silent server dead
MAX_WAITING: Final = 512  # requests that wait for the first worker; further ones get 503
FOR_ONE: Final = re.compile(rb"GET /\w+/media/(w\d+) ")  # resumes a call in its worker
NOBODY: Final = (
    b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 5\r\nConnection: close\r\n"
    b"Content-Type: text/plain\r\nContent-Length: 27\r\n\r\nNo worker is available now."
)
ALIVE: Final = (
    b"HTTP/1.1 200 OK\r\nConnection: close\r\n"
    b'Content-Type: application/json\r\nContent-Length: 15\r\n\r\n{"status":"ok"}'
)
STARTING: Final = "starting"  # the reason why no worker is ready, unless the server is stopping

Hand = Callable[[socket.socket, bool, str], bool]
"""Takes a connection, whether it brings a call, and the name of its worker, if only one will do.

Returns False if no worker can take it.
"""

Answer = Callable[[bytes], bytes]
"""Takes the received part of a request; returns the whole answer, or nothing for a worker's."""

Meanwhile = Callable[[bytes], bytes | None]
"""Takes a request that no worker can take; returns the whole answer for the carrier.

An empty answer means that the request may wait for a worker, `None` that it is not a carrier's.
"""


class ConnectionPace:
    """Limits how fast connections are accepted: a burst, then a steady rate."""

    def __init__(self, now: float) -> None:
        self._left = float(AT_ONCE)
        self._at = now

    def pause_s(self, now: float) -> float:
        """Count a connection; return the pause before the next one, in seconds."""
        self._left = min(AT_ONCE, self._left + (now - self._at) / PAUSE_S) - 1.0
        self._at = now
        return 0.0 if self._left > 0 else PAUSE_S


class ConnectionListener:
    """Accepts connections on the listening socket, and closes its own copy of each one.

    Until `open`, requests wait, because the workers are still loading. Meanwhile `/readyz` is
    answered at once, with the reason, and `/healthz` after `LIVES_S`. Later both are answered here
    whenever no worker is ready.
    """

    def __init__(
        self,
        listener: socket.socket,
        *,
        hand: Hand,
        answer: Answer = lambda _: b"",
        meanwhile: Meanwhile = lambda _: None,
        why_nobody: Callable[[], str] = lambda: STARTING,
        is_open: bool = True,
    ) -> None:
        """Prepare.

        Args:
            listener: The listening socket.
            hand: Takes the connections.
            answer: Answers requests that need no worker.
            meanwhile: Answers a call's requests while no worker is ready.
            why_nobody: Returns the reason why no worker is ready.
            is_open: Whether connections are passed on from the beginning.
        """
        listener.settimeout(0)
        self._listener = listener
        self._hand = hand
        self._answer = answer
        self._meanwhile = meanwhile
        self._why_nobody = why_nobody
        self._silent: dict[socket.socket, asyncio.TimerHandle] = {}  # the oldest first
        self._is_open = is_open
        self._waiting: dict[socket.socket, asyncio.TimerHandle | None] = {}
        self._lives_at = 0.0

    def open(self) -> None:
        """Pass on the waiting connections, and from now on every new one."""
        self._is_open = True
        waiting, self._waiting = self._waiting, {}
        for connection, timer in waiting.items():
            if timer:
                timer.cancel()
            self._begun(connection)

    async def run(self) -> None:
        """Accept connections until cancelled."""
        loop = asyncio.get_running_loop()
        pace = ConnectionPace(loop.time())
        self._lives_at = loop.time() + LIVES_S
        try:
            while True:
                try:
                    connection, _ = await loop.sock_accept(self._listener)
                except OSError as failed:  # already closed, or no more descriptors
                    self._make_room(failed)
                    await asyncio.sleep(NO_ROOM_S)
                    continue
                self._receive(connection, loop)
                await asyncio.sleep(pace.pause_s(loop.time()))
        finally:
            for item in (*self._silent, *self._waiting):
                self._close(item)

    def _make_room(self, failed: OSError) -> None:
        """Close the connection that has been silent for longest, to free its descriptor."""
        if failed.errno in NO_ROOM and self._silent:
            self._close(next(iter(self._silent)))

    def _receive(self, connection: socket.socket, loop: asyncio.AbstractEventLoop) -> None:
        connection.settimeout(0)
        if len(self._silent) >= MAX_SILENT:
            self._close(next(iter(self._silent)))
        self._silent[connection] = loop.call_later(SILENT_S, self._close, connection)
        loop.add_reader(connection, self._begun, connection)

    def _begun(self, connection: socket.socket) -> None:
        """Pass a connection on at its first byte; the worker reads the request."""
        try:
            first = connection.recv(READ_BYTES, socket.MSG_PEEK)
        except BlockingIOError:
            return
        except OSError:
            first = b""
        self._forget(connection)
        if not first:
            connection.close()
        elif self._is_open:
            self._bring(connection, first)
        elif READY.match(first):
            _say(connection, _not_ready(self._why_nobody()))
        elif len(self._waiting) < MAX_WAITING:
            within_s = self._lives_at - asyncio.get_running_loop().time()
            lives = LIVES.match(first)
            later = self._say_later(connection, within_s, ALIVE) if lives else None
            self._waiting[connection] = later
        else:
            _say(connection, NOBODY)

    def _say_later(
        self, connection: socket.socket, after_s: float, answer: bytes
    ) -> asyncio.TimerHandle:
        def say() -> None:
            del self._waiting[connection]
            _say(connection, answer)

        return asyncio.get_running_loop().call_later(after_s, say)

    def _bring(self, connection: socket.socket, first: bytes) -> None:
        one = FOR_ONE.match(first)
        name = one[1].decode() if one else ""
        if said := self._answer(first):
            _say(connection, said)
        elif self._hand(connection, first.startswith(CALLS) and not name, name):
            connection.close()
        else:
            self._keep_up(connection, first)

    def _keep_up(self, connection: socket.socket, first: bytes) -> None:
        """Answer a request while no worker is ready, or let a call's request wait for one."""
        why = self._why_nobody()
        said = self._meanwhile(first) if why == STARTING else None
        if said == b"" and len(self._waiting) < MAX_WAITING:
            self._waiting[connection] = self._say_later(connection, TOLD_S, NOBODY)
        else:
            _say(connection, said or _own_answer(first, why))

    def _close(self, connection: socket.socket) -> None:
        self._forget(connection)
        connection.close()

    def _forget(self, connection: socket.socket) -> None:
        asyncio.get_running_loop().remove_reader(connection)
        for item in (self._silent, self._waiting):
            if timer := item.pop(connection, None):
                timer.cancel()


def _own_answer(first: bytes, why: str) -> bytes:
    """Return the supervisor's own answer to a request while no worker is ready."""
    if LIVES.match(first):
        return ALIVE
    return _not_ready(why) if READY.match(first) else NOBODY


def _not_ready(why: str) -> bytes:
    """Return the answer of `/readyz` in the form that workers use."""
    body = json.dumps(asdict(Readiness(ready=False, degraded=False, reasons=(why,)))).encode()
    return (
        b"HTTP/1.1 503 Service Unavailable\r\nConnection: close\r\n"
        b"Content-Type: application/json\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body)
    )


def _say(connection: socket.socket, answer: bytes) -> None:
    with suppress(OSError):
        asked = connection.recv(READ_BYTES)  # unread data would reset the connection
        if asked.startswith(HEAD):
            answer = b"".join(answer.partition(END)[:2])
        connection.send(answer)
    connection.close()
