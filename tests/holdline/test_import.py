"""The library imports nothing that only a server needs."""

import subprocess
import sys

import pytest

LIGHT = ("pipecat", "numpy", "pydantic", "aiohttp", "openai")
SERVER = (
    "fastapi",
    "starlette",
    "uvicorn",
    "sqlalchemy",
    "alembic",
    "twilio",
    "livekit",
    "aiortc",
    "prometheus_client",
    "campaigns",
    "configuration",
    "operations",
    "transports",
    "configuration",
    "bot.call",
    "bot.server",
)


@pytest.mark.parametrize(
    ("code", "absent"),
    [
        ("import holdline", (*LIGHT, *SERVER)),
        ("from holdline import Ladders, rung", SERVER),
    ],
    ids=["the package", "its names"],
)
def test_an_import_loads_no_server(code: str, absent: tuple[str, ...]) -> None:
    tail = f"import sys; print(sorted(set(sys.modules) & set({absent!r})))"
    done = subprocess.run(  # noqa: S603 - our own code
        [sys.executable, "-c", f"{code}; {tail}"], capture_output=True, text=True, check=True
    )

    assert done.stdout.splitlines()[-1] == "[]"


def test_an_unknown_name_is_an_attribute_error() -> None:
    import holdline  # noqa: PLC0415 - as a user writes it

    with pytest.raises(AttributeError, match="has no attribute 'Ladder'"):
        holdline.Ladder  # noqa: B018
