"""Limits of the web server: connections, request bodies, WebSocket frames.

Uvicorn's own WebSocket protocol parses everything that one read returned, up to 256 kB, before any
other task runs. That can be 43,000 empty frames, which block the loop for 0.9 to 1.4 s (measured on
two busy cores). It does not count pings as messages, and reads a refused socket for another 10 s.
Here, data is parsed piece by piece, every frame counts, and a peer that has not begun a call may
send only a few.
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
from uvicorn.protocols.utils import ClientDisconnected
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.http11 import Request as WebsocketRequest
from websockets.protocol import State
from websockets.server import ServerProtocol

from bot.server.access import SIGN_IN_PATH
from transports.arrival_rules import BEGUN, FLOOD, IntakeAllowance
from transports.media_stream.messages import MAX_MESSAGE_BYTES

# Each request, head and body, must arrive within `REQUEST_S` of its first byte; the first request,
# within `REQUEST_S` of the connection. These limits do not apply to media sockets after their
# handshake: their own routes limit them.

REQUEST_S: Final = 10.0  # for a whole request; a browser's takes a few milliseconds
KEEP_ALIVE_S: Final = 5  # between two requests; Uvicorn's default, in whole seconds
READ_RESPONSE_S: Final = 20.0  # for a peer to read what was written to it
MAX_CONNECTIONS: Final = 256  # concurrent connections: pages, webhooks, health checks
# Twice the largest accepted message: a route drops one that is slightly larger, and the line stays.
MAX_FRAME_BYTES: Final = 2 * MAX_MESSAGE_BYTES
MAX_HEAD_BYTES: Final = 16 * 1024  # browsers with cookies send 1 to 4 kB


class OpenConnections:
    """The open connections, oldest first; when full, a new one replaces the oldest not served."""

    def __init__(self, most: int = MAX_CONNECTIONS) -> None:
        self._most = most
        self._open: dict[BoundedConnection, None] = {}

    def __len__(self) -> int:
        return len(self._open)

    def enter(self, new: "BoundedConnection") -> bool:
        """Add a connection, and close the oldest one that is not being served if it is too many.

        Returns False, without adding it, if all others are being served.
        """
        if len(self._open) >= self._most:
            idle = (connection for connection in self._open if not connection.is_served)
            oldest = next(idle, None)
            if oldest is None:
                return False
            self.leave(oldest)
            oldest.cut()
        self._open[new] = None
        return True

    def leave(self, connection: "BoundedConnection") -> None:
        """Remove a connection, if it is in the list."""
        self._open.pop(connection, None)


class ConnectionTimer:
    """The single deadline of a connection."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._timer: asyncio.TimerHandle | None = None

    def wait(self, for_s: float, then: Callable[[], None]) -> None:
        """Call `then` after `for_s`; replaces an earlier deadline."""
        self.cancel()
        self._timer = self._loop.call_later(for_s, then)

    def cancel(self) -> None:
        """Cancel the deadline."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


class BoundedConnection(H11Protocol):
    """Uvicorn's connection with deadlines; Uvicorn itself gives a request unlimited time."""

    def __init__(self, *arguments: Any, others: OpenConnections, **more: Any) -> None:
        """Create a connection that counts among `others`; other arguments are Uvicorn's."""
        super().__init__(*arguments, **more)
        self._others = others
        self._timer = ConnectionTimer(self.loop)
        # From the beginning of a request to the end of its response; and before the first one.
        self._has_request = True

    @property
    def is_served(self) -> bool:
        """Whether its request is complete, and its response is pending with a peer that reads."""
        cycle = self.cycle
        is_pending = cycle is not None and not cycle.more_body and not cycle.response_complete
        return is_pending and not self.flow.write_paused

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Join the open connections, and start the deadline of the first request.

        Without a free place, the connection is cut at once.
        """
        super().connection_made(transport)
        if not self._others.enter(self):
            self.cut()
            return
        self._timer.wait(REQUEST_S, self.cut)

    def connection_lost(self, exc: Exception | None) -> None:
        """Leave the open connections."""
        self._stop_counting()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Parse a piece of a request, whose deadline runs from its first byte to its last."""
        if not self._has_request:
            self._has_request = True
            self._timer.wait(REQUEST_S, self.cut)
        super().data_received(data)
        if self.is_served:
            self._timer.cancel()

    def handle_websocket_upgrade(self, event: h11.Request) -> None:
        """Stop counting a connection that becomes a media socket, which has limits of its own."""
        self._stop_counting()
        super().handle_websocket_upgrade(event)

    def on_response_complete(self) -> None:
        """Start the deadline for the peer to read the response."""
        self._has_request = False
        self._timer.wait(READ_RESPONSE_S, self.cut)
        super().on_response_complete()
        if self.is_served:  # the next request has already arrived
            self._timer.cancel()

    def pause_writing(self) -> None:
        """Start the deadline of a peer that does not read."""
        super().pause_writing()
        self._timer.wait(READ_RESPONSE_S, self.cut)

    def resume_writing(self) -> None:
        """Cancel the deadline if a response is pending, because the peer reads again."""
        super().resume_writing()
        if self.is_served:
            self._timer.cancel()

    def cut(self) -> None:
        """Close the connection at once; unsent data is lost."""
        self.transport.abort()

    def _stop_counting(self) -> None:
        self._timer.cancel()
        self._others.leave(self)


