"""Canaries through every path of a real server: no output or answer shows one.

A call's own record may have numbers and words, and no key.
"""

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
import yaml

from lab.callers import caller_says
from lab.simulators.carrier.carrier import Carrier
from lab.simulators.carrier.webhook import PhoneCall
from tests.bot.canaries import (
    KEYS,
    STRANGERS,
    WORD,
    Inboxes,
    Leak,
    Parrot,
    ask_everything,
    leaks,
    leaks_in_files,
    recent_live,
)
from tests.bot.serving import free_port, until_ready

pytestmark = pytest.mark.slow

PASSWORD = "Zq79xCanaryOfADatabase"


def configuration(parrot: Parrot, inboxes: Inboxes, folder: Path, port: int) -> dict[str, Any]:
    socket = parrot.url.replace("http", "ws")
    address = f"http://127.0.0.1:{port}"
    voice = {"kind": "cartesia", "url": f"{socket}/voice", "voice": "anna"}
    return {
        "server": {"port": port, "public_url": address, "admission": "seats", "workers": 1},
        "stages": {
            "stt": [{"name": "ear", "kind": "deepgram", "url": socket, "api_key_env": "KEY_EAR"}],
            "llm": [
                {"name": "mind", "kind": "openai", "url": f"{parrot.url}/v1",
                 "api_key_env": "KEY_MIND"},
            ],
            "tts": [
                {"name": "voice", "api_key_env": "KEY_VOICE", **voice},
                {"name": "standby", "kind": "elevenlabs", "url": socket, "voice": "anna",
                 "api_key_env": "KEY_STANDBY"},
            ],
        },
        "resilience": {"probe": {"interval_s": 1, "timeout_s": 2}},
        "transports": {"twilio": {"enabled": True}},
        "logs": {"level": "TRACE", "dir": str(folder / "logs")},
        "storage": {"url": f"sqlite+aiosqlite:///{folder}/holdline.db"},
        "alerts": {
            "hold_s": 0,
            "email": {"host": "127.0.0.1", "port": inboxes.mail_port, "sender": "us@example.com",
                      "to": "you@example.com"},
            "telegram": {"api_url": inboxes.url, "chat_id": "42"},
            "webhook": {"url": f"{inboxes.url}/hook"},
        },
        "traces": {"enabled": True, "url": f"{inboxes.url}/v1/traces"},
        "shutdown": {"drain_s": 0},
    }  # fmt: skip


async def run(*arguments: str, environment: Mapping[str, str]) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        sys.executable, "-m", "bot", *arguments,
        env={"PATH": os.environ["PATH"], "HOME": os.environ.get("HOME", "/"), **environment},
        cwd=Path(__file__).parents[2],
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )  # fmt: skip


async def written_by(process: asyncio.subprocess.Process) -> str:
    assert process.stdout
    async with asyncio.timeout(240):  # a busy machine needs a minute for the start alone
        said, _ = await asyncio.gather(process.stdout.read(), process.wait())
    return said.decode()


@asynccontextmanager
async def served(config: Path, url: str) -> AsyncIterator[list[str]]:
    """Run a server while the block runs; its output is in the list afterwards."""
    process = await run("serve", "--config", str(config), environment=KEYS)
    written, said = asyncio.create_task(written_by(process)), list[str]()
    try:
        await until_ready(url, process)
        yield said
    finally:
        if process.returncode is None:
            process.send_signal(signal.SIGTERM)
        said.append(await written)


async def serve(config: Path, url: str, inboxes: Inboxes) -> tuple[str, list[str]]:
    """Run a server through a call and every request; return its output and answers."""
    async with served(config, url) as said:
        answers = await ask_everything(url)
        phone = PhoneCall(caller=STRANGERS["a telephone"], called=STRANGERS["a telephone"])
        async with Carrier(url, KEYS["TWILIO_AUTH_TOKEN"], phone=phone) as call:
            await listen(call)
        async with asyncio.timeout(30):
            await inboxes.came.wait()
        answers.append(await recent_live(url))
        answers += await ask_everything(url)
    return said[0], answers


