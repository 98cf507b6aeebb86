"""When audio that is handed on faster than real time will be heard."""

import asyncio
import functools
import ssl
from typing import Any, Final, Protocol, runtime_checkable

from pipecat.services import websocket_service
from websockets.asyncio.client import connect
from websockets.frames import Frame, Opcode

# A socket to the address that it was opened with: nobody who answers may send it elsewhere.
#
# The libraries follow a redirect to any host. They take `Authorization` out of the request then,
# but voices have their keys in headers of their own; and what a caller says would go there in any
# case.


class ConnectHere(connect):
    """Connects as the library does; an answer that points elsewhere is a refusal."""

    def process_redirect(self, exc: Exception) -> Exception:
        """Return the refusal itself, wherever it points."""
        return exc


def keep_services_here() -> None:
    """Have Pipecat's services connect so; they take no other way to connect from outside."""
    websocket_service.websocket_connect = ConnectHere  # pyright: ignore[reportPrivateImportUsage]


# A websocket's way for sound: uncompressed, and written at once while the far end keeps up.
#
# What Pipecat, the SDK and the library do for each piece of 20 ms is made for messages that may
# have to wait. Speech barely shrinks under deflate, and deflating it was a third of a recogniser's
# cost.

BEHIND_BYTES: Final = 4096  # in our own buffer: a quarter of a second of telephone sound (chosen)


@runtime_checkable
class DirectSocket(Protocol):
    """A connection that can be written to without waiting: websockets' legacy one can."""

    extensions: list[Any]
    transport: asyncio.Transport

    @property
    def open(self) -> bool:
        """Whether messages can be sent."""
        ...

    def write_frame_sync(self, fin: bool, opcode: int, data: bytes) -> None:  # noqa: FBT001 - theirs
        """Write one frame of a message."""
        ...


class SoundSocket:
    """The sending side of an open connection that takes sound, and a word about it."""

    def __init__(self, websocket: DirectSocket) -> None:
        """Send through a socket that is connected, and uncompressed, whatever was agreed.

        Either side may send any message uncompressed. Source: RFC 7692, section 6.
        """
        self._websocket = websocket
        websocket.extensions = [_Inflating(extension) for extension in websocket.extensions]

    @property
    def free(self) -> bool:
        """Whether a piece would be written now: the socket is open, and little waits before it."""
        if not self._websocket.open:
            return False
        return self._websocket.transport.get_write_buffer_size() < BEHIND_BYTES

    def send(self, sound: bytes) -> None:
        """Write a piece; only while the socket is `free`."""
        self._websocket.write_frame_sync(fin=True, opcode=Opcode.BINARY, data=sound)

    def abort(self) -> None:
        """Be rid of the connection at once, whatever the far end does."""
        self._websocket.transport.abort()

    def say(self, text: str) -> None:
        """Write a text message behind the sound; only while the socket is `free`."""
        self._websocket.write_frame_sync(fin=True, opcode=Opcode.TEXT, data=text.encode())


class _Inflating:
    """An extension that leaves alone what we send, and reads what the far end compressed."""

    def __init__(self, agreed: Any) -> None:
        self._agreed = agreed
        self.name = agreed.name

    def encode(self, frame: Frame) -> Frame:
        """Return what is sent, as it is."""
        return frame

    def decode(self, frame: Frame, *, max_size: int | None = None) -> Frame:
        """Return what came, as it was before it was compressed."""
        return self._agreed.decode(frame, max_size=max_size)


@functools.cache
def tls_context() -> ssl.SSLContext:
    """Return what every connection to a recogniser, a voice or a model is made with.

    The libraries would make one for each socket, and for each model's client, in the loop: 20 ms
    and more of reading certificates, in which no call is served.
    """
    return ssl.create_default_context()


def tls_for(url: str) -> ssl.SSLContext | None:
    """Return what a connection to this address is made with; None: it has no TLS."""
    return tls_context() if url.startswith("wss:") else None


class Playout:
    """The line's future: each piece of audio begins when the one before it ends, or now."""

    def __init__(self) -> None:
        self._free_at_ns = 0

    def add(self, now_ns: int, *, duration_s: float) -> int:
        """Append audio and return when it begins, in nanoseconds on the clock of `now_ns`."""
        begins_ns = max(self._free_at_ns, now_ns)
        self._free_at_ns = begins_ns + round(duration_s * 1e9)
        return begins_ns

    def clear(self) -> None:
        """Forget what was still to be heard: it was dropped."""
        self._free_at_ns = 0
