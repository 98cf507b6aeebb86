"""Rungs of any Pipecat service: their facts, and one line for each mistake in them."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from bot.__main__ import run
from bot.health.policies import build_policies, credential
from bot.health.sharing import places
from configuration.rungs import facts_of, other_voices, rung_of, vendor_of
from configuration.settings import Settings
from providers.facts import RungFacts
from tests.configuration.reading import read, refused

ROOT = Path(__file__).parents[2]
OWN = ROOT / "tests" / "providers" / "adapter" / "own_services.py"
P = "pipecat.services."
MINIMAX = f"{P}minimax.tts:MiniMaxHttpTTSService"
OTHERS = {
    "stt": "{name: ears, kind: local}",
    "llm": "{name: model, kind: openai}",
    "tts": "{name: voice, kind: local}",
}


@pytest.fixture(autouse=True)
def own_modules(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Put the tests' services next to the configuration."""
    monkeypatch.setattr(sys, "path", list(sys.path))
    (tmp_path / "my_services.py").write_text(OWN.read_text("utf-8"), encoding="utf-8")


def stages(rung: str, stage: str = "tts") -> str:
    rungs = OTHERS | {stage: f"{{name: it, {rung}}}"}
    return "stages:\n" + "".join(f"  {name}:\n    - {rungs[name]}\n" for name in OTHERS)


def rung(settings: Settings, stage: str = "tts") -> Any:
    return getattr(settings.stages, stage)[0]


GIVEN = f'kind: pipecat, service: "{MINIMAX}", api_key_env: KEY, init: {{group_id: "1"}}'
PIP = f"{sys.executable} -m pip install"
MINE = "kind: pipecat, service: 'my_services:%s', api_key_env: KEY"


