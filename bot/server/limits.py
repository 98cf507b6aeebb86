"""A websocket of the server whose far end cannot keep the loop busy.

Uvicorn's own parses all that one read brought, up to 256 kB, before anybody else has a turn: of
empty frames that are 43,000, and 0.9 to 1.4 s without a loop (measured on two busy cores). A ping
counts as no message, and a socket that was refused is read on for 10 s. Here a piece is parsed at a
time, each frame counts, whatever it is, and who has not begun a call may send a few only.
"""

import asyncio
from collections.abc import Callable
from functools import partial
from http import HTTPStatus
from typing import Any, Final

import h11
from fastapi import Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.http11 import Request as WebsocketRequest

from bot.server.access import SIGN_IN_PATH
from bot.server.arrival_rules import IntakeAllowance
from transports.media_stream.messages import MAX_MESSAGE_BYTES

# One connection's patience, and how many there may be: one that says nothing is not waited for.
#
# A connection has `WHOLE_S` for each request, head and body, from its first byte on; the first one
# counts from the connection itself. Media sockets leave here with their handshake, and are counted
# by their own door.

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
            oldest = next(
                (
                    bounded_connection
                    for bounded_connection in self._here
                    if not bounded_connection.is_served
                ),
                None,
            )
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


def bounds() -> dict[str, Any]:
    """Return its options, with a crowd of their own."""
    return {
        "http": partial(BoundedConnection, crowd=Crowd()),  # called, never asked
        "h11_max_incomplete_event_size": MOST_HEAD_BYTES,
        "timeout_keep_alive": IDLE_S,
        "ws_max_size": MAX_MESSAGE_BYTES,
        "ws_per_message_deflate": False,  # 6 kB on the wire would be megabytes to read
        "server_header": False,
    }


MOST_BYTES: Final = 128 * 1024  # a browser's offer has about 6 kB, a webhook about 1 kB
MOST_SIGN_IN_BYTES: Final = 4 * 1024  # a token of at most 500 characters, percent-encoded


class BodyLimit:
    """Answers 413 to a body that is too big, by what it says of itself or by what it is.

    Sending it needs no token: nothing is parsed, nothing goes to the disk, and the
    connection is closed, so that the rest is not read. A sender who goes away in the middle is
    nobody's error. How long a body may take is for the connection to bound.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Hand the request on with its body, or refuse it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        limit = MOST_SIGN_IN_BYTES if scope["path"] == SIGN_IN_PATH else MOST_BYTES
        if _announced_bytes(scope) > limit:
            await _refuse(limit)(scope, receive, send)
            return
        body = await _read(receive, limit)
        if body is None:
            return
        if len(body) > limit:
            await _refuse(limit)(scope, receive, send)
            return
        await self._app(scope, _from_memory(body, receive), send)


def _announced_bytes(scope: Scope) -> int:
    """Return what the request says of its body; 0 when it says nothing, as chunked ones do."""
    for name, value in scope["headers"]:
        if name == b"content-length":
            return int(value)  # h11 lets only digits through
    return 0


async def _read(receive: Receive, limit: int) -> bytes | None:
    """Return the body, or a little more than the limit of it; None: the sender went away."""
    body = bytearray()
    while len(body) <= limit:
        message = await receive()
        if message["type"] == "http.disconnect":
            return None
        body += message.get("body", b"")
        if not message.get("more_body", False):
            break
    return bytes(body)


def _from_memory(body: bytes, receive: Receive) -> Receive:
    """Return what hands the body out once, and then what the server itself has to say."""
    kept: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def hand_out() -> Message:
        return kept.pop() if kept else await receive()

    return hand_out


def _refuse(limit: int) -> JSONResponse:
    return JSONResponse(
        {"detail": f"That is more than {limit // 1024} kB."},
        HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
        headers={"Connection": "close"},
    )


# One request a connection, where several processes answer behind one port.
#
# Each request is then given to the worker that has most room now, and not to the one that had most
# when the connection was made.

CLOSES: Final = (b"connection", b"close")


class OneRequest:
    """Has each HTTP answer close its connection; websockets go on."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Hand the request on."""

        async def closing(message: Message) -> None:
            if message["type"] == "http.response.start":
                message = {**message, "headers": [*message.get("headers", ()), CLOSES]}
            await send(message)

        await self._app(scope, receive, closing if scope["type"] == "http" else send)


LONGEST_NAME: Final = 60  # of a field: a stranger may have chosen it


