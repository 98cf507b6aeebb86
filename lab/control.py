"""A client for a lab's control API: breaks and mends providers, and reads the record."""

from collections.abc import Mapping, Sequence
from typing import Any, Final, Self

import aiohttp
import numpy as np
from numpy.typing import NDArray

from lab.process import RunningLab
from runtime.exits import CommandError

ASK_S: Final = 5.0


class LabControl:
    """One connection to a lab's control: `async with LabControl(lab) as control:`."""

    def __init__(self, lab: RunningLab) -> None:
        self.names = tuple(str(instance["name"]) for instance in lab.instances)
        self._url = lab.control_url
        self._session = aiohttp.ClientSession(
            timeout=aiohttp.ClientTimeout(total=ASK_S),
            headers={"Authorization": f"Bearer {lab.control_token}"},
        )

    async def __aenter__(self) -> Self:
        """Return self; the connection is made with the first request."""
        return self

    async def __aexit__(self, *_: object) -> None:
        """Close the connection."""
        await self._session.close()

    async def set_faults(self, instance: str, windows: Sequence[Mapping[str, Any]]) -> None:
        """Replace the faults of one provider; times in them count from now."""
        await self._json("PUT", f"/instances/{instance}/faults", json=list(windows))

    async def mend_all(self) -> None:
        """Lift all faults of all providers."""
        for name in self.names:
            await self._json("DELETE", f"/instances/{name}/faults")

    async def requests(self, instance: str) -> list[dict[str, Any]]:
        """Return one provider's requests, oldest first."""
        return await self._json("GET", f"/instances/{instance}/requests")

    async def words(self) -> list[dict[str, Any]]:
        """Return every word that the voices have sent, in the order they were sent."""
        return await self._json("GET", "/words")

    async def audio(self, instance: str, request: int) -> tuple[NDArray[np.int16], int]:
        """Return the audio of one request, and its rate in Hz."""
        url = f"{self._url}/audio/{instance}/{request}"
        async with self._session.get(url) as answer:
            body = await answer.read()
            _raise_for_error(answer, body.decode(errors="replace") if not answer.ok else "")
            return np.frombuffer(body, "<i2").astype(np.int16), int(answer.headers["X-Rate-Hz"])

    async def _json(self, method: str, path: str, **body: Any) -> Any:
        """Send a request and return the JSON answer; raise `CommandError` for an error."""
        async with self._session.request(method, self._url + path, **body) as answer:
            found = await answer.json()
            _raise_for_error(answer, str(found))
            return found


def _raise_for_error(answer: aiohttp.ClientResponse, text: str) -> None:
    if not answer.ok:
        raise CommandError(f"the fault lab answered {answer.status}: {text}")