def bounds() -> dict[str, Any]:
    """Return options for `uvicorn.Config` that set these limits on one server."""
    return {
        "http": partial(BoundedConnection, others=OpenConnections()),  # Uvicorn only calls it
        "h11_max_incomplete_event_size": MAX_HEAD_BYTES,
        "timeout_keep_alive": KEEP_ALIVE_S,
        "ws_max_size": MAX_FRAME_BYTES,
        "ws_per_message_deflate": False,  # 6 kB on the wire could unpack to megabytes
        "server_header": False,
    }


MAX_BODY_BYTES: Final = 128 * 1024  # a browser's offer has about 6 kB, a webhook about 1 kB
MAX_SIGN_IN_BYTES: Final = 4 * 1024  # a token of at most 500 characters, percent-encoded


class BodyLimit:
    """Responds 413 to a body whose announced or actual length is too large.

    Unauthenticated clients can send bodies, too. So a body is neither parsed before the check nor
    written to disk, and the rest of one that is too large is not read. A client that disconnects
    causes no error. `BoundedConnection` limits the time.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on with its body, or refuse it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        limit = MAX_SIGN_IN_BYTES if scope["path"] == SIGN_IN_PATH else MAX_BODY_BYTES
        if _announced_bytes(scope) > limit:
            await _too_large(limit)(scope, receive, send)
            return
        body = await _read_body(receive, limit)
        if body is None:
            return
        if len(body) > limit:
            await _too_large(limit)(scope, receive, send)
            return
        await self._app(scope, _from_memory(body, receive), send)


def _announced_bytes(scope: Scope) -> int:
    """Return the `Content-Length`; 0 if there is none, as in chunked requests."""
    for name, value in scope["headers"]:
        if name == b"content-length":
            return int(value)  # h11 lets only digits through
    return 0


async def _read_body(receive: Receive, limit: int) -> bytes | None:
    """Return the body; if it is too large, only its beginning; `None` after a disconnection."""
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
    """Return a `receive` that returns the body once, and then the server's messages."""
    kept: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def receive_body() -> Message:
        return kept.pop() if kept else await receive()

    return receive_body


def _too_large(limit: int) -> JSONResponse:
    """Return the response to a request that exceeds `limit` bytes; the connection closes."""
    return JSONResponse(
        {"detail": f"The request is larger than {limit // 1024} kB."},
        HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
        headers={"Connection": "close"},
    )


CLOSE_HEADER: Final = (b"connection", b"close")


class OneRequest:
    """Closes the connection after each HTTP response; WebSockets stay open.

    Used if several processes share a port: each request then goes to the worker with the most room
    now, not to the one with the most room when the connection was made.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, and add `Connection: close` to the response."""

        async def send_closing(message: Message) -> None:
            if message["type"] == "http.response.start":
                message = {**message, "headers": [*message.get("headers", ()), CLOSE_HEADER]}
            await send(message)

        await self._app(scope, receive, send_closing if scope["type"] == "http" else send)


MAX_NAME: Final = 60  # characters of a field's name, which the client may have chosen


async def explain_request(request: Request, wrong: Exception) -> JSONResponse:
    """Respond 422 with the first error; `detail` is a sentence, as in all error responses."""
    del request  # FastAPI passes it to every handler of exceptions
    errors = wrong.errors() if isinstance(wrong, RequestValidationError) else ()
    first = errors[0] if errors else {}
    if first.get("type") in ("json_invalid", "json_type"):
        sentence = "The request's body is not valid JSON."
    else:
        place = ".".join(str(item) for item in first.get("loc", ())[1:]) or "The request's body"
        problem = str(first.get("msg", "not what is expected")).rstrip(".")
        sentence = f"{place[:MAX_NAME]}: {problem}."
    return JSONResponse({"detail": sentence}, HTTPStatus.UNPROCESSABLE_ENTITY)


