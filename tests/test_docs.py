"""Names in the documents exist: links, files, make targets, commands, options, faults, keys."""

import ast
import re
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType

import pytest
import yaml
from typer.testing import CliRunner

from bot.__main__ import app
from calls.dialled import VERDICTS
from configuration.agent import AgentSettings
from configuration.environment import Environment
from configuration.loading import load
from contacts.numbers import CallableNumber, read_number
from lab.drill.markdown import render
from lab.drill.matrix import FULL
from lab.drill.results import Results
from lab.drill.selection import chosen
from lab.simulators.faults import FAULTS
from lab.simulators.lab import schedule_for
from operations.crm.customer import CrmReport
from scripts import commands_page, configuration_page, services_page
from tests.documents import BLOCK, CODE, DOCUMENTS, LINK, ROOT, blocks, commands, name_of
from tests.quoted_numbers import PLACE, constant, quotes

# A path in our repository: in one of these folders, or a file at the root.
FOLDERS = (
    *(
        "bot/",
        "calls/",
        "campaigns/",
        "contacts/",
        "deploy/",
        "docs/",
        "engines/",
        "examples/",
        "fallbacks/",
        "lab/",
        "operations/",
        "processors/",
    ),
    *(
        "providers/",
        "scripts/",
        "tests/",
        "transports/",
        "benchmarks/",
        ".ci/",
    ),
)
SIP_STATUS = r"(?<!but )\b[3-6]\d\d\b"
COMMANDS = sorted(str(registered_command.name) for registered_command in app.registered_commands)


