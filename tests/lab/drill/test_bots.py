"""The drill on a developer's own bots, and what it says when a call proves nothing."""

import asyncio
import io
import re
import socket
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from rich.console import Console

from bot.__main__ import run
from lab.drill import bots, markdown, report, runner
from lab.drill.bot_server import application, bot_module
from lab.drill.bots import play_bot
from lab.drill.drill import Wanted, drill
from lab.drill.measured import MeasuredRun
from lab.drill.results import Results
from lab.drill.rows import EVERY_WORD, HEALTHY, LOST, RECORDED, Row, Target
from lab.drill.runner import Job, run_all
from lab.drill.selection import chosen
from lab.drill.table import missed, table
from lab.drill.verdicts import Measured, findings
from runtime.exits import CommandError, UsageError

MINE, LADDERS = "my/mine.py", "ladders.py"
ROW = Row(name="tts-dead", title="TTS dead", targets=(EVERY_WORD,), runs=1)
DEEPGRAM, OPENAI, CARTESIA = ("deepgram", "openai", "cartesia")
KINDS = {DEEPGRAM: DEEPGRAM, "deepgram-b": DEEPGRAM, OPENAI: OPENAI, CARTESIA: CARTESIA}


@pytest.mark.parametrize(
    ("source", "told"),
    [
        ("import nothing_of_this_name", "cannot be imported: ModuleNotFoundError: No module named"),
        ("x = 1\n\nraise ValueError('a\\nb' * 500)", "cannot be imported: ValueError: a ba b"),
        ("x = 1\nraise SystemExit(3)", "cannot be imported: SystemExit: 3 (line 2)"),
        ("def bot(:", "cannot be imported: SyntaxError: "),
        ("x = 1", "has no `async def bot(runner_arguments)` at its top level"),
        ("def bot(arguments): ...", "has no `async def bot(runner_arguments)`"),
    ],
    ids=["no module", "a long error", "an exit", "no Python", "no bot", "not async"],
)
def test_a_file_that_is_no_bot_is_one_short_line(source: str, told: str, tmp_path: Path) -> None:
    file = tmp_path / "mine.py"
    file.write_text(source)

    with pytest.raises(UsageError) as raised:
        bot_module(file)

    line = str(raised.value)
    assert line.startswith(f"mine.py {told}")
    assert len(line.splitlines()) == 1
    assert len(line) < 400


def test_a_bot_imports_the_modules_of_its_folder(tmp_path: Path) -> None:
    (tmp_path / "prompts_of_this_bot.py").write_text("GREETING = 'Hello'")
    file = tmp_path / "mine.py"
    file.write_text("from prompts_of_this_bot import GREETING\nasync def bot(arguments): ...")

    assert bot_module(file).GREETING == "Hello"


class Control:
    """The record of a lab: the names of the providers that got a request."""

    def __init__(self, *asked: str) -> None:
        self.names = tuple(KINDS)
        self._asked = asked

    async def requests(self, name: str) -> list[dict[str, Any]]:
        return [{}] if name in self._asked else []


def rig(name: str, *asked: str, broken: tuple[str, ...] = ()) -> Any:
    breaks = tuple(SimpleNamespace(provider=provider) for provider in broken)
    instances = [{"name": name, "kind": kind} for name, kind in KINDS.items()]
    return SimpleNamespace(
        row=SimpleNamespace(name=name, breaks=breaks),
        control=Control(*asked),
        lab=SimpleNamespace(instances=instances),
        agent=None,
    )


@pytest.mark.parametrize(
    ("asked", "greeted", "told"),
    [
        ((), True, "asked no simulated recogniser; give yours DEEPGRAM_API_KEY and DEEPGRAM_BASE"),
        ((DEEPGRAM,), True, "asked no simulated model; give yours OPENAI_API_KEY and OPENAI_BASE"),
        ((DEEPGRAM, OPENAI), True, "asked no simulated voice; give yours CARTESIA_API_KEY"),
        ((DEEPGRAM, OPENAI, CARTESIA), False, "the caller heard nothing in a healthy call"),
    ],
    ids=["no recogniser", "no model", "no voice", "silence"],
)
async def test_a_bot_that_no_healthy_call_can_use_ends_the_drill(
    monkeypatch: pytest.MonkeyPatch, asked: tuple[str, ...], *, greeted: bool, told: str
) -> None:
    async def play(_: Any, played: MeasuredRun) -> None:
        played.measures["greeting_s"] = 0.5 if greeted else LOST

    monkeypatch.setattr(bots, "play", play)

    with pytest.raises(UsageError, match=told) as raised:
        await play_bot(rig(HEALTHY, *asked), MeasuredRun(), MINE)
    assert str(raised.value).startswith(f"{MINE}: ")


