"""The whole lab and its control, over HTTP."""

from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest

from lab.simulators import faults
from lab.simulators.lab import Lab, Spec, schedule_for
from lab.simulators.record import SpokenWord
from lab.simulators.schedule import Window, load_schedules

pytestmark = pytest.mark.virtual_time

TWO = (Spec(name="openai", kind="openai", api_key="key-a"), Spec(name="openai-b", kind="openai"))


@pytest.fixture
async def lab() -> AsyncIterator[Lab]:
    async with Lab(TWO, speed=20) as lab:
        yield lab


@pytest.fixture
async def control(lab: Lab) -> AsyncIterator[aiohttp.ClientSession]:
    headers = {"Authorization": f"Bearer {lab.describe()['control']['token']}"}
    async with aiohttp.ClientSession(lab.control_url, headers=headers) as session:
        yield session


async def models(lab: Lab, name: str) -> int:
    instance = lab.instance(name)
    headers = {"Authorization": f"Bearer {instance.api_key}"}
    async with (
        aiohttp.ClientSession(headers=headers) as session,
        session.get(f"{instance.url}/models") as response,
    ):
        return response.status


async def test_the_description_has_a_rungs_settings(lab: Lab) -> None:
    first, second = lab.describe()["instances"]

    assert first["url"] == f"http://127.0.0.1:{first['port']}/v1"
    assert (first["name"], first["kind"], first["api_key"]) == ("openai", "openai", "key-a")
    assert second["api_key"] != first["api_key"]


@pytest.mark.parametrize("path", ["/instances", "/words", "/faults", "/instances/openai/requests"])
async def test_the_control_needs_its_token(lab: Lab, path: str) -> None:
    async with aiohttp.ClientSession(lab.control_url) as session, session.get(path) as response:
        assert response.status == 401


async def test_a_fault_put_over_http_breaks_one_instance_and_delete_repairs_it(
    lab: Lab, control: aiohttp.ClientSession
) -> None:
    window = {"fault": "http", "status": 503}
    async with control.put("/instances/openai/faults", json=[window]) as response:
        shown = await response.json()
    broken = await models(lab, "openai"), await models(lab, "openai-b")
    async with control.delete("/instances/openai/faults") as response:
        mended = await response.json()

    assert shown["faults"][0] | window == shown["faults"][0]
    assert broken == (503, 200)
    assert mended["faults"] == []
    assert await models(lab, "openai") == 200


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ('[{"fault": "stal"}]', "did you mean 'stall'?"),
        ("{}", "it takes a list of faults"),
        ("[", "Expecting"),
    ],
)
async def test_a_wrong_fault_is_refused_and_changes_nothing(
    lab: Lab, control: aiohttp.ClientSession, body: str, message: str
) -> None:
    lab.instance("openai").set_faults([Window(fault=faults.Quota())])

    async with control.put("/instances/openai/faults", data=body) as response:
        status, answer = response.status, await response.json()

    assert status == 400
    assert message in answer["error"]
    assert lab.instance("openai").gate.windows == (Window(fault=faults.Quota()),)


async def test_an_unknown_instance_is_not_found_and_the_known_are_named(
    control: aiohttp.ClientSession,
) -> None:
    async with control.get("/instances/azure") as response:
        assert response.status == 404
        assert "openai-b" in (await response.json())["error"]


async def test_the_record_lists_requests_and_words(
    lab: Lab, control: aiohttp.ClientSession
) -> None:
    await models(lab, "openai")
    word = SpokenWord(
        instance="openai-b", request=1, text="hello", start_s=0.0, end_s=0.4, sent_at_s=1.0
    )
    lab.record.add_word(word)

    async with control.get("/instances/openai/requests") as response:
        requests = await response.json()
    async with control.get("/words") as response:
        words = await response.json()
    async with control.get("/instances") as response:
        counts = {item["name"]: item["requests"] for item in await response.json()}

    assert [(entry["path"], entry["outcome"]) for entry in requests] == [("/v1/models", "done")]
    assert [item["text"] for item in words] == ["hello"]
    assert counts == {"openai": 1, "openai-b": 0}


async def test_the_menu_names_every_fault(control: aiohttp.ClientSession) -> None:
    async with control.get("/faults") as response:
        menu: list[dict[str, Any]] = await response.json()

    assert [entry["fault"] for entry in menu] == list(faults.FAULTS)


async def test_a_schedule_runs_from_the_labs_start() -> None:
    plan = load_schedules("openai: [{fault: http, status: 500, until_s: 60}]")

    async with Lab(TWO, schedule=plan) as lab:
        assert await models(lab, "openai") == 500
        assert await models(lab, "openai-b") == 200


@pytest.mark.parametrize(
    ("specs", "schedule", "message"),
    [
        ((Spec(name="x", kind="azure"),), {}, "x: kind is 'azure'; it takes deepgram"),
        ((*TWO, TWO[0]), {}, "two instances named 'openai'"),
        (TWO, {"deepgram": []}, "no instance 'deepgram'; it has openai, openai-b"),
        (
            (Spec(name="x", kind="openai", options={"continuation": "odd"}),),
            {},
            "x: continuation is 'odd'; it takes clean, no_space",
        ),
    ],
    ids=["kind", "twice", "schedule", "option"],
)
def test_a_wrong_lab_is_one_line(
    specs: tuple[Spec, ...], schedule: dict[str, list[Window]], message: str
) -> None:
    with pytest.raises(ValueError, match=r".") as wrong:
        Lab(specs, schedule=schedule)

    assert message in str(wrong.value)


def test_a_schedule_for_an_unknown_instance_is_one_line_with_the_nearest() -> None:
    with pytest.raises(ValueError, match=r"unknown instance 'openia'; did you mean 'openai'\?"):
        schedule_for("openia: [{fault: refuse}]")