def anchors(path: Path) -> set[str]:
    titles = re.findall(r"^#+ (.+)$", path.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


@pytest.mark.parametrize("document", DOCUMENTS, ids=name_of)
def test_every_link_has_a_target(document: Path) -> None:
    for link in LINK.findall(document.read_text(encoding="utf-8")):
        if link.startswith(("https://", "http://")):
            continue
        place, _, title = link.partition("#")
        target = (document.parent / place) if place else document

        assert target.exists(), link
        assert not title or title in anchors(target), link


@pytest.mark.parametrize("document", DOCUMENTS, ids=name_of)
def test_every_named_file_exists(document: Path) -> None:
    text = BLOCK.sub("", document.read_text(encoding="utf-8"))
    for word in CODE.findall(text):
        if word.startswith(FOLDERS) and re.fullmatch(r"[\w./-]+", word) and "NAME" not in word:
            assert (ROOT / word).exists() or list(ROOT.glob(f"{word}*")), word


# `lab/simulators/lab.py`, `wire.py` and `pace.py`: names in a row after a path are in its folder.
ROW = re.compile(r"`([\w/]+/)\w+\.py`((?:(?:,\s|\sand\s|,\sand\s)`[\w/]+\.py`)+)")


@pytest.mark.parametrize("document", DOCUMENTS, ids=name_of)
def test_files_named_in_a_row_are_in_the_folder_of_the_first(document: Path) -> None:
    text = BLOCK.sub("", document.read_text(encoding="utf-8"))
    for row in ROW.finditer(text):
        folder = row[1]
        for name in re.findall(r"`([\w/]+\.py)`", row[2]):
            own, _, file = name.rpartition("/")
            folder = own or folder
            assert (ROOT / folder / file).exists(), name


@pytest.mark.parametrize("document", DOCUMENTS, ids=name_of)
def test_a_quoted_number_is_that_of_the_code(document: Path) -> None:
    text = CODE.sub("", BLOCK.sub("", document.read_text(encoding="utf-8")))
    found = list(quotes(text))

    assert len(found) == len(PLACE.findall(text))
    for quote in found:
        assert quote.numbers == pytest.approx(constant(quote.place)), quote.place


@pytest.mark.parametrize("document", DOCUMENTS, ids=name_of)
def test_a_table_has_a_header_and_as_many_cells_in_every_row(document: Path) -> None:
    text = BLOCK.sub("", document.read_text(encoding="utf-8"))
    for table in re.findall(r"(?:^\|.*\n?)+", text, re.MULTILINE):
        head, line, *rows = (re.sub(r"`[^`]*`|\\\|", "", row) for row in table.splitlines())

        assert re.fullmatch(r"(\| ?:?-+:? ?)+\|", line), head
        assert {row.count("|") for row in (line, *rows)} == {head.count("|")}, head


AREA = re.compile(r"\*\*.+\*\* \((?:pure, )?`([\w/]+/)`\)")
FILE = re.compile(r"`([\w./-]+\.(?:cfg|dict|js|py|service|ya?ml))`")


def test_the_map_of_the_architecture_names_existing_files() -> None:
    """A file without a folder is in that of the path before it in its line, or in its area's."""
    page = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    rows = page.partition("## Subjects and their files")[2].partition("\n## ")[0].splitlines()
    area, paths = Path(), list[Path]()
    for row in rows:
        if named := AREA.fullmatch(row):
            area = Path(named[1])
        folder = area
        for name in FILE.findall(row):
            paths.append(Path(name) if "/" in name else folder / name)
            folder = paths[-1].parent

    assert len(paths) > 300
    assert [path for path in paths if "NAME" not in str(path) and not (ROOT / path).is_file()] == []


def test_every_named_constant_exists() -> None:
    rooms = [
        folder
        for folder in FOLDERS
        if (ROOT / folder).is_dir() and folder not in ("docs/", "tests/")
    ]
    code = "\n".join(
        path.read_text(encoding="utf-8") for room in rooms for path in (ROOT / room).rglob("*.py")
    )
    defined = set(re.findall(r"^([A-Z][A-Z0-9_]+): ", code, re.MULTILINE))
    page = (ROOT / "docs" / "how-it-stays-up.md").read_text(encoding="utf-8")
    named = {word for word in CODE.findall(page) if re.fullmatch(r"[A-Z][A-Z0-9_]+", word)}

    assert len(named) > 20
    assert named - defined == set()


DECISION = re.compile(
    r"# (?P<number>\d{4}) (?P<title>.+)\n\n"
    r"(?P<date>\d{4}-\d\d-\d\d) · (?P<status>accepted|superseded by \d{4})\n"
)
DECISIONS = sorted((ROOT / "docs" / "decisions").glob("[0-9]*.md"))


@pytest.mark.parametrize("page", DECISIONS, ids=name_of)
def test_a_decision_has_a_title_a_date_and_a_status(page: Path) -> None:
    head = DECISION.match(page.read_text(encoding="utf-8"))
    number, *words = page.stem.split("-")

    assert head, "it must begin: # NNNN Title, an empty line, 2026-11-20 · accepted"
    assert head["number"] == number
    assert set(words) <= set(re.sub(r"[^a-z0-9 ]", "", head["title"].lower()).split())


def test_the_list_of_decisions_agrees_with_the_pages() -> None:
    rows = []
    for page in DECISIONS:
        head = DECISION.match(page.read_text(encoding="utf-8"))
        assert head
        number, title, date, status = head.groups()
        rows.append(f"| [{number}]({page.name}) | {title} | {date} | {status} |")
    told = (ROOT / "docs" / "decisions" / "README.md").read_text(encoding="utf-8")

    assert [line for line in told.splitlines() if line.startswith("| [")] == rows


def test_every_named_row_of_the_drill_exists() -> None:
    named = [
        words[words.index("--only") + 1]
        for _, words in commands()
        if "--only" in words and words[0].endswith("holdline")
    ]

    assert named
    for item in named:
        assert chosen("full", item.split(","))


def test_every_cited_line_of_pipecat_exists() -> None:
    package = Path(str(find_spec("pipecat").origin)).parent  # type: ignore[union-attr]
    page = (ROOT / "docs" / "pipecat.md").read_text(encoding="utf-8")
    cited = re.findall(r"`([\w/]+\.py):(\d+)`", page)

    assert len(cited) > 20
    for path, line in cited:
        lines = (package / path).read_text(encoding="utf-8").splitlines()
        assert lines[int(line) - 1].strip(), (path, line)


def test_every_dependency_has_a_row() -> None:
    project = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    wanted = project[project.index("dependencies = [") : project.index("[project.scripts]")]
    packages = set(re.findall(r'"([a-z][a-z0-9-]+)[\[<>=" ]', wanted))
    told = set(CODE.findall((ROOT / "docs" / "dependencies.md").read_text(encoding="utf-8")))

    assert {"pipecat-ai", "ruff", "sounddevice"} <= packages
    assert packages - told == set()


def options_of(command: str) -> set[str]:
    shown = CliRunner().invoke(app, [command, "--help"])
    assert shown.exit_code == 0, shown.output
    return set(re.findall(r"--[a-z-]+", shown.output))


@pytest.mark.parametrize("command", COMMANDS)
def test_the_documents_use_only_existing_options_of_a_command(command: str) -> None:
    used = {
        word
        for _, words in commands()
        if words[0].endswith("holdline") and words[1:2] == [command]
        for word in words
        if word.startswith("--")
    }

    assert used <= options_of(command)


GENERATED = [commands_page, configuration_page, services_page]


@pytest.mark.parametrize("script", GENERATED, ids=lambda it: it.__name__)
def test_a_generated_page_is_as_its_script_writes_it(script: ModuleType) -> None:
    page = script.PAGE.read_text(encoding="utf-8")

    assert page == script.renew(page), f"run {script.__name__}"


def test_every_key_of_the_configuration_has_a_meaning() -> None:
    page = configuration_page.PAGE.read_text(encoding="utf-8")
    rows = re.findall(r"^\| (`\w+`) .*\|(.*) \|$", page, re.MULTILINE)

    assert len(rows) > 200
    assert [key for key, meaning in rows if not meaning.strip()] == []


@pytest.mark.parametrize("document", DOCUMENTS, ids=name_of)
def test_every_command_named_in_a_sentence_exists(document: Path) -> None:
    text = BLOCK.sub("", document.read_text(encoding="utf-8"))
    named = re.findall(r"`(?:\.venv/bin/)?holdline ([a-z][a-z-]*)", text)

    assert set(named) <= set(COMMANDS)


def test_the_page_on_campaigns_lists_final_statuses_and_trunk_failures() -> None:
    page = (ROOT / "docs" / "campaigns.md").read_text(encoding="utf-8")
    rows = [
        line for line in page.splitlines() if line.startswith("| ") and re.search("[3-6]0", line)
    ]
    told = {
        follows: {
            int(code) for row in rows if follows in row for code in re.findall(SIP_STATUS, row)
        }
        for follows in ("is not called again", "keeps the attempt")
    }

    assert told["is not called again"] == {
        code for code, verdict in VERDICTS.items() if verdict.again == "never"
    }
    assert told["keeps the attempt"] == {
        code for code, verdict in VERDICTS.items() if verdict.trunk != "well"
    }


def test_the_lab_page_lists_every_fault() -> None:
    page = (ROOT / "docs" / "lab.md").read_text(encoding="utf-8")

    assert set(FAULTS) - set(CODE.findall(page)) == set()


def test_the_schedule_on_the_lab_page_is_valid() -> None:
    (schedule,) = blocks(ROOT / "docs" / "lab.md", "yaml")

    assert set(schedule_for(schedule)) == {"cartesia", "openai"}


def test_the_configuration_in_the_readme_is_valid(tmp_path: Path) -> None:
    (text,) = blocks(ROOT / "README.md", "yaml")
    file = tmp_path / "holdline.yaml"
    file.write_text(text, encoding="utf-8")
    names = ["DEEPGRAM_API_KEY", "OPENAI_API_KEY", "CARTESIA_API_KEY", "ELEVENLABS_API_KEY"]
    values = dict.fromkeys([*names, "OPENAI_API_KEY_B"], "key")
    settings = load(file, variables=Environment(values=values)).settings

    assert [rung.name for rung in settings.stages.llm] == ["openai", "openai-b"]


README_ROW = re.compile(r"\(`([\w-]+)`\) \| (\S+) s \|.*\| (\S+?)(?: s)? \|.*\|$", re.MULTILINE)
FIRST_SOUND = re.compile(r"any speech ≤ 1.5 s \|[^|]*\| (\S+?)\*? \|[^|]*\|[^|]*\|[^|]*\| (\S+) \|")


def test_the_readme_has_the_worst_times_of_the_drills_report() -> None:
    report = (ROOT / "docs" / "drill-report.md").read_text(encoding="utf-8")
    told = README_ROW.findall((ROOT / "README.md").read_text(encoding="utf-8"))

    assert len(told) > 5
    for row, ours, stock in told:
        figures = FIRST_SOUND.search(report.partition(f"(`{row}`)")[2])
        assert figures
        assert (ours, stock) == figures.groups(), row


def test_the_example_of_two_agents_is_valid() -> None:
    keys = ("DEEPGRAM_API_KEY", "OPENAI_API_KEY", "CARTESIA_API_KEY", "ELEVENLABS_API_KEY")
    example = ROOT / "examples" / "two_agents.yaml"
    settings = load(example, variables=Environment(values=dict.fromkeys(keys, "key"))).settings

    assert settings.agent_for("+15550101").name == "repairs"
    assert settings.agents["sales"].disclosure == settings.agent.disclosure
    assert yaml.safe_load(example.read_text(encoding="utf-8")).keys() == {"agent", "agents"}


def test_the_drills_report_has_every_pass_of_its_results() -> None:
    results = Results(ROOT / "docs", file="drill-results.json")
    report = (ROOT / "docs" / "drill-report.md").read_text(encoding="utf-8")

    assert report == render(FULL, results), "run scripts/drill_report.py"
    assert all(
        f"| {drill_pass.number} | {drill_pass.began} |" in report for drill_pass in results.passes
    )


LISTED_AS = {  # how the page names a part that the code has by its place
    "*([self.answerer] if self.answerer else [])": "AnswererWatch",
    "*([transfer.sound] if transfer else [])": "JoinedSound",
    "*([transfer.waiting] if transfer else [])": "WaitingLine",
    "*language_for(self._shared, leg, agent, voices=self._voices, phrases=self.phrases)": (
        "CallerLanguage"
    ),
    "self.farewell": "Farewell",
    "self.hold_line": "HoldLine",
    "self.keypad": "Keypad",
    "self.llm": "llm",
    "self.stt": "stt",
    "self.tts": "tts",
    "dialogue.pair.assistant()": "pair.assistant()",
    "dialogue.pair.user()": "pair.user()",
    "window()": "ContextWindow",
}


def test_the_documented_pipeline_is_that_of_the_code() -> None:
    """The list in `architecture.md` has the order of `CallPipeline`."""
    page = (ROOT / "docs" / "architecture.md").read_text()
    shown = page.split("## The pipeline of a call", 1)[1].split("```")[1].split("\n")
    source = ast.parse((ROOT / "bot" / "call" / "pipeline.py").read_text())
    build = next(
        node
        for node in ast.walk(source)
        if isinstance(node, ast.FunctionDef) and node.name == "_ordered_processors"
    )
    returned = build.body[-1]
    assert isinstance(returned, ast.Return)
    listed = returned.value
    assert isinstance(listed, ast.List)

    parts = [ast.unparse(elt) for elt in listed.elts]
    names = [LISTED_AS.get(part, part if "leg." in part else part.split("(")[0]) for part in parts]
    assert [line.split()[0] for line in shown if line] == names
    assert names[names.index("TurnOpener") + 1] == "pair.user()"  # the floor first


# Special characters of a pattern of Asterisk's dialplan; the others stand for themselves.
STANDS_FOR = {"X": r"\d", "Z": "[1-9]", "N": "[2-9]", ".": ".+", "+": r"\+"}


def test_the_documented_pbx_accepts_the_numbers_that_we_dial() -> None:
    (dialplan,) = (
        block
        for block in blocks(ROOT / "docs" / "sip-exolve.md", "ini")
        if "[from-livekit]" in block
    )
    patterns: list[tuple[str, str]] = re.findall(
        r"^exten => _([^,]+),1,Dial\(PJSIP/(\S+)@exolve\)(?: +;.*)?$", dialplan, re.MULTILINE
    )
    callee = read_number("8 495 123-45-67", region="RU")
    assert isinstance(callee, CallableNumber)

    dialled = [
        callee.e164[1:] if words == "${EXTEN:1}" else callee.e164
        for pattern, words in patterns
        if re.fullmatch("".join(STANDS_FOR.get(item, item) for item in pattern), callee.e164)
    ]
    assert dialled == ["74951234567"]  # as the page says that Exolve writes numbers


def test_the_documents_list_every_placeholder_of_a_crm_template() -> None:
    page = (ROOT / "docs" / "customers.md").read_text(encoding="utf-8")
    told = page.partition("The placeholders of `write` are ")[2].partition("\n\n")[0]
    report = CrmReport(key="call-1", call_id="1", direction="inbound", number="+15550100")

    assert set(report.values()) <= set(re.findall(r"`(\w+)`", told))


def test_livekit_waits_longer_for_a_first_packet_than_we_wait_for_a_silent_caller() -> None:
    (config,) = [
        yaml.safe_load(block)
        for block in blocks(ROOT / "docs" / "sip.md", "yaml")
        if "sip_port" in block
    ]
    silence = AgentSettings().silence
    spoken_s = 10.0 * (len(silence.prompts) + 2)  # the greeting, each prompt and the goodbye
    silent_s = silence.prompt_after_s * (len(silence.prompts) + 1)

    assert float(config["media_timeout_initial"].removesuffix("s")) > silent_s + spoken_s
