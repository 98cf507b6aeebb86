"""The SDK's client of Deepgram, made for streams alone: cheap enough to be made in a call.

The SDK gives each client an HTTP client of its own. That one reads the certificates of all
authorities, 20 ms for each recogniser of each call, in which no other call is served; and then
none of ours sends it a request. Its websockets would read them as well, one by one.
"""

from typing import Any, Final, NoReturn

import deepgram.listen.client  # these two the SDK would import with the first stream, in a call
import deepgram.listen.v1.client
from deepgram.core.client_wrapper import BaseClientWrapper
from deepgram.environment import DeepgramClientEnvironment
from pipecat.services.deepgram import stt as pipecats
from websockets.exceptions import SecurityError

from providers.tls import tls_for

OPEN_S: Final = 3.0  # a handshake that hangs longer is tried again (chosen); ten by default

_ABOUT: Final = BaseClientWrapper(
    api_key="", environment=DeepgramClientEnvironment.PRODUCTION
).get_headers()
_connect: Final = deepgram.listen.v1.client.websockets_client_connect


class _ConnectHere(_connect):  # type: ignore[misc, valid-type] # whichever the SDK has found
    """Connects as the SDK does, and follows nobody to another address (`one_address.py`)."""

    def handle_redirect(self, uri: str) -> None:
        """Refuse; the address may be anybody's and is not told."""
        raise SecurityError("a redirect")


class StreamingClient(deepgram.AsyncDeepgramClient):
    """Opens streams, and can do nothing else."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs, httpx_client=_NoHttp())
        wrapper = self._client_wrapper  # it would read the SDK's version from disk for each stream
        mine = {**_ABOUT, **(wrapper.get_custom_headers() or {})}
        mine["Authorization"] = f"Token {wrapper.api_key}"
        wrapper.get_headers = lambda: dict(mine)


class _NoHttp:
    """In the place of an HTTP client."""

    def __getattr__(self, name: str) -> NoReturn:
        raise NotImplementedError(f"a client for streams has no HTTP, and was asked for {name}")


def make_clients_cheap() -> None:
    """Have Pipecat's service make such clients; it takes none from outside, nor a TLS context."""
    pipecats.AsyncDeepgramClient = StreamingClient  # pyright: ignore[reportPrivateImportUsage]
    deepgram.listen.v1.client.websockets_client_connect = _connect_lightly


def _connect_lightly(url: str, **kwargs: Any) -> Any:
    """Connect as the SDK does, with certificates that were read already, and compress nothing.

    The library's means to compress take 160 kB for each recogniser of a call, and sound goes
    uncompressed in any case (`providers/sound_socket.py`).
    """
    kwargs.setdefault("open_timeout", OPEN_S)
    return _ConnectHere(url, ssl=tls_for(url), compression=None, **kwargs)
