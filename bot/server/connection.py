"""One connection's patience, and how many there may be: one that says nothing is not waited for.

A connection has `WHOLE_S` for each request, head and body, from its first byte on; the first one
counts from the connection itself. Media sockets leave here with their handshake, and are counted by
their own door.
"""

import asyncio
from collections.abc import Callable
from typing import Any, Final

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

WHOLE_S: Final = 10.0  # for a request to be there; a browser's takes some ms
IDLE_S: Final = 5  # between two requests; Uvicorn's own default, whole seconds
UNREAD_S: Final = 20.0  # for a peer to read on what was written to it, and for the last words
MOST: Final = 256  # connections at once: pages, webhooks, questions of health
MOST_HEAD_BYTES: Final = 16 * 1024  # browsers with cookies send 1 to 4 kB


class Crowd:
    """The connections that there are, oldest first; a newcomer takes the place of an idle one."""

    def __init__(self, most: int = MOST) -> None:
        self._most = most
        self._here: dict[BoundedConnection, None] = {}

    def __len__(self) -> int:
        return len(self._here)

    def enter(self, newcomer: "BoundedConnection") -> bool:
        """Make room for a newcomer; False: everybody here is being served."""
        if len(self._here) >= self._most:
            oldest = next((each for each in self._here if not each.is_served), None)
            if oldest is None:
                return False
            self.leave(oldest)
            oldest.cut()
        self._here[newcomer] = None
        return True

    def leave(self, one: "BoundedConnection") -> None:
        """Forget one, also when it never was here."""
        self._here.pop(one, None)


class Patience:
    """How long a connection is waited for; of two waits the newer one holds."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._timer: asyncio.TimerHandle | None = None

    def wait(self, for_s: float, then: Callable[[], None]) -> None:
        """Begin to wait; when it has been so long, `then` is called."""
        self.rest()
        self._timer = self._loop.call_later(for_s, then)

    def rest(self) -> None:
        """Wait no more."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


class BoundedConnection(H11Protocol):
    """Uvicorn's connection, which by itself waits for ever for a request to be whole."""

    def __init__(self, *arguments: Any, crowd: Crowd, **more: Any) -> None:
        """Make Uvicorn's connection one of `crowd`, which bounds them all."""
        super().__init__(*arguments, **more)
        self._crowd = crowd
        self._patience = Patience(self.loop)
        self._asking = True  # a request has begun, or the first one is waited for

    @property
    def is_served(self) -> bool:
        """Whether its request is whole, and its answer is being made for one who reads it."""
        cycle = self.cycle
        asked = cycle is not None and not cycle.more_body and not cycle.response_complete
        return asked and not self.flow.write_paused

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Find a place, and begin to wait for a request."""
        super().connection_made(transport)
        if not self._crowd.enter(self):
            self.cut()
            return
        self._patience.wait(WHOLE_S, self.cut)

    def connection_lost(self, exc: Exception | None) -> None:
        """Make room."""
        self._forget()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Parse some of a request; wait for the rest of it no longer than for the whole."""
        if not self._asking:
            self._asking = True
            self._patience.wait(WHOLE_S, self.cut)
        super().data_received(data)
        if self.is_served:
            self._patience.rest()

    def handle_websocket_upgrade(self, event: h11.Request) -> None:
        """Let a media socket go: it has a door of its own."""
        self._forget()
        super().handle_websocket_upgrade(event)

    def on_response_complete(self) -> None:
        """Wait for the next request as Uvicorn does, or for the peer to read this answer."""
        self._asking = False
        self._patience.wait(UNREAD_S, self.cut)
        super().on_response_complete()
        if self.is_served:  # the next request was there already
            self._patience.rest()

    def pause_writing(self) -> None:
        """Begin to wait for a peer that does not read."""
        super().pause_writing()
        self._patience.wait(UNREAD_S, self.cut)

    def resume_writing(self) -> None:
        """Wait no more: it reads."""
        super().resume_writing()
        if self.is_served:
            self._patience.rest()

    def cut(self) -> None:
        """End the connection at once, with whatever was not read."""
        self.transport.abort()

    def _forget(self) -> None:
        self._patience.rest()
        self._crowd.leave(self)
