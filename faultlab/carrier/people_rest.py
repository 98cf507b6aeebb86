"""The carrier's REST interface, as much of it as rings people, tells of their calls and ends them.

Source: twilio.com/docs/voice/api/call-resource, /api/errors/20003, /20404.
"""

import base64
import hmac
from types import TracebackType
from typing import Self

from aiohttp import web
from aiohttp.typedefs import Handler

from faultlab.carrier.carrier import Carrier
from faultlab.carrier.people import Exchange, described


class PeopleRest:
    """Rings people on request.

    rest = PeopleRest(account_sid, token, exchange=exchange)


    Attributes:
        url: Where it listens; what `transports.twilio.api_url` is set to.
        calls: The calls that it knows, by their CallSid.
        requests: The CallSid and status asked for, of every request that was let in.
        answer_with: A status to answer instead, to be broken on purpose.
    """

    def __init__(
        self, account_sid: str, auth_token: str, *, exchange: Exchange | None = None
    ) -> None:
        """Take the account, and who can be called; None: nobody."""
        self.url = ""
        self.exchange = exchange
        self.calls: dict[str, Carrier] = {}
        self.requests: list[tuple[str, str]] = []
        self.answer_with: int | None = None
        self._account_sid = account_sid
        pair = f"{account_sid}:{auth_token}"
        self._proof = "Basic " + base64.b64encode(pair.encode()).decode()
        app = web.Application(middlewares=[self._let_in])
        app.router.add_post("/2010-04-01/Accounts/{account}/Calls/{call}.json", self._update)
        app.router.add_get("/2010-04-01/Accounts/{account}/Calls/{call}.json", self._show)
        app.router.add_post("/2010-04-01/Accounts/{account}/Calls.json", self._place)
        self._runner = web.AppRunner(app)

    async def __aenter__(self) -> Self:
        """Listen on a free port of loopback."""
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        self.url = f"http://127.0.0.1:{self._runner.addresses[0][1]}"
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Listen no more."""
        if self.exchange:
            await self.exchange.close()
        await self._runner.cleanup()

    def know(self, call: Carrier) -> None:
        """Let a call be ended."""
        self.calls[call.phone.call_sid] = call

    @web.middleware
    async def _let_in(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        if not hmac.compare_digest(request.headers.get("Authorization", ""), self._proof):
            return _refusal(401, 20003, "Authenticate")
        if self.answer_with is not None:
            return _refusal(self.answer_with, 20500, "Internal Server Error")
        return await handler(request)

    async def _update(self, request: web.Request) -> web.Response:
        sid, form = request.match_info["call"], await request.post()
        self.requests.append((sid, str(form.get("Status"))))
        placed = self.exchange.placed.get(sid) if self.exchange else None
        if self.exchange and placed and await self.exchange.end(placed):
            return web.json_response(described(placed))
        call = self.calls.get(sid)
        if (
            request.match_info["account"] != self._account_sid
            or call is None
            or call.ended.is_set()
        ):
            return _refusal(404, 20404, f"The requested resource {request.path} was not found")
        if form.get("Status") != "completed":
            return _refusal(400, 21220, "Invalid call state")
        await call.hang_up(by="agent")
        return web.json_response({"sid": sid, "status": "completed"})

    async def _place(self, request: web.Request) -> web.Response:
        form = {name: str(value) for name, value in (await request.post()).items()}
        placed = self.exchange.place(form) if self.exchange else None
        if placed is None:
            return _refusal(400, 21211, "Invalid 'To' Phone Number")
        return web.json_response(described(placed), status=201)

    async def _show(self, request: web.Request) -> web.Response:
        placed = self.exchange.placed.get(request.match_info["call"]) if self.exchange else None
        if placed is None:
            return _refusal(404, 20404, f"The requested resource {request.path} was not found")
        return web.json_response(described(placed))


def _refusal(status: int, code: int, message: str) -> web.Response:
    more = f"https://www.twilio.com/docs/errors/{code}"
    return web.json_response(
        {"code": code, "message": message, "more_info": more, "status": status}, status=status
    )
