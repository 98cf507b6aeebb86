"""Takes connections on the one port and hands each to a worker; only peeks at what they ask."""

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
# A worker has died, and the carrier asks what follows its stream. It is told to say a sentence, to
# wait, and to ask again; the address counts how often it has asked. Telnyx cannot be told anything
# in an answer, so its request waits. The answers hold only our public address, which is no secret,
# so signatures are not checked.

TOLD_S: Final = 20.0  # a call is kept as long as this
WORKER_PAUSE_S: Final = 2  # whole seconds
SAID: Final = (
    ("en-US", "One moment, please."),
    ("es-ES", "Un momento, por favor."),
    ("ru-RU", "Одну минуту, пожалуйста."),
)
"""By the language of the carrier's own voice; the first one for all others."""
MOST: Final = round(TOLD_S / WORKER_PAUSE_S)
AFTER: Final = re.compile(rb"POST (/(?:twilio|plivo)/after)(?:\?meanwhile=(\d{1,2}))? HTTP/")
WAITS: Final = re.compile(rb"POST /telnyx/voice HTTP/")  # we answer its news by requests of our own


def meanwhile(request: bytes, *, public_url: str, language: str) -> bytes | None:
    """Return the whole answer to a request that no worker can take, or `None` if it is no call's.

    An empty answer means that the request may wait for a worker, for `TOLD_S`.

    Args:
        request: What has come of it.
        public_url: Ours, as the carrier knows it.
        language: Of the agent.
    """
    if WAITS.match(request):
        return b""
    asked = AFTER.match(request)
    times = int(asked[2] or 0) if asked else MOST
    if asked is None or times >= MOST:
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


READ_BYTES: Final = 64 * 1024  # of a request: a webhook has about 1 kB
SILENT_S: Final = 10.0  # a connection that says nothing for so long is closed
MOST_SILENT: Final = 512  # connections that have said nothing yet; the oldest makes room
PAUSE_S: Final = 0.001  # for each connection: so many a second are taken at most
AT_ONCE: Final = 64  # of a burst, before the pauses begin: thirty callers wait for none of them
NO_ROOM_S: Final = 0.05  # when the system gives no more descriptors, before trying again
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
END: Final = b"\r\n\r\n"  # of an answer's head
HEAD: Final = b"HEAD "  # asks for an answer without its body
LIVES_S: Final = 5.0  # of our own, before workers load: then we say ourselves that we live. Chosen:
# half of the 10 s after which others take a server that has not said so for dead
MOST_WAITING: Final = 512  # requests that wait for the first worker; others hear that nobody can
FOR_ONE: Final = re.compile(rb"GET /\w+/media/(w\d+) ")  # a call goes on where it is
NOBODY: Final = (
    b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 5\r\nConnection: close\r\n"
    b"Content-Type: text/plain\r\nContent-Length: 27\r\n\r\nNobody can answer just now."
)
ALIVE: Final = (
    b"HTTP/1.1 200 OK\r\nConnection: close\r\n"
    b'Content-Type: application/json\r\nContent-Length: 15\r\n\r\n{"status":"ok"}'
)
STARTING: Final = "starting"  # the reason why nobody is there, unless we end

Hand = Callable[[socket.socket, bool, str], bool]
"""Takes a connection, whether it brings a call, and which worker it is for, if for one.

False: nobody is there to take it.
"""

Answer = Callable[[bytes], bytes]
"""Takes what has come of a request; returns the whole answer, or nothing: it is for a worker."""

Meanwhile = Callable[[bytes], bytes | None]
"""Takes a request that no worker can take; returns the whole answer for the carrier.

An empty answer means that the request may wait for a worker, `None` that it is no call's.
"""


class ConnectionPace:
    """How many connections may be taken now: a burst at once, and then so many a second."""

    def __init__(self, now: float) -> None:
        self._left = float(AT_ONCE)
        self._at = now

    def pause_s(self, now: float) -> float:
        """Count one more connection; return how long to wait before the next, in seconds."""
        self._left = min(AT_ONCE, self._left + (now - self._at) / PAUSE_S) - 1.0
        self._at = now
        return 0.0 if self._left > 0 else PAUSE_S


class ConnectionListener:
    """Stands at the listening socket. What it has handed on is closed here.

    Until it is told to open, requests wait, as the workers are still loading. That nobody is ready
    is said meanwhile, at once, and why; that we live, if that takes long; both later whenever
    nobody is there.
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
            listener: Where connections are accepted; it listens already.
            hand: Takes them.
            answer: Spares a worker what it can.
            meanwhile: Knows what a call can be told while no worker is there.
            why_nobody: Says the name of the reason why no worker is there.
            is_open: Whether they are handed on from the beginning.
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
        """Hand on what waits, and from now on whatever comes."""
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
                except OSError as failed:  # gone again already, or no more descriptors
                    self._make_room(failed)
                    await asyncio.sleep(NO_ROOM_S)
                    continue
                self._receive(connection, loop)
                await asyncio.sleep(pace.pause_s(loop.time()))
        finally:
            for item in (*self._silent, *self._waiting):
                self._close(item)

    def _make_room(self, failed: OSError) -> None:
        """Have the one that has said nothing for longest give its descriptor to who has come."""
        if failed.errno in NO_ROOM and self._silent:
            self._close(next(iter(self._silent)))

    def _receive(self, connection: socket.socket, loop: asyncio.AbstractEventLoop) -> None:
        connection.settimeout(0)
        if len(self._silent) >= MOST_SILENT:
            self._close(next(iter(self._silent)))
        self._silent[connection] = loop.call_later(SILENT_S, self._close, connection)
        loop.add_reader(connection, self._begun, connection)

    def _begun(self, connection: socket.socket) -> None:
        """Hand a connection on as soon as something has come: what it is, its worker reads."""
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
        elif len(self._waiting) < MOST_WAITING:
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
        if said == b"" and len(self._waiting) < MOST_WAITING:
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
    """Return what we say ourselves to a request when nobody is there, which has a reason."""
    if LIVES.match(first):
        return ALIVE
    return _not_ready(why) if READY.match(first) else NOBODY


def _not_ready(why: str) -> bytes:
    """Return that no call could be answered, in the words of a worker."""
    body = json.dumps(asdict(Readiness(ready=False, degraded=False, reasons=(why,)))).encode()
    return (
        b"HTTP/1.1 503 Service Unavailable\r\nConnection: close\r\n"
        b"Content-Type: application/json\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body)
    )


def _say(connection: socket.socket, answer: bytes) -> None:
    with suppress(OSError):
        asked = connection.recv(READ_BYTES)  # what is left unread would reset the connection
        if asked.startswith(HEAD):
            answer = b"".join(answer.partition(END)[:2])
        connection.send(answer)
    connection.close()