@pytest.mark.parametrize(
    ("listens", "told"), [(True, "does it block the event loop"), (False, "process has ended")]
)
async def test_a_bot_that_answers_nothing_any_more_ends_the_drill(
    monkeypatch: pytest.MonkeyPatch, *, listens: bool, told: str
) -> None:
    monkeypatch.setattr(bots, "play", lambda *_: asyncio.sleep(60.0))
    monkeypatch.setattr(bots, "HEALTHY_S", 0.01)
    monkeypatch.setattr(bots, "ASK_S", 0.1)
    mine = rig(HEALTHY)
    with socket.create_server(("127.0.0.1", 0)) as server:  # which accepts nothing
        mine.agent = SimpleNamespace(url=f"http://127.0.0.1:{server.getsockname()[1]}")
        if not listens:
            server.close()
        async with asyncio.timeout(5.0):
            with pytest.raises(UsageError, match=told):
                await play_bot(mine, MeasuredRun(), MINE)


async def test_a_bot_that_exits_is_reported_as_one_that_raised() -> None:
    async def bot(_: Any) -> None:
        raise SystemExit(3)

    settings = SimpleNamespace(server=SimpleNamespace(public_url="http://here"))
    app = application(settings, SimpleNamespace(bot=bot, __file__="mine.py"))  # type: ignore[arg-type]
    media = next(route.endpoint for route in app.routes if route.path == "/twilio/media")  # type: ignore[attr-defined]
    with pytest.raises(SystemExit):
        await media(SimpleNamespace(accept=lambda: asyncio.sleep(0)))

    assert app.state.raised == "bot() raised SystemExit: 3"


@pytest.mark.parametrize(
    ("asked", "broken", "proves"),
    [
        ((DEEPGRAM, OPENAI), (CARTESIA,), False),
        (("deepgram-b", OPENAI, CARTESIA), (DEEPGRAM,), False),
        ((DEEPGRAM, OPENAI, CARTESIA), (CARTESIA,), True),
        ((DEEPGRAM,), (DEEPGRAM, "deepgram-b"), True),
        ((DEEPGRAM, OPENAI), (), True),
    ],
    ids=["another voice", "its standby", "the broken one", "one of two", "nothing broken"],
)
async def test_a_call_that_did_not_meet_the_rows_fault_proves_nothing(
    monkeypatch: pytest.MonkeyPatch,
    asked: tuple[str, ...],
    broken: tuple[str, ...],
    *,
    proves: bool,
) -> None:
    async def play(*_: Any) -> None: ...

    monkeypatch.setattr(bots, "play", play)
    played = play_bot(rig("a-row", *asked, broken=broken), MeasuredRun(), MINE)

    if proves:
        await played
        return
    with pytest.raises(CommandError, match=f"made no request to {broken[0]}"):
        await played


async def test_an_error_of_the_call_itself_is_kept_if_the_call_met_the_fault(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def play(*_: Any) -> None:
        raise ConnectionError("the agent had hung up")

    monkeypatch.setattr(bots, "play", play)

    with pytest.raises(ConnectionError, match="hung up"):
        await play_bot(rig("a-row", CARTESIA, broken=(CARTESIA,)), MeasuredRun(), MINE)


def wanted(tmp_path: Path, *files: str, only: tuple[str, ...] = ()) -> Wanted:
    return Wanted(matrix="full", only=only, baseline=None, jobs=1, folder=tmp_path, bots=files)


def test_bots_are_measured_in_place_of_holdlines_own_server(tmp_path: Path) -> None:
    both = wanted(tmp_path, LADDERS, MINE, LADDERS)

    assert both.sides == (LADDERS, MINE)
    assert f"--bot {LADDERS},{MINE}" in both.options


def test_a_bot_plays_no_row_of_holdlines_own_server() -> None:
    rows = chosen("full", (), for_bots=True)

    assert not [row.name for row in rows if row.ours_alone]
    assert not [t for row in rows for t in row.targets if t.measure in RECORDED or t.side]
    assert all(row.targets for row in rows)
    with pytest.raises(UsageError, match="'clips', which breaks a part of Holdline's server"):
        chosen("full", ("clips",), for_bots=True)


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["--bot", ""], "--bot is empty"),
        (["--bot", "absent.py,other.py"], "--bot is absent.py; there is no such file"),
        (["--bot", __file__, "--only", "worker-killed"], "a part of Holdline's server"),
    ],
    ids=["no file", "an absent file", "a row of our own"],
)
def test_wrong_options_are_one_line(
    options: list[str], told: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["drill", *options, "--out", str(tmp_path / "out")]) == 2

    (line,) = capsys.readouterr().err.splitlines()
    assert told in line
    assert not (tmp_path / "out").exists()


