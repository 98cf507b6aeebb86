"""Behind a trusted proxy, the caller's own address counts."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import httpx
import pytest
import uvicorn
import yaml

from bot.server.application import Extras, application
from bot.server.limits import bounds
from bot.workers.process import open_process
from configuration.settings import Settings
from tests.bot.server.test_server import TOKEN
from tests.kit.stages import STAGES

COMPOSE = yaml.safe_load((Path(__file__).parents[3] / "compose.yaml").read_text(encoding="utf-8"))
TRUSTED = COMPOSE["services"]["holdline"]["environment"]["FORWARDED_ALLOW_IPS"]
NETWORK = COMPOSE["networks"]["default"]["ipam"]["config"][0]
GATEWAY = NETWORK["gateway"]  # requests to the host's loopback come from there
NEIGHBOUR = str(ip_address(GATEWAY) + 76)
STRANGER, OPERATOR = "203.0.113.7", "198.51.100.9"
MISTYPED = "mistyped"  # the right one never waits


@asynccontextmanager
async def behind(proxy: str, tmp_path: Path) -> AsyncIterator[httpx.AsyncClient]:
    """Ask as a proxy does, through Uvicorn's layers above our application."""
    kept = {"logs": {"dir": tmp_path}, "storage": {"url": f"sqlite+aiosqlite:///{tmp_path}/h.db"}}
    tree = {"stages": STAGES, "server": {"token": TOKEN}, **kept}
    settings = Settings.model_validate(tree)
    async with open_process(settings, words=False) as process, asyncio.TaskGroup() as tasks:
        config = uvicorn.Config(
            application(process, tasks, Extras()), log_config=None, lifespan="off", **bounds()
        )
        config.load()
        whole: Any = config.loaded_app
        wire = httpx.ASGITransport(whole, client=(proxy, 40000))
        async with httpx.AsyncClient(transport=wire, base_url="http://127.0.0.1") as client:
            yield client


async def ask(client: httpx.AsyncClient, token: str, address: str) -> int:
    headers = {"Authorization": f"Bearer {token}", "X-Forwarded-For": address}
    return (await client.get("/api/providers", headers=headers)).status_code


@pytest.mark.parametrize(
    ("trusted", "proxy", "operator"),
    [
        (TRUSTED, GATEWAY, 401),
        (TRUSTED, "127.0.0.1", 401),
        (None, "127.0.0.1", 401),
        (TRUSTED, NEIGHBOUR, 429),
    ],
    ids=["compose's", "the host's", "beside the unit", "another container"],
)
async def test_another_clients_wrong_tokens_do_not_slow_an_operator_behind_a_trusted_proxy(
    trusted: str | None,
    proxy: str,
    operator: int,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("FORWARDED_ALLOW_IPS", raising=False)
    if trusted is not None:
        monkeypatch.setenv("FORWARDED_ALLOW_IPS", trusted)
    async with behind(proxy, tmp_path) as client:
        for n in range(7):
            await ask(client, f"{n}", STRANGER)

        assert await ask(client, MISTYPED, STRANGER) == 429
        assert await ask(client, MISTYPED, OPERATOR) == operator


async def test_an_address_that_the_caller_claims_does_not_count(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FORWARDED_ALLOW_IPS", TRUSTED)
    async with behind(GATEWAY, tmp_path) as client:
        for n in range(7):
            await ask(client, f"{n}", f"192.0.2.{n}, {STRANGER}")

        assert await ask(client, MISTYPED, STRANGER) == 429
