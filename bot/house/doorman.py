"""Takes connections on the one port and hands each to a worker; only peeks at what they ask."""

import asyncio
import errno
import re
import socket
from collections.abc import Callable
from contextlib import suppress
from typing import Final

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
FOR_ONE: Final = re.compile(rb"GET /\w+/media/(w\d+) ")  # a call goes on where it is
NOBODY: Final = (
    b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 5\r\nConnection: close\r\n"
    b"Content-Type: text/plain\r\nContent-Length: 27\r\n\r\nNobody can answer just now."
)

Hand = Callable[[socket.socket, bool, str], bool]
"""Takes a connection, whether it brings a call, and which worker it is for, if for one.

False: nobody is there to take it.
"""

Answer = Callable[[bytes], bytes]
"""Takes what has come of a request; returns the whole answer, or nothing: it is for a worker."""


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


class Doorman:
    """Stands at the listening socket. What it has handed on is closed here."""

    def __init__(
        self, listener: socket.socket, *, hand: Hand, answer: Answer = lambda _: b""
    ) -> None:
        """Accept on `listener`, which listens already; `answer` spares a worker what it can."""
        listener.settimeout(0)
        self._listener = listener
        self._hand = hand
        self._answer = answer
        self._silent: dict[socket.socket, asyncio.TimerHandle] = {}  # the oldest first

    async def run(self) -> None:
        """Accept connections until cancelled."""
        loop = asyncio.get_running_loop()
        pace = ConnectionPace(loop.time())
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
            for each in tuple(self._silent):
                self._close(each)

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
        one = FOR_ONE.match(first)
        name = one[1].decode() if one else ""
        if first:
            said = self._answer(first)
            if not said and not self._hand(connection, first.startswith(CALLS) and not name, name):
                said = NOBODY
            if said:
                _say(connection, said)
        connection.close()

    def _close(self, connection: socket.socket) -> None:
        self._forget(connection)
        connection.close()

    def _forget(self, connection: socket.socket) -> None:
        asyncio.get_running_loop().remove_reader(connection)
        if timer := self._silent.pop(connection, None):
            timer.cancel()


def _say(connection: socket.socket, answer: bytes) -> None:
    with suppress(OSError):
        connection.recv(READ_BYTES)  # what is left unread would reset the connection
        connection.send(answer)