async def test_a_bot_that_cannot_be_measured_stops_all_runs_with_one_line(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    begun: list[int] = []

    async def unusable(row: Row, side: str, number: int, **_: Any) -> dict[str, Any]:
        del row
        begun.append(number)
        raise UsageError(f"{side}: it does not load")

    monkeypatch.setattr(runner, "_play_run", unusable)
    row = replace(ROW, runs=4)
    job = Job(rows=[row], sides=[MINE], folder=tmp_path, jobs=2, options="", emit=print)

    with pytest.raises(UsageError, match="it does not load"):
        await run_all(job, Results(tmp_path))
    assert begun == [1, 2]


async def play_once(job: Job, results: Results) -> Any:
    planned = {side: {row.name: 1 for row in job.rows} for side in job.sides}
    begun = results.begin(
        began="now", commit="", options=job.options, machine="a machine", planned=planned
    )
    for side in job.sides:
        for row in job.rows:
            lost = float(side == MINE and row.name != HEALTHY)
            measures = {"lost_turns": lost, "first_speech_s": 1.0, "first_word_s": 1.0 + lost}
            entry = {"pass": begun.number, "row": row.name, "side": side, "run": 1}
            results.add({**entry, "measures": {**measures, "misheard": 0.0}, "turns": []})
    return begun


async def test_the_first_bot_decides_and_the_others_stand_beside_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first = await drill(wanted(tmp_path, LADDERS, MINE, only=("tts-dead",)), play=play_once)
    said = capsys.readouterr().out

    assert first == 0
    assert "Missed by mine.py: tts-dead" in said
    assert "What callers heard from ladders.py" in said
    page = (tmp_path / report.FILE).read_text()
    for shown in (page, (tmp_path / markdown.FILE).read_text()):
        assert "mine.py worst" in shown
        assert re.search(r"1 missed", shown)
    assert page.count("<h3>") == 4  # two rows of two sides
    assert await drill(wanted(tmp_path, MINE, only=("tts-dead",)), play=play_once) == 1


async def test_a_changed_bot_is_measured_again(tmp_path: Path) -> None:
    first = await play_once(
        Job(rows=[ROW], sides=[MINE], folder=tmp_path, jobs=1, options="", emit=print),
        results := Results(tmp_path),
    )
    assert missed([ROW], results, MINE) == [ROW.name]

    entry = {"pass": first.number + 1, "row": ROW.name, "side": MINE, "run": 1, "turns": []}
    planned = {MINE: {ROW.name: 1}}
    results.begin(began="later", commit="", options="", machine="m", planned=planned)
    results.add({**entry, "measures": {"lost_turns": 0.0}})

    assert missed([ROW], results, MINE) == []
    console = Console(width=200, file=io.StringIO())
    with console.capture() as captured:
        console.print(table([ROW], results, sides=(MINE,)))
    assert "1 of 2" in captured.get()


def test_a_reference_that_never_came_compares_with_nothing() -> None:
    target = Target(measure="greeting_s", worst=0.2, over=(HEALTHY, "greeting_s"))
    runs = [
        Measured(row=name, side=MINE, run=1, measures={"greeting_s": LOST})
        for name in (HEALTHY, ROW.name)
    ]
    (found,) = findings(replace(ROW, targets=(target,)), MINE, runs)

    assert found.met is None