PIECE_BYTES: Final = 1024  # three media messages, or at most 170 frames, which take 3 ms
# Frames before a call begins: `connected` and `start`, after which media may follow at once.
FRAMES_BEFORE_CALL: Final = 32
FRAMES_PER_S: Final = 200.0  # Twilio sends 50 audio frames and about 5 marks a second
FRAMES_AT_ONCE: Final = 1000.0  # a line delayed by 5 s delivers about 300 at once
CLOSE_FRAME_S: Final = 1.0  # for the peer to answer our close frame
UNREAD_BYTES: Final = 256 * 1024  # mostly pongs; Uvicorn applies backpressure only to our audio
INVALID_TEXT: Final = 1007  # RFC 6455, 7.4.1: data not consistent with the type of the message


class BoundedSocket(WebSocketsSansIOProtocol):
    """A WebSocket protocol with limits; Uvicorn gets it as `ws`."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.close_timeout = CLOSE_FRAME_S
        self.conn.send_close = partial(_close_once, self.conn, self.conn.send_close)
        self._unread = bytearray()
        self._is_scheduled = False  # whether `_feed_when_taken` is
        self._allowance = IntakeAllowance(per_s=0.0, cap=FRAMES_BEFORE_CALL, now=self.loop.time())

    def begin(self) -> None:
        """Allow as many frames as a call needs; called when the call begins."""
        self._allowance = IntakeAllowance(
            per_s=FRAMES_PER_S, cap=FRAMES_AT_ONCE, now=self.loop.time()
        )

    async def send(self, message: Any) -> None:
        """Send the application's message; a socket that is closing is not closed again.

        Raises:
            ClientDisconnected: The socket is closed or closing, and takes no other message.
        """
        if self.close_sent and self.initial_response is None:
            if message["type"] == "websocket.close":
                return
            raise ClientDisconnected
        await super().send(message)

    def handle_connect(self, event: WebsocketRequest) -> None:
        """Give the application `begin`, which it calls when a call begins."""
        super().handle_connect(event)
        if self.response.status_code == 101:
            self.scope.setdefault("state", {})[BEGUN] = self.begin

    def data_received(self, data: bytes) -> None:
        """Parse the received data piece by piece."""
        self._unread += data
        if not self._is_scheduled:
            self._feed_when_taken()

    async def receive(self) -> Any:
        """Return the next message for the application, and go on parsing what has arrived."""
        message = await super().receive()
        if self._unread:
            if not self.transport.is_closing():
                self.transport.pause_reading()  # Uvicorn has just resumed reading
            self._feed_after(0.0)
        return message

    def handle_events(self) -> None:
        """Count the frames of a piece, then process them; disconnect a peer that does not read."""
        self._allowance.spend(len(self.conn.events), self.loop.time())
        super().handle_events()
        if self.transport.get_write_buffer_size() > UNREAD_BYTES and not self.close_sent:
            self._disconnect_flooder()

    def send_receive_event_to_app(self) -> None:
        """Pass a message on; invalid UTF-8 closes the socket without a traceback."""
        if self.curr_msg_data_type == "text" and not _is_text(b"".join(self.frames)):
            self.frames = []
            if self.conn.state is State.OPEN:  # else a close is under way
                self.conn.send_close(INVALID_TEXT)
                self.handle_parser_exception()
            return
        super().send_receive_event_to_app()

    def _feed_when_taken(self) -> None:
        """Parse the next piece, unless the application must first take what was parsed."""
        self._is_scheduled = False
        if self.transport.is_closing():
            self._unread.clear()
        elif self._unread and not self.read_paused:  # otherwise `receive` continues
            self._feed_piece()

    def _feed_piece(self) -> None:
        """Parse the next piece if the allowance permits it; otherwise wait, or disconnect."""
        wait_s = self._allowance.wait_s(self.loop.time())
        if wait_s == float("inf"):
            self._disconnect_flooder()
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
        """Schedule `_feed_when_taken`, unless it is scheduled already."""
        if not self._is_scheduled:
            self._is_scheduled = True
            self.loop.call_later(wait_s, self._feed_when_taken)

    def _disconnect_flooder(self) -> None:
        """Disconnect a peer that sends too much or does not read; the application gets `FLOOD`."""
        self._unread.clear()
        self.queue.put_nowait({"type": "websocket.disconnect", "code": FLOOD, "reason": "flood"})
        self.close_sent = True
        self.transport.abort()


def _close_once(
    conn: ServerProtocol,
    send_close: Callable[[int | None, str], None],
    code: int | None = None,
    reason: str = "",
) -> None:
    """Send a close frame, unless the socket is closing: its peer may have begun that."""
    if conn.state is State.OPEN:
        send_close(code, reason)


def _is_text(data: bytes) -> bool:
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True
