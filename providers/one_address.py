"""A socket to the address that it was opened with: nobody who answers may send it elsewhere.

The libraries follow a redirect to any host. They take `Authorization` out of the request then, but
voices have their keys in headers of their own; and what a caller says would go there in any case.
"""

from pipecat.services import websocket_service
from websockets.asyncio.client import connect


class ConnectHere(connect):
    """Connects as the library does; an answer that points elsewhere is a refusal."""

    def process_redirect(self, exc: Exception) -> Exception:
        """Return the refusal itself, wherever it points."""
        return exc


def keep_services_here() -> None:
    """Have Pipecat's services connect so; they take no other way to connect from outside."""
    websocket_service.websocket_connect = ConnectHere  # pyright: ignore[reportPrivateImportUsage]