async def explain_request(request: Request, wrong: Exception) -> JSONResponse:
    """Answer 422 with the first thing that is wrong; `detail` is a sentence, as everywhere."""
    del request
    errors = wrong.errors() if isinstance(wrong, RequestValidationError) else ()
    first = errors[0] if errors else {}
    if first.get("type") in ("json_invalid", "json_type"):
        sentence = "The request's body is not valid JSON."
    else:
        place = ".".join(str(item) for item in first.get("loc", ())[1:]) or "The request's body"
        problem = str(first.get("msg", "not what is expected")).rstrip(".")
        sentence = f"{place[:LONGEST_NAME]}: {problem}."
    return JSONResponse({"detail": sentence}, HTTPStatus.UNPROCESSABLE_ENTITY)


PIECE_BYTES: Final = 1024  # at most 170 frames: 3 ms; three media messages
STRANGERS_FRAMES: Final = 32  # `connected` and `start` are two, and media may follow at once
FRAMES_PER_S: Final = 200.0  # Twilio sends 50 of sound, and 5 marks come back
FRAMES_CAP: Final = 1000.0  # a line that was held up for 5 s delivers some 300 at once
CLOSE_S: Final = 1.0  # for the far end to answer our close
BEGUN: Final = "begun"  # in the scope's state: called when the far end has shown whose call it is
NOT_TEXT: Final = 1007  # RFC 6455, 7.4.1: data not consistent with the type of the message
FLOOD: Final = 1008  # RFC 6455, 7.4.1: policy violation


class BoundedSocket(WebSocketsSansIOProtocol):
    """Given to uvicorn as `ws`."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.close_timeout = CLOSE_S
        self._unread = bytearray()
        self._coming = False  # `_feed` has been asked for
        self._allowance = IntakeAllowance(per_s=0.0, cap=STRANGERS_FRAMES, now=self.loop.time())

    def begin(self) -> None:
        """Have the far end send as much as a call needs."""
        self._allowance = IntakeAllowance(per_s=FRAMES_PER_S, cap=FRAMES_CAP, now=self.loop.time())

    def handle_connect(self, event: WebsocketRequest) -> None:
        """Let the application say when a call has begun."""
        super().handle_connect(event)
        if self.response.status_code == 101:
            self.scope.setdefault("state", {})[BEGUN] = self.begin

    def data_received(self, data: bytes) -> None:
        """Parse what has come, piece by piece."""
        self._unread += data
        if not self._coming:
            self._feed()

    async def receive(self) -> Any:
        """Return what the application is told next."""
        message = await super().receive()
        if self._unread:
            if not self.transport.is_closing():
                self.transport.pause_reading()  # Uvicorn's own has just resumed it
            self._feed_after(0.0)
        return message

    def handle_events(self) -> None:
        """Count the frames of a piece, then do as they say."""
        self._allowance.spend(len(self.conn.events), self.loop.time())
        super().handle_events()

    def send_receive_event_to_app(self) -> None:
        """Hand a message on; one that is no text ends the socket, without a traceback."""
        if self.curr_msg_data_type == "text" and not _is_text(b"".join(self.frames)):
            self.frames = []
            self.conn.send_close(NOT_TEXT)
            self.handle_parser_exception()
            return
        super().send_receive_event_to_app()

    def _feed(self) -> None:
        self._coming = False
        if self.transport.is_closing():
            self._unread.clear()
        elif self._unread and not self.read_paused:  # else `receive` goes on
            self._feed_piece()

    def _feed_piece(self) -> None:
        wait_s = self._allowance.wait_s(self.loop.time())
        if wait_s == float("inf"):
            self._refuse()
            return
        if wait_s <= 0:
            piece = bytes(self._unread[:PIECE_BYTES])
            del self._unread[:PIECE_BYTES]
            super().data_received(piece)
        if self.transport.is_closing():
            self._unread.clear()
        elif self._unread:
            self.transport.pause_reading()
            self._feed_after(wait_s)
        elif not self.read_paused:
            self.transport.resume_reading()

    def _feed_after(self, wait_s: float) -> None:
        if not self._coming:
            self._coming = True
            self.loop.call_later(wait_s, self._feed)

    def _refuse(self) -> None:
        self._unread.clear()
        self.queue.put_nowait({"type": "websocket.disconnect", "code": FLOOD, "reason": "flood"})
        self.close_sent = True
        self.transport.abort()


def _is_text(data: bytes) -> bool:
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True
