"""One request a connection, where several processes answer behind one port.

Each request is then given to the worker that has most room now, and not to the one that had most
when the connection was made.
"""

from typing import Final

from starlette.types import ASGIApp, Message, Receive, Scope, Send

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