@pytest.mark.long
async def test_a_server_shows_no_canary_anywhere(tmp_path: Path) -> None:
    port = free_port()
    async with Parrot.running() as parrot, Inboxes.running() as inboxes:
        config = tmp_path / "holdline.yaml"
        config.write_text(yaml.safe_dump(configuration(parrot, inboxes, tmp_path, port)))
        said, answers = await serve(config, f"http://127.0.0.1:{port}", inboxes)

    logs = tmp_path / "logs"
    found: list[Leak] = [*leaks("stdout and stderr", said)]
    found += [leak for text in answers for leak in leaks(f"answer {text[:40]}", text)]
    found += [leak for text in inboxes.taken for leak in leaks("inbox", text)]
    for path in sorted(logs.iterdir()):
        if path.is_file():
            text = path.read_text(errors="replace")
            found += leaks(path.name, text)
        else:
            found += leaks_in_files(path, people=path.name != "calls")
    found += leaks("the database", (tmp_path / "holdline.db").read_bytes().decode("latin-1"),
                   people=False)  # fmt: skip
    found += [leak for text in inboxes.spans for leak in leaks("spans", text)]
    assert any("holdline.call_id" in span for span in inboxes.spans)
    assert inboxes.sign_ins
    assert {name for name, key in KEYS.items() if any(key in item for item in parrot.asked)} >= {
        "KEY_EAR", "KEY_MIND", "KEY_VOICE", "KEY_STANDBY",
    }  # fmt: skip
    assert "IncidentBegan" in said
    assert {(leak.place, leak.name): leak.around for leak in found} == {}


@pytest.mark.long
async def test_spans_of_turns_and_attempts_show_no_canary_and_no_word(tmp_path: Path) -> None:
    """A recogniser hears the canaries; the model and both voices refuse and repeat them."""
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    async with Parrot.running(hears=True) as parrot, Inboxes.running() as inboxes:
        tree = configuration(parrot, inboxes, tmp_path, port)
        tree["resilience"]["probe"]["interval_s"] = 0  # else no caller meets a failure
        config = tmp_path / "holdline.yaml"
        config.write_text(yaml.safe_dump(tree))
        async with served(config, url), Carrier(url, KEYS["TWILIO_AUTH_TOKEN"]) as call:
            await listen(call)
            await call.say(caller_says("What are your opening hours?"))
            await listen(call)

    record = "".join(path.read_text() for path in (tmp_path / "logs" / "calls").glob("*.jsonl"))
    spans = "".join(inboxes.spans)
    assert WORD in record
    assert {name for name in ("ear", "mind", "voice", "standby") if attempt_of(name) in spans} == {
        "ear", "mind", "voice", "standby",
    }  # fmt: skip
    assert "holdline.failure" in spans
    assert "holdline.turn" in spans
    assert WORD not in spans
    assert {leak.name: leak.around for leak in leaks("spans", spans)} == {}


def attempt_of(provider: str) -> str:
    """Return the content of an attempt's span: a name and a text, each with its length."""
    return f"holdline.provider\x12{chr(len(provider) + 2)}\n{chr(len(provider))}{provider}"


async def listen(call: Carrier) -> None:
    """Wait for the agent, who may say more than we wait for."""
    with suppress(TimeoutError):
        await call.listen(quiet_s=0.5, within_s=6.0)


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (("serve", "--print-config"), 0),
        (("doctor", "--online"), 1),
        (("alerts", "test"), 1),
        (("say", "hello", "--out", "canary.wav"), 1),
        (("providers",), 1),
        (("serve", "--port", "none"), 2),
    ],
    ids=["--print-config", "doctor", "alerts test", "say", "providers", "bad usage"],
)
async def test_a_command_shows_no_canary(
    tmp_path: Path, arguments: tuple[str, ...], code: int
) -> None:
    async with Parrot.running() as parrot, Inboxes.running() as inboxes:
        tree = configuration(parrot, inboxes, tmp_path, free_port())
        config = tmp_path / "holdline.yaml"
        config.write_text(yaml.safe_dump(tree))
        words = list(arguments)
        at = 2 if words[:2] == ["alerts", "test"] else 1
        words[at:at] = ["--config", str(config)]
        database = f"postgresql+asyncpg://holdline:{PASSWORD}@127.0.0.1:{free_port()}/holdline"
        process = await run(*words, environment=KEYS | {"HOLDLINE__STORAGE__URL": database})
        said = await written_by(process)

    assert process.returncode == code, said
    assert said
    assert {leak.name: leak.around for leak in leaks("said", said)} == {}
    assert PASSWORD not in said
