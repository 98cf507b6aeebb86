"""A changed configuration comes into force without ending a call; a bad one changes nothing."""

import json
import os
import signal
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import yaml

from lab.process import RunningLab
from lab.simulators.carrier.carrier import Carrier
from tests.bot.serving import AUTH_TOKEN, Served, serving
from tests.bot.workers.multi_worker import TWO, becomes, log_of, told, workers_of

pytestmark = [pytest.mark.slow, pytest.mark.long]

RATE_HZ = 8_000
TOKEN = "a-token-of-twenty-three-c"
PATIENT = {"agent": {"silence": {"prompt_after_s": 600}}}  # a caller who only listens stays
ONE = {"server": {"workers": 1}, "hold": {"render": False}} | PATIENT
LOADED_S = 150.0  # a worker takes some seconds; among other tests, half a minute


def change(config: Path, section: str, **values: Any) -> None:
    """Change some keys of a configuration."""
    tree = yaml.safe_load(config.read_text())
    tree[section] = {**tree.get(section, {}), **values}
    config.write_text(yaml.safe_dump(tree))


def greetings(served: Served) -> list[str]:
    """Return the first words of each call, the earliest call first."""
    first: dict[str, Any] = {}
    for entry in told(served, "AgentSaid"):
        first.setdefault(entry["call_id"], entry)
    return [entry["text"] for entry in sorted(first.values(), key=lambda entry: entry["at"])]


def reloads(served: Served) -> list[dict[str, Any]]:
    """Return the events of configuration reloads."""
    found = [line for line in log_of(served).splitlines() if " ConfigurationReloaded " in line]
    return [json.loads(line.partition(" ConfigurationReloaded ")[2]) for line in found]


async def ask_to_reload(served: Served, **said: Any) -> tuple[int, dict[str, Any]]:
    """Ask over HTTP, with the token; return the status and the answer."""
    headers = {"Authorization": f"Bearer {TOKEN}"}
    async with (
        aiohttp.ClientSession(headers=headers) as session,
        session.post(f"{served.url}/api/reload", json=said) as answer,
    ):
        return answer.status, await answer.json()


async def test_a_single_worker_is_replaced_too_and_the_next_call_has_the_new_greeting(
    tmp_path: Path, lab: RunningLab
) -> None:
    async with serving(lab, tmp_path, changes=ONE) as served:
        config = tmp_path / "holdline.yaml"
        change(config, "agent", greeting="Good morning, this is the new one.")
        async with Carrier(served.url, AUTH_TOKEN) as call:
            assert (await call.listen(within_s=60)).size > RATE_HZ
            served.process.send_signal(signal.SIGHUP)
            await becomes(lambda: "all workers were replaced" in log_of(served), within_s=LOADED_S)
            async with Carrier(served.url, AUTH_TOKEN) as later:
                assert (await later.listen(within_s=60)).size > RATE_HZ
            assert not call.ended.is_set()
        await becomes(lambda: len(greetings(served)) == 2)
        await becomes(lambda: len(reloads(served)) == 1)

    assert "new one" not in greetings(served)[0]
    assert "new one" in greetings(served)[1]
    assert {item["reason"] for item in told(served, "CallEnded")} == {"caller_hung_up"}
    assert reloads(served) == [
        {"by": "SIGHUP", "outcome": "replaced", "changed": ["agent.greeting"], "workers": 1}
    ]
    assert served.process.returncode == 0


async def test_a_bad_file_changes_nothing_even_for_a_worker_that_must_be_replaced(
    tmp_path: Path, lab: RunningLab
) -> None:
    key = {"HOLDLINE_TOKEN": TOKEN}
    async with (
        serving(lab, tmp_path, changes=ONE, environment=key) as served,
    ):
        change(tmp_path / "holdline.yaml", "agent", greetign="Good morning.")
        status, said = await ask_to_reload(served, by="Ada")
        assert status == 400
        assert [item.partition(": ")[2] for item in said["problems"]] == [
            "agent.greetign is unknown; did you mean greeting?"
        ]
        said_so = "the configuration is not reloaded: "
        await becomes(lambda: said_so in log_of(served))  # a thread writes the log
        await becomes(lambda: len(reloads(served)) == 1)

        os.kill(workers_of(served)["w1"], signal.SIGKILL)
        await becomes(lambda: len(workers_of(served)) == 2, within_s=LOADED_S)
        async with Carrier(served.url, AUTH_TOKEN) as call:
            assert (await call.listen(within_s=60)).size > RATE_HZ

    assert reloads(served) == [
        {"by": "Ada (bearer token from 127.0.0.1)", "outcome": "wrong", "changed": [], "workers": 0}
    ]


async def test_a_reload_with_the_credential_is_recorded_with_its_author(
    tmp_path: Path, lab: RunningLab
) -> None:
    key = {"HOLDLINE_TOKEN": TOKEN}
    async with (
        serving(lab, tmp_path, changes=TWO, environment=key) as served,
    ):
        await becomes(lambda: len(workers_of(served)) == 2)
        change(tmp_path / "holdline.yaml", "agent", greeting="Good morning.")
        async with (
            aiohttp.ClientSession() as session,
            session.post(f"{served.url}/api/reload") as unknown,
        ):
            assert unknown.status == 401
        status, said = await ask_to_reload(served, by="Ada")
        assert (status, said["changed"]) == (202, ["agent.greeting"])
        assert [found["machine"] for found in said["machines"]] == [""]
        assert (await ask_to_reload(served))[0] == 409
        await becomes(lambda: len(workers_of(served)) == 4, within_s=LOADED_S)
        await becomes(lambda: len(reloads(served)) == 1)

    assert reloads(served) == [
        {
            "by": "Ada (bearer token from 127.0.0.1)",
            "outcome": "replaced",
            "changed": ["agent.greeting"],
            "workers": 2,
        }
    ]
