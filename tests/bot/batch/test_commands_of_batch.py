"""`holdline transcribe` and `holdline say` on the command line."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import soundfile
import yaml
from aiohttp import web

from bot.__main__ import run
from configuration.running_demo import FOLDER, announced
from lab.simulators.lab import Lab, Spec
from lab.simulators.schedule import parse_windows
from tests.lab.simulators.synthetic_caller import as_wav
from tests.lab.simulators.synthetic_caller import say as spoken_by_a_caller

KEYS = ("DEEPGRAM_API_KEY", "OPENAI_API_KEY", "CARTESIA_API_KEY", "ELEVENLABS_API_KEY")
STAGE_OF = {"deepgram": "stt", "openai": "llm", "cartesia": "tts", "elevenlabs": "tts"}


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOLDLINE__SERVER__PORT", "9")  # a port without a listener
    monkeypatch.setattr("configuration.running_demo.DEFAULT_ADDRESS", "http://127.0.0.1:9")
    for name in KEYS:
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
async def lab() -> AsyncIterator[Lab]:
    async with Lab([Spec(name=name, kind=name) for name in STAGE_OF], speed=20.0) as lab:
        yield lab


def ladders(lab: Lab) -> dict[str, list[dict[str, Any]]]:
    stages: dict[str, list[dict[str, Any]]] = {"stt": [], "llm": [], "tts": []}
    for item in lab.describe()["instances"]:
        rung = {key: item[key] for key in ("name", "kind", "url", "api_key")}
        stages[STAGE_OF[item["kind"]]].append(rung)
    return stages


@pytest.fixture
def configured(lab: Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A configuration whose ladders are the lab's, with the keys where they belong."""
    stages = ladders(lab)
    for rung in (item for ladder in stages.values() for item in ladder):
        name = f"{rung['kind'].upper()}_API_KEY"
        monkeypatch.setenv(name, rung.pop("api_key"))
        rung["api_key_env"] = name
    tree = {"stages": stages, "resilience": {"retry": {"attempts": 0}}}
    (tmp_path / "lab.yaml").write_text(yaml.safe_dump(tree))
    return tmp_path / "lab.yaml"


async def typed(*arguments: object) -> int:
    return await asyncio.to_thread(run, [str(argument) for argument in arguments])


