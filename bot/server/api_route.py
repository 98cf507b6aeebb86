"""Routes of the operators' API, and how they refuse a request."""

from collections.abc import Callable, Coroutine
from typing import Any, ClassVar, Final

from fastapi import Request
from fastapi.responses import JSONResponse, Response
from fastapi.routing import APIRoute

from operations.database.database import StorageError

NO_DATABASE: Final = "The database does not answer."


class Refused(Exception):  # noqa: N818 - an answer, not a bug
    """A request is refused; the message, in words, is the response's `detail`."""

    def __init__(self, why: str, status: int = 400) -> None:
        super().__init__(why)
        self.status = status


class ApiRoute(APIRoute):
    """A route that answers for `Refused`, and with 503 while the database does not answer."""

    no_database: ClassVar[str] = NO_DATABASE

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Return the handler, which FastAPI calls with each request."""
        handle = super().get_route_handler()

        async def answer(request: Request) -> Response:
            """Answer a refusal with its status, and a database that is down with 503."""
            try:
                return await handle(request)
            except Refused as refused:
                why, status = str(refused), refused.status
            except StorageError:
                why, status = self.no_database, 503
            return JSONResponse({"detail": why}, status)

        return answer
