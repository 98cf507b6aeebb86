"""Websockets for providers: no redirects, direct sending of audio, TLS, and playing times."""

import asyncio
import functools
import ssl
from typing import Any, Final, Protocol, runtime_checkable

from pipecat.services import websocket_service
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed
from websockets.frames import Frame, Opcode

from runtime.hosts import proxy_for


class ConnectHere(connect):
    """Connects as the library does, but treats a redirect as a refusal.

    The libraries follow a redirect to any host. They drop `Authorization` from that request, but
    voices send their keys in other headers, and the caller's words would go there, too.

    It uses the proxy that `runtime/hosts.py` names; the library would use one even for loopback.
    """

    def __init__(self, uri: str, **options: Any) -> None:
        """Prepare to connect to `uri`."""
        super().__init__(uri, **{"proxy": proxy_for(uri), **options})

    def process_redirect(self, exc: Exception) -> Exception:
        """Return the error itself, so that a redirect is not followed."""
        return exc


def forbid_redirects() -> None:
    """Make Pipecat's services in this process use `ConnectHere`; may be called again.

    They accept no connector as an argument.
    """
    websocket_service.websocket_connect = ConnectHere  # pyright: ignore[reportPrivateImportUsage]


MAX_UNSENT_BYTES: Final = 4096  # in our buffer: 0.25 s of telephone audio (chosen)


@runtime_checkable
class DirectSocket(Protocol):
    """A connection with a non-blocking write, such as websockets' legacy one."""

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
    """The sending side of an open connection, for audio and short text messages.

    It writes at once, while the far end keeps up: Pipecat, the SDK and the library treat each piece
    of 20 ms as a message that may have to wait. It does not compress: deflate barely shrinks
    speech, and took a third of a recogniser's CPU time.
    """

    def __init__(self, websocket: DirectSocket) -> None:
        """Send through an open socket, uncompressed even if compression was agreed.

        Either side may send any message uncompressed. Source: RFC 7692, section 6.
        """
        self._websocket = websocket
        websocket.extensions = [_Inflating(extension) for extension in websocket.extensions]

    @property
    def free(self) -> bool:
        """Whether a piece would be written now: the socket is open and its buffer nearly empty."""
        if not self._websocket.open:
            return False
        return self._websocket.transport.get_write_buffer_size() < MAX_UNSENT_BYTES

    def send(self, sound: bytes) -> None:
        """Write a piece of audio; allowed only while the socket is `free`."""
        self._websocket.write_frame_sync(fin=True, opcode=Opcode.BINARY, data=sound)

    def abort(self) -> None:
        """Drop the connection at once, without waiting for the far end."""
        self._websocket.transport.abort()

    def say(self, text: str) -> None:
        """Write a text message; allowed only while the socket is `free`."""
        self._websocket.write_frame_sync(fin=True, opcode=Opcode.TEXT, data=text.encode())


class _Inflating:
    """An extension that decompresses incoming messages and leaves outgoing ones alone."""

    def __init__(self, agreed: Any) -> None:
        self._agreed = agreed
        self.name = agreed.name

    def encode(self, frame: Frame) -> Frame:
        """Return an outgoing frame unchanged."""
        return frame

    def decode(self, frame: Frame, *, max_size: int | None = None) -> Frame:
        """Return an incoming frame decompressed."""
        return self._agreed.decode(frame, max_size=max_size)


NO_CLOSE_FRAME: Final = 1006  # RFC 6455 section 7.1.5


def code_and_reason(closed: ConnectionClosed) -> tuple[int, str]:
    """Return the code and the reason of the close frame; `NO_CLOSE_FRAME` and "" without one."""
    if closed.rcvd is None:
        return NO_CLOSE_FRAME, ""
    return closed.rcvd.code, closed.rcvd.reason


@functools.cache
def tls_context() -> ssl.SSLContext:
    """Return the TLS context for all connections to recognisers, voices and models.

    The libraries would create one for each socket and each model's client; reading the certificates
    blocks the event loop for 20 ms or more.
    """
    return ssl.create_default_context()


def tls_for(url: str) -> ssl.SSLContext | None:
    """Return the TLS context for this address; `None` if it uses no TLS."""
    return tls_context() if url.startswith("wss:") else None


class Playout:
    """Playing times on the line: each piece of audio starts when the previous one ends, or now."""

    def __init__(self) -> None:
        self._free_at_ns = 0

    def add(self, now_ns: int, *, duration_s: float) -> int:
        """Append audio and return when it begins, in nanoseconds on the clock of `now_ns`."""
        begins_ns = max(self._free_at_ns, now_ns)
        self._free_at_ns = begins_ns + round(duration_s * 1e9)
        return begins_ns

    def clear(self) -> None:
        """Forget pending audio: the next piece begins at once."""
        self._free_at_ns = 0