async def test_a_text_is_written_as_a_telephone_hears_it(
    configured: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "closed.wav"

    code = await typed("say", "We are closed today.", "--out", out, "--config", configured)

    file = soundfile.info(out)
    assert (code, file.samplerate, file.channels, file.subtype) == (0, 8000, 1, "PCM_16")
    assert 0.8 < file.duration < 4.0
    assert "by cartesia" in capsys.readouterr().out


async def test_mulaw_and_another_rate_are_choices(configured: Path, tmp_path: Path) -> None:
    telephone, wide = tmp_path / "telephone.wav", tmp_path / "wide.wav"

    codes = [
        await typed("say", "Hello.", "--out", telephone, "--mulaw", "--config", configured),
        await typed("say", "Hello.", "--out", wide, "--rate", 24000, "--config", configured),
    ]

    assert codes == [0, 0]
    assert soundfile.info(telephone).subtype == "ULAW"
    assert soundfile.info(wide).samplerate == 24_000


async def test_synthesised_speech_is_recognised_again(
    configured: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    caller = tmp_path / "caller.wav"
    caller.write_bytes(as_wav(spoken_by_a_caller("i would like to book a table")))

    plain = await typed("transcribe", caller, "--config", configured)
    words = capsys.readouterr().out
    full = await typed("transcribe", caller, "--json", "--config", configured)
    told = json.loads(capsys.readouterr().out)

    assert (plain, full) == (0, 0)
    assert words.lower().strip() == told["text"].lower()
    assert "book a table" in words
    assert (told["provider"], told["language"]) == ("deepgram", "en")
    assert told["words"][0]["start_s"] >= 0.0


async def test_a_recogniser_that_is_down_is_one_line_and_exit_code_1(
    lab: Lab, configured: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lab.instance("deepgram").set_faults(parse_windows([{"fault": "http", "status": 503}]))
    caller = tmp_path / "caller.wav"
    caller.write_bytes(as_wav(spoken_by_a_caller("hello")))

    code = await typed("transcribe", caller, "--config", configured)

    told = capsys.readouterr()
    assert (code, told.out) == (1, "")
    assert told.err.count("\n") == 1
    assert "caller.wav could not be transcribed; Deepgram is overloaded" in told.err


async def test_the_use_of_a_standby_voice_is_reported(
    lab: Lab, configured: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lab.instance("cartesia").set_faults(parse_windows([{"fault": "refuse"}]))

    code = await typed("say", "Hello.", "--out", tmp_path / "a.wav", "--config", configured)

    told = capsys.readouterr()
    assert (code, told.err) == (0, "cartesia: network; trying elevenlabs\n")
    assert "by elevenlabs" in told.out


WAITS = {
    "say": (["say", "Hello.", "--out", "a.wav"], ("cartesia", "elevenlabs")),
    "transcribe": (["transcribe", "caller.wav"], ("deepgram",)),
}
SAYS = {
    "cartesia": "Cartesia limits the requests of CARTESIA_API_KEY",
    "elevenlabs": "ElevenLabs limits the requests of ELEVENLABS_API_KEY",
    "deepgram": "Deepgram limits the requests of DEEPGRAM_API_KEY",
}


@pytest.mark.parametrize("command", WAITS)
async def test_a_command_that_waits_names_the_vendor_and_its_key(
    command: str,
    lab: Lab,
    configured: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    arguments, limited = WAITS[command]
    monkeypatch.setenv("RETRY_ATTEMPTS", "1")
    monkeypatch.setenv("HOLDLINE__RESILIENCE__RETRY__INITIAL_S", "0.01")
    (tmp_path / "caller.wav").write_bytes(as_wav(spoken_by_a_caller("hello")))
    for name in limited:
        lab.instance(name).set_faults(parse_windows([{"fault": "http", "status": 429}]))

    assert await typed(*arguments, "--config", configured) == 1

    said = "".join(capsys.readouterr())
    assert [f"{SAYS[name]}; retry in 0 s" in said for name in limited] == [True] * len(limited)
    assert [f"{name} limits" in said for name in limited] == [False] * len(limited)
    assert f"{SAYS[limited[-1]]} (429); ask the provider for a higher limit" in said


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["transcribe"], "AUDIO"),
        (["transcribe", "gone.wav", "--config", "lab.yaml"], "gone.wav: no such file"),
        (["transcribe", ".", "--config", "lab.yaml"], "not a file"),
        (["say", "Hello.", "--config", "lab.yaml"], "--out"),
        (["say", "", "--out", "a.wav", "--config", "lab.yaml"], "TEXT has no words"),
        (["say", "Hello.", "--out", "a.mp3"], "must be a file name that ends in .wav"),
        (["say", "Hello.", "--out", "a.wav", "--rate", "11025"], "--rate is 11025; it must be one"),
        (["say", "Hello.", "--out", "a.wav", "--rate", "16000", "--mulaw"], "it must be 8000"),
        (["say", "Hello.", "--out", "/proc/none/a.wav"], "cannot be written"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
@pytest.mark.usefixtures("configured")
async def test_bad_usage_is_one_line_and_exit_code_2(
    arguments: list[str], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    code = await typed(*arguments)

    told = capsys.readouterr()
    assert (code, told.out) == (2, "")
    assert told.err.count("\n") == 1
    assert words in told.err


async def test_a_command_needs_only_the_keys_of_its_own_stage(
    lab: Lab, configured: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("OPENAI_API_KEY")
    monkeypatch.delenv("DEEPGRAM_API_KEY")

    code = await typed("say", "Hello.", "--out", tmp_path / "a.wav", "--config", configured)

    assert code == 0
    assert len(lab.record.requests("cartesia")) == 1


async def test_a_missing_key_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "caller.wav").write_bytes(as_wav(spoken_by_a_caller("hello")))

    code = await typed("transcribe", tmp_path / "caller.wav")

    told = capsys.readouterr()
    assert (code, told.err.count("\n")) == (2, 1)
    assert "stages.stt[0].api_key_env names DEEPGRAM_API_KEY, which is not set" in told.err


@asynccontextmanager
async def demo_at(stages: Callable[[], Any]) -> AsyncIterator[None]:
    """Answer as a demo does when it is asked for its ladders; on a port that only it knows."""

    async def answer(_: web.Request) -> web.Response:
        return web.json_response(stages())

    app = web.Application()
    app.router.add_get("/api/lab/stages", answer)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    storage = "sqlite+aiosqlite:///logs/demo.db"
    try:
        with announced(FOLDER, runner.addresses[0][1], storage=storage, logs=FOLDER):
            yield
    finally:
        await runner.cleanup()


async def test_without_keys_a_running_demo_is_asked(
    lab: Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    async with demo_at(lambda: ladders(lab)):
        code = await typed("say", "Hello.", "--out", tmp_path / "a.wav")

    told = capsys.readouterr()
    assert code == 0
    assert "the demo at http://127.0.0.1:" in told.err
    assert len(lab.record.requests("cartesia")) == 1


async def test_a_demo_cannot_send_anything_to_another_machine(
    lab: Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stages = ladders(lab)
    stages["tts"][0]["url"] = "wss://elsewhere.example/tts/websocket"

    async with demo_at(lambda: stages):
        code = await typed("say", "Hello.", "--out", tmp_path / "a.wav")

    assert code == 2
    assert not (tmp_path / "a.wav").exists()


async def test_an_answer_larger_than_any_demo_would_send_is_refused(
    lab: Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stages = ladders(lab)
    stages["tts"][0]["name"] = "n" * (2 << 20)

    async with demo_at(lambda: stages):
        code = await typed("say", "Hello.", "--out", tmp_path / "a.wav")

    assert code == 2
    assert not (tmp_path / "a.wav").exists()


async def test_a_demo_is_not_asked_if_there_is_a_configuration(
    lab: Lab, configured: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in KEYS:
        monkeypatch.delenv(name)

    async with demo_at(lambda: ladders(lab)):
        code = await typed("say", "Hello.", "--out", tmp_path / "a.wav", "--config", configured)

    assert code == 2
