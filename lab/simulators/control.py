"""The lab's HTTP control API: lists, breaks and mends the instances, and returns the record."""

import dataclasses
import hmac
import json
import secrets
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from aiohttp import web

from lab.simulators import faults
from lab.simulators.instance import Instance
from lab.simulators.record import Record
from lab.simulators.schedule import parse_windows, window_as_mapping
from lab.simulators.server import LOOPBACK, STOP_S


class Control:
    """Serves the control API on its own loopback port; every request needs the bearer token."""

    def __init__(self, instances: Mapping[str, Instance], *, record: Record) -> None:
        self.token = secrets.token_urlsafe(24)
        self.port = 0
        self._routes = ControlRoutes(instances, record=record)
        self._runner: web.AppRunner | None = None

    @property
    def url(self) -> str:
        """The base URL."""
        return f"http://{LOOPBACK}:{self.port}"

    async def start(self) -> None:
        """Listen on a free port."""
        app = web.Application(middlewares=[self._require_token])
        app.add_routes(self._routes.routes())
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=STOP_S)
        await self._runner.setup()
        site = web.TCPSite(self._runner, LOOPBACK, 0)
        await site.start()
        self.port = self._runner.addresses[0][1]

    async def stop(self) -> None:
        """Stop listening."""
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    @web.middleware
    async def _require_token(
        self,
        request: web.Request,
        handler: Callable[[web.Request], Awaitable[web.StreamResponse]],
    ) -> web.StreamResponse:
        """Refuse requests without the token."""
        given = request.headers.get("Authorization", "").encode()
        if not hmac.compare_digest(given, f"Bearer {self.token}".encode()):
            return web.json_response({"error": "the control needs its bearer token"}, status=401)
        return await handler(request)


class ControlRoutes:
    """The handlers of the control API."""

    def __init__(self, instances: Mapping[str, Instance], *, record: Record) -> None:
        self._instances = instances
        self._record = record

    def routes(self) -> list[web.RouteDef]:
        """Return the routes."""
        return [
            web.get("/instances", self._serve_instances),
            web.get("/instances/{name}", self._serve_instance),
            web.put("/instances/{name}/faults", self._set_faults),
            web.delete("/instances/{name}/faults", self._clear_faults),
            web.get("/instances/{name}/requests", self._serve_requests),
            web.get("/words", self._serve_words),
            web.get("/audio", self._serve_takes),
            web.get("/audio/{name}/{request}", self._serve_audio),
            web.get("/faults", _fault_menu),
        ]

    async def _serve_instances(self, request: web.Request) -> web.Response:
        return web.json_response(
            [self._describe_instance(instance) for instance in self._instances.values()]
        )

    async def _serve_instance(self, request: web.Request) -> web.Response:
        return web.json_response(self._describe_instance(self._find_instance(request)))

    async def _set_faults(self, request: web.Request) -> web.Response:
        """Replace an instance's faults, from now on; answer 400 if the new ones are invalid."""
        instance = self._find_instance(request)
        try:
            instance.set_faults(parse_windows(await request.json()))
        except ValueError as error:  # includes json's error
            return web.json_response({"error": str(error)}, status=400)
        return web.json_response(self._describe_instance(instance))

    async def _clear_faults(self, request: web.Request) -> web.Response:
        """Remove an instance's faults; answer with its new state."""
        instance = self._find_instance(request)
        instance.clear()
        return web.json_response(self._describe_instance(instance))

    async def _serve_requests(self, request: web.Request) -> web.Response:
        kept = self._record.requests(self._find_instance(request).name)
        return web.json_response([dataclasses.asdict(entry) for entry in kept])

    async def _serve_words(self, request: web.Request) -> web.Response:
        return web.json_response([dataclasses.asdict(word) for word in self._record.words()])

    async def _serve_takes(self, request: web.Request) -> web.Response:
        return web.json_response([take.as_json() for take in self._record.audio.takes()])

    async def _serve_audio(self, request: web.Request) -> web.Response:
        """Answer with the audio of one request: 16-bit samples, little-endian."""
        name, number = self._find_instance(request).name, request.match_info["request"]
        take = self._record.audio.take(name, int(number)) if number.isdecimal() else None
        if take is None:
            raise web.HTTPNotFound(
                text=json.dumps({"error": "no audio of that request is kept"}),
                content_type="application/json",
            )
        return web.Response(
            body=take.samples().astype("<i2").tobytes(), headers={"X-Rate-Hz": str(take.rate_hz)}
        )

    def _find_instance(self, request: web.Request) -> Instance:
        """Return the instance in the path; raise `HTTPNotFound` with the known names otherwise."""
        instance = self._instances.get(request.match_info["name"])
        if instance is None:
            raise web.HTTPNotFound(
                text=json.dumps(
                    {"error": f"no such instance; there are {', '.join(self._instances)}"}
                ),
                content_type="application/json",
            )
        return instance

    def _describe_instance(self, instance: Instance) -> dict[str, Any]:
        return {
            "name": instance.name,
            "kind": instance.kind,
            "url": instance.url,
            "faults": [window_as_mapping(window) for window in instance.gate.windows],
            "requests": len(self._record.requests(instance.name)),
        }


async def _fault_menu(request: web.Request) -> web.Response:
    del request
    return web.json_response(faults.menu())