@pytest.mark.parametrize(
    ("stage", "text", "key", "problem"),
    [
        ("tts", "kind: pipecat", "service", "is missing; it must be the module:Class"),
        ("tts", "kind: pipecat, service: minimax", "service", "must be the module:Class"),
        ("tts", "kind: pipecat, service: 7", "service", "must be the module:Class"),
        (
            "tts",
            f"kind: pipecat, service: '{P}hume.tts:HumeTTSService', api_key_env: KEY",
            "service",
            f'it needs hume, which is not installed; {PIP} "pipecat-ai[hume]"',
        ),
        (
            "llm",
            f"kind: pipecat, service: '{P}aws.llm:AWSBedrockLLMService', api_key_env: KEY",
            "service",
            f'it needs aiobotocore, which is not installed; {PIP} "pipecat-ai[aws]"',
        ),
        (
            "tts",
            f"kind: pipecat, service: '{P}minimx.tts:A'",
            "service",
            "there is no module pipecat.services.minimx; did you mean pipecat.services.minimax?",
        ),
        (
            "tts",
            f"kind: pipecat, service: '{P}minimax.tts:MinimaxTTSService'",
            "service",
            "has no class MinimaxTTSService; did you mean MiniMaxHttpTTSService?",
        ),
        (
            "tts",
            f"kind: pipecat, service: '{P}minimax:MiniMaxHttpTTSService'",
            "service",
            "has no class MiniMaxHttpTTSService; it has pipecat.services.minimax.tts",
        ),
        ("tts", MINE % "Ownvoice", "service", "did you mean OwnVoice?"),
        ("stt", MINE % "OwnVoice", "service", "it is a voice, for stages.tts"),
        ("llm", MINE % "OwnVoice", "service", "it is a voice, for stages.tts"),
        ("tts", MINE % "PlainModel", "service", "it is a model, for stages.llm"),
        ("tts", f"{GIVEN}, settings: {{sped: 1}}", "settings.sped", "did you mean speed?"),
        ("tts", f"{GIVEN}, settings: {{voice: x}}", "settings.voice", "use voice"),
        (
            "tts",
            f"{GIVEN}, settings: {{speed: fast}}",
            "settings.speed",
            'is "fast"; it must be a number',
        ),
        ("tts", f"{GIVEN}, settings: {{speed: [1]}}", "settings.speed", "is a list; it must be a"),
        ("tts", f"{GIVEN}, settings: {{pitch: 1.5}}", "settings.pitch", "be a whole number"),
        ("tts", GIVEN.replace('"1"', "[1]"), "init.group_id", "is a list; it must be text"),
        (
            "llm",
            f"kind: pipecat, service: '{P}anthropic.llm:AnthropicLLMService', api_key_env: KEY, "
            "settings: {thinking: {type: enabled, budget_tokens: many}}",
            "settings.thinking.budget_tokens",
            'is "many"; it must be a whole number',
        ),
        (
            "llm",
            f"kind: pipecat, service: '{P}groq.llm:GroqLLMService', api_key_env: KEY, "
            "settings: {reasoning_effort: [high]}",
            "settings.reasoning_effort",
            "must be 'none' or 'default' or 'low'",
        ),
        ("tts", GIVEN.replace("group_id", "grup_id"), "init.grup_id", "did you mean group_id?"),
        ("tts", GIVEN.replace("group_id", "base_url"), "init.base_url", "use url"),
        ("tts", GIVEN.partition(", init")[0], "init.group_id", "is missing; MiniMaxHttpTTSService"),
        ("tts", GIVEN.replace("group_id", "api_key"), "init.api_key", "name its variable in"),
        ("tts", GIVEN.replace('"1"', "sk-abcdefghijklmnop"), "init.group_id", "holds a secret"),
        (
            "tts",
            f"{GIVEN}, settings: {{auth_token: x}}",
            "settings.auth_token",
            "name its variable in stages.tts[0].api_key_env",
        ),
        ("tts", (MINE % "OwnVoice").partition(", api")[0], "api_key_env", "needs it as api_key"),
        ("tts", f"{MINE % 'OwnVoice'}, init: {{pich: 1}}", "init.pich", "did you mean pitch?"),
        ("tts", f"{MINE % 'OwnVoice'}, model: x", "model", "takes none"),
        ("llm", f"{MINE % 'PlainModel'}, url: 'http://127.0.0.1:9'", "url", "takes none"),
        ("tts", f"{MINE % 'OwnVoice'}, rate_hz: 8000", "rate_hz", "rejects: only 16000 Hz"),
        ("tts", f"{MINE % 'OwnVoice'}, init: 5", "init", "must be a mapping"),
        ("tts", f"{MINE % 'OwnVoice'}, settings: [a]", "settings", "must be a mapping"),
        (
            "tts",
            "kind: pipecat, service: '..a:B'",
            "service",
            "write it as in an import, such as a",
        ),
        ("tts", f"{MINE % 'OwnVoice'}, init: {{name: x}}", "init.name", "Holdline sets it"),
        ("tts", GIVEN.replace("group_id", "params"), "init.params", "use settings"),
        ("tts", f"{GIVEN}, rate_hz: 0", "rate_hz", "at least 1"),
        (
            "tts",
            f"kind: pipecat, service: '{P}openai.tts:OpenAITTSService', rate_hz: 8000",
            "rate_hz",
            "is 8000; OpenAITTSService supports 24000",
        ),
        ("tts", f"{GIVEN}, options: {{speed: 1}}", "options", "call it settings"),
        (
            "tts",
            f"{GIVEN}, facts: {{word_time: true}}",
            "facts.word_time",
            "must be 'word_times', 'cancels'",
        ),
        (
            "tts",
            f"{GIVEN}, facts: {{interim: true}}",
            "facts.interim",
            "it has word_times, cancels",
        ),
        (
            "llm",
            f"{MINE % 'PlainModel'}, facts: {{cancels: true}}",
            "facts.cancels",
            "is no fact of llm; it has says_why",
        ),
        ("tts", f"{GIVEN}, url: 'http://minimax.example'", "url", "carries the key unencrypted"),
        ("tts", "kind: local, service: 'a:B'", "service", "is only for a rung of kind: pipecat"),
        ("llm", "kind: openai, init: {a: 1}", "init", "is only for a rung of kind: pipecat"),
    ],
)
def test_each_mistake_is_one_line_with_its_place_and_the_cure(
    stage: str, text: str, key: str, problem: str
) -> None:
    (line,) = refused(stages(text, stage), KEY="k")

    assert line.startswith("holdline.yaml:")
    assert f"stages.{stage}[0].{key} " in line
    assert problem in line


@pytest.mark.parametrize(
    "text",
    [
        MINE % "OwnVoice",
        f"{MINE % 'OwnVoice'}, rate_hz: 16000",
        GIVEN,
        f"{GIVEN}, settings: {{speed: 1, pitch: 2.0, emotion: null}}",
        f'{GIVEN}, settings: {{speed: "1.1", pitch: "2"}}',
        GIVEN.replace('"1"', "1"),
    ],
)
def test_a_service_that_takes_what_its_rung_states_is_accepted(text: str) -> None:
    settings = read(stages(text), KEY="k").settings

    assert rung(settings).service in text


def test_a_known_service_names_its_variable_and_its_server() -> None:
    settings = read(stages(f"kind: pipecat, service: '{P}soniox.stt:SonioxSTTService'", "stt"),
                    SONIOX_API_KEY="so-11").settings  # fmt: skip
    made = rung_of(rung(settings, "stt"), "stt", agent=settings.agent, sample_rate_hz=8000)

    assert (made.api_key, made.url) == ("so-11", "wss://stt-rt.soniox.com/transcribe-websocket")
    assert vendor_of(rung(settings, "stt"), "stt").title == "Soniox"
    assert made.facts.finalises
    assert made.facts.interim


