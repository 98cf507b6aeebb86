"""A websocket of the server whose far end cannot keep the loop busy.

Uvicorn's own parses all that one read brought, up to 256 kB, before anybody else has a turn: of
empty frames that are 43,000, and 0.9 to 1.4 s without a loop (measured on two busy cores). A ping
counts as no message, and a socket that was refused is read on for 10 s. Here a piece is parsed at a
time, each frame counts, whatever it is, and who has not begun a call may send a few only.
"""

from typing import Any, Final

from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.http11 import Request

from bot.server.allowance_rules import IntakeAllowance

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

    def handle_connect(self, event: Request) -> None:
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
