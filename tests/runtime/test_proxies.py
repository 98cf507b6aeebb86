"""The standard proxy variables apply to every request, and never to this machine."""

from collections.abc import AsyncIterator, Iterator

import pytest
from aiohttp import web

from configuration.environment import Environment
from configuration.loading import load
from runtime.hosts import proxy_for, use_proxies
from runtime.http import open_connections, request

PROXY = "http://proxy.example:3128"
OTHER = "http://other.example:3128"


@pytest.fixture(autouse=True)
def no_proxies() -> Iterator[None]:
    yield
    use_proxies({})


@pytest.mark.parametrize(
    ("variables", "url", "proxy"),
    [
        ({}, "https://api.openai.com/v1", None),
        ({"HTTPS_PROXY": PROXY}, "https://api.openai.com/v1", PROXY),
        ({"https_proxy": PROXY}, "https://api.openai.com/v1", PROXY),
        ({"HTTPS_PROXY": OTHER, "https_proxy": PROXY}, "https://api.openai.com/v1", PROXY),
        ({"ALL_PROXY": PROXY}, "https://api.openai.com/v1", PROXY),
        ({"HTTP_PROXY": PROXY}, "https://api.openai.com/v1", None),
        ({"HTTP_PROXY": PROXY}, "http://crm.example/x", PROXY),
        ({"HTTPS_PROXY": PROXY}, "wss://api.cartesia.ai/tts", PROXY),
        ({"HTTPS_PROXY": ""}, "https://api.openai.com/v1", None),
        ({"HTTPS_PROXY": PROXY, "NO_PROXY": "openai.com"}, "https://api.openai.com/v1", None),
        ({"HTTPS_PROXY": PROXY, "no_proxy": "*"}, "https://api.openai.com/v1", None),
        ({"HTTP_PROXY": PROXY}, "http://127.0.0.1:9000/v1", None),
        ({"HTTP_PROXY": PROXY}, "ws://localhost:9000", None),
        ({"HTTP_PROXY": PROXY}, "http://[::1]:9000", None),
        ({"HTTP_PROXY": PROXY}, "http://[broken", None),
    ],
)
def test_a_proxy_is_used_as_the_variables_say(
    variables: dict[str, str], url: str, proxy: str | None
) -> None:
    use_proxies(variables)

    assert proxy_for(url) == proxy


def test_the_variables_may_stand_in_the_env_file() -> None:
    load(variables=Environment(values={"HTTPS_PROXY": PROXY}), keys=False)

    assert proxy_for("https://api.openai.com") == PROXY


@pytest.fixture
async def proxied() -> AsyncIterator[list[str]]:
    asked: list[str] = []

    async def answer(request: web.BaseRequest) -> web.Response:
        asked.append(request.raw_path if hasattr(request, "raw_path") else str(request.url))
        return web.json_response({})

    runner = web.ServerRunner(web.Server(answer))
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    use_proxies({"HTTP_PROXY": f"http://127.0.0.1:{runner.addresses[0][1]}"})
    yield asked
    await runner.cleanup()


@pytest.mark.parametrize("kept", [True, False])
async def test_requests_go_through_the_proxy(proxied: list[str], kept: bool) -> None:  # noqa: FBT001 - a table
    if kept:
        async with open_connections(), request("GET", "http://crm.invalid/contacts") as answer:
            assert answer.status == 200
    else:
        async with request("GET", "http://crm.invalid/contacts") as answer:
            assert answer.status == 200

    assert proxied == ["http://crm.invalid/contacts"]