def test_a_known_services_key_is_not_sent_elsewhere_by_default() -> None:
    text = f"kind: pipecat, service: '{P}soniox.stt:SonioxSTTService', url: 'wss://x.example'"
    (line,) = refused(stages(text, "stt"), SONIOX_API_KEY="so-11")

    assert "SONIOX_API_KEY is not sent to" in line


def test_an_unknown_service_has_careful_facts_unless_the_rung_states_others() -> None:
    careful = rung(read(stages(MINE % "OwnVoice"), KEY="k").settings)
    stated = rung(
        read(stages(f"{MINE % 'OwnVoice'}, facts: {{word_times: true}}"), KEY="k").settings
    )

    assert not facts_of(careful, "tts").word_times
    assert facts_of(stated, "tts").word_times
    assert facts_of(careful, "tts").asks_cheaply is RungFacts().asks_cheaply is False


def test_an_unknown_voice_is_untimed_and_gets_whole_sentences() -> None:
    policy = build_policies(read(stages(MINE % "OwnVoice"), KEY="k").settings, 0.0)["tts"]

    assert policy.untimed == {"it"}
    assert policy.clauses == {}


@pytest.mark.parametrize(
    ("stated", "quiet"), [("", True), (", facts: {interim: true}", False)], ids=["unknown", "known"]
)
def test_an_unknown_recogniser_is_expected_to_be_quiet_while_the_caller_speaks(
    *, stated: str, quiet: bool
) -> None:
    text = stages(MINE % "OldRecogniser" + stated, "stt")
    policies = build_policies(read(text, KEY="k").settings, 0.0)

    assert policies["stt"].quiet == ({"it"} if quiet else frozenset())
    assert policies["tts"].quiet == frozenset()


@pytest.mark.parametrize(
    ("rate", "leg_hz", "asked_hz"), [("", 8000, 24000), ("", 24000, 24000), ("24000", 8000, 24000)]
)
def test_a_service_is_asked_for_a_rate_that_it_supports(
    rate: str, leg_hz: int, asked_hz: int
) -> None:
    stated = f", rate_hz: {rate}" if rate else ""
    text = f"kind: pipecat, service: '{P}openai.tts:OpenAITTSService'{stated}"
    settings = read(stages(text)).settings

    made = rung_of(rung(settings), "tts", agent=settings.agent, sample_rate_hz=leg_hz)

    assert (made.rate_hz, made.sample_rate_hz) == (asked_hz, leg_hz)


def test_rungs_of_one_vendor_share_its_key_and_only_equal_requests_share_a_place() -> None:
    aura = f"kind: pipecat, service: '{P}deepgram.tts:DeepgramTTSService'"
    text = f"""
stages:
  stt: [{{kind: deepgram}}]
  llm: [{{kind: openai}}]
  tts:
    - {{name: a, {aura}, voice: x}}
    - {{name: b, {aura}, voice: x, settings: {{speed: 1.2}}}}
    - {{name: c, kind: pipecat, service: 'my_services:OwnVoice', api_key_env: DEEPGRAM_API_KEY}}
"""
    settings = read(text).settings
    a, b, c = settings.stages.tts

    assert credential(a, "tts") == credential(settings.stages.stt[0], "stt")
    assert credential(c, "tts") != credential(a, "tts")
    found = {place.rpartition("/")[2] for place in places(settings).values()}
    assert len(found) == 5
    assert other_voices((a, b, c)) == {"c", "local"}


def test_a_command_refuses_a_wrong_service_with_one_line(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    Path("holdline.yaml").write_text(stages(MINE % "Ownvoice"), encoding="utf-8")
    for name in ("OPENAI_API_KEY", "KEY"):
        monkeypatch.setenv(name, "k")

    assert run(["serve"]) == 2

    told = capsys.readouterr()
    (line,) = told.err.splitlines()
    assert "did you mean OwnVoice?" in line
    assert told.out == ""


def test_pipecat_is_not_imported_to_read_a_configuration_without_its_services(
    tmp_path: Path,
) -> None:
    """Its import prints a banner, and takes longer than a wrong configuration may."""
    text = stages(OTHERS["tts"][1:-1]).replace("name: it, ", "")
    (tmp_path / "holdline.yaml").write_text(text, encoding="utf-8")
    code = "import sys, bot.__main__, configuration.printing as p; from configuration.loading "
    code += "import load; p.as_yaml(load()); sys.exit('pipecat' in sys.modules)"

    surroundings = {"PYTHONPATH": str(ROOT), "OPENAI_API_KEY": "k"}
    done = subprocess.run(  # noqa: S603 - ours
        [sys.executable, "-P", "-c", code], cwd=tmp_path, env=surroundings, check=False
    )

    assert done.returncode == 0
