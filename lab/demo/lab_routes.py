"""`/api/lab`: the demo page's routes for controlling the fault lab."""

from collections.abc import Mapping
from typing import Any, Final

import aiohttp
from fastapi import APIRouter, HTTPException, Request, Response

from lab.process import STAGE_OF, RunningLab, phrases
from runtime.http import request

ASK_S: Final = 5.0
MAX_BODY_BYTES: Final = 16 * 1024  # a list of faults


def lab_router(lab: RunningLab) -> APIRouter:
    """Return the routes that break and repair the simulated providers."""
    control = _Control(lab)
    router = APIRouter(prefix="/api/lab")
    router.add_api_route("/instances", control.instances, methods=["GET"])
    router.add_api_route("/faults", control.faults, methods=["GET"])
    router.add_api_route("/instances/{name}/faults", control.change, methods=["PUT", "DELETE"])
    router.add_api_route("/phrases", phrases, methods=["GET"])
    router.add_api_route("/stages", control.stages, methods=["GET"])
    return router


class _Control:
    def __init__(self, lab: RunningLab) -> None:
        self._lab = lab

    async def instances(self) -> list[Mapping[str, Any]]:
        """Return the simulated providers and their faults, without addresses and keys."""
        found = await self._request_json("GET", "/instances")
        return [
            {
                "name": item["name"],
                "kind": item["kind"],
                "stage": STAGE_OF[item["kind"]],
                "faults": item["faults"],
                "requests": item["requests"],
            }
            for item in found
        ]

    async def stages(self) -> dict[str, list[dict[str, Any]]]:
        """Return the ladders of simulated providers, for a command on this machine without keys.

        The keys in them are valid for this lab only, and a demo listens on loopback only.
        """
        return self._lab.stages

    async def faults(self) -> Any:
        """Return the available faults."""
        return await self._request_json("GET", "/faults")

    async def change(self, name: str, request: Request) -> Response:
        """Set or clear a provider's faults; they affect the call in progress at once."""
        body = await request.body()
        if len(body) > MAX_BODY_BYTES:
            raise HTTPException(413, "The list of faults is too long.")
        if name not in {instance["name"] for instance in self._lab.instances}:
            raise HTTPException(404, "There is no such simulated provider.")
        await self._request_json(request.method, f"/instances/{name}/faults", body or None)
        return Response(status_code=204)

    async def _request_json(self, method: str, path: str, body: bytes | None = None) -> Any:
        """Ask the lab's control API; raise `HTTPException` if it refuses or does not answer."""
        timeout = aiohttp.ClientTimeout(total=ASK_S)
        headers = {"Authorization": f"Bearer {self._lab.control_token}"}
        if body:
            headers["Content-Type"] = "application/json"
        url = f"{self._lab.control_url}{path}"
        try:
            async with request(method, url, data=body, headers=headers, timeout=timeout) as answer:
                found = await answer.json()
        except (aiohttp.ClientError, TimeoutError) as gone:
            raise HTTPException(502, "The fault lab does not answer.") from gone
        if answer.status >= 400:
            raise HTTPException(400, str(found.get("error", "The fault lab refused that.")))
        return found
