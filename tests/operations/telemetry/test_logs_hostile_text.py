"""Hostile text in the log: no forged lines, no terminal commands, no flood."""

import asyncio
import logging
import logging.config
import re
import stat
import threading
from pathlib import Path

import pytest
import uvicorn.config
from loguru import logger

from calls.entry import Entry
from calls.events import InputRefused
from operations.masking import bounded, one_line, without_cards
from operations.telemetry import logs
from operations.telemetry.bridge import LineWriter
from operations.telemetry.logs import KEPT, LogFile
from tests.kit.log_file import lines_in

FORGED = "hello\n2026-01-01 00:00:00.000 | ERROR    | bot:call:1 - the house is on fire"
STAMP = re.compile(r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}\+\d\d:\d\d \| [A-Z]+ +\| ")
CARD = "4111 1111 1111 1111"  # a number for tests that every payment service documents


def fail_with(text: str) -> None:
    raise ValueError(text)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a\nb\r\n", r"a\nb\r\n"),
        ("\x1b[2J\x1b]0;title\x07", r"\x1b[2J\x1b]0;title\x07"),
        ("\u2028\u202e\x85", r"\u2028\u202e\x85"),
        ("\ud800", r"\ud800"),
        ("Grüße, 世界", "Grüße, 世界"),
    ],
    ids=["lines", "a terminal's orders", "other alphabets' marks", "half a character", "words"],
)
def test_control_characters_are_escaped(text: str, shown: str) -> None:
    assert one_line(text) == shown


def test_a_line_is_a_kilobyte_and_says_how_much_is_missing() -> None:
    assert bounded("x" * 1024) == "x" * 1024
    assert bounded("x" * 60_000) == "x" * 1024 + "… [58976 more bytes]"
    assert bounded("ü" * 600).endswith("… [176 more bytes]")


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        (CARD, "*" * 12 + "1111"),
        ("my card is 4111-1111-1111-1111.", "my card is ************1111."),
        ("378282246310005", "***********0005"),
        ("4111111111111112", "4111111111111112"),
        ("4111 1111 1111 1112", "*" * 12 + "1112"),
        ("is 4111.1111.1111.1111.", "is " + "*" * 12 + "1111."),
        ("4111/1111/1111/1111", "*" * 12 + "1111"),
        ("4111\u00a01111\u20111111-1111", "*" * 12 + "1111"),
        ("3782.822463.10005", "*" * 11 + "0005"),
        ("4111.1111.1111", "4111.1111.1111"),
        ('"at_s": 1048581.9399999995', '"at_s": 1048581.9399999995'),
        ("0.4111111111111111", "0.4111111111111111"),
        ("CA4111111111111111", "CA4111111111111111"),
    ],
    ids=[
        "a card",
        "with dashes",
        "of 15",
        "a wrong digit",
        "a misheard digit",
        "with dots",
        "with slashes",
        "with odd spaces",
        "of 15 with dots",
        "three groups",
        "a moment",
        "a fraction",
        "a name",
    ],
)
def test_cards_are_masked_and_other_numbers_are_not(text: str, shown: str) -> None:
    assert without_cards(text) == shown


@pytest.mark.parametrize("text", [FORGED, "\x1b[31m" + "x" * 60_000, f"pay with {CARD}"])
def test_every_logged_text_is_one_bounded_line(log_file: Path, text: str) -> None:
    logger.warning("Invalid message: {}", text)

    (line,) = lines_in(log_file)
    assert STAMP.match(line)
    assert "\x1b" not in line
    assert CARD not in line
    assert len(line.encode()) < 1024 + 200


def test_an_exceptions_message_forges_no_line_either(log_file: Path) -> None:
    try:
        fail_with(FORGED + "\x1b[2J" + "y" * 60_000)
    except ValueError as error:
        logger.opt(exception=error).error("it failed")

    first, *trace = lines_in(log_file)
    assert STAMP.match(first)
    assert all(line.startswith("    ") for line in trace)
    assert "test_logs_hostile_text.py" in trace[1]
    assert r"ValueError: hello\n2026" in trace[-1]
    assert max(len(line.encode()) for line in trace) < 1100


def test_an_exceptions_cause_is_logged_with_it(log_file: Path) -> None:
    group = ExceptionGroup("two tasks", [ValueError("one"), KeyError("two\nlines")])
    group.__cause__ = OSError("the disk")

    logger.opt(exception=group).error("it failed")

    trace = "\n".join(lines_in(log_file)[1:])
    for said in ("ValueError: one", r"KeyError: 'two\nlines'", "OSError: the disk"):
        assert said in trace


def test_libraries_log_lines_reach_the_log(
    log_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    try:
        fail_with("a mistake")
    except ValueError:
        logging.getLogger("uvicorn.error").exception("Exception in ASGI application\n")

    first, *trace = lines_in(log_file)
    assert " ERROR " in first
    assert first.endswith("uvicorn.error:-:0 - Exception in ASGI application")
    assert trace[-1] == "    ValueError: a mistake"
    told = capsys.readouterr().err.splitlines()
    assert all(STAMP.match(line) or line.startswith("    ") for line in told)


def test_a_library_with_its_own_terminal_handler_reaches_the_log_too(tmp_path: Path) -> None:
    logging.config.dictConfig(uvicorn.config.LOGGING_CONFIG)
    logs.set_up(level="INFO", folder=tmp_path)

    logging.getLogger("uvicorn.error").error("a mistake")

    (line,) = lines_in(tmp_path / "holdline.log")
    logger.remove()
    assert line.endswith("uvicorn.error:-:0 - a mistake")


@pytest.mark.parametrize(
    "end",
    [
        ConnectionResetError("gone"),
        BrokenPipeError(),
        asyncio.IncompleteReadError(b"", 4),
        BaseExceptionGroup("both", [ConnectionAbortedError(), ConnectionResetError()]),
    ],
    ids=["reset", "broken pipe", "half read", "two"],
)
def test_a_closed_connection_is_no_traceback(log_file: Path, end: BaseException) -> None:
    logging.getLogger("websockets.server").error("connection handler failed", exc_info=end)

    (line,) = lines_in(log_file)
    assert type(end).__name__ in line


def test_repeated_lines_of_a_library_are_counted(log_file: Path) -> None:
    said = {"name": "uvicorn.error", "msg": "Invalid HTTP request received.", "levelno": 30}
    for number in range(500):
        record = logging.makeLogRecord({**said, "created": 1000.0 + number / 5})
        logging.getLogger().handle(record)

    lines = lines_in(log_file)
    assert len(lines) == 2
    assert lines[1].endswith("Invalid HTTP request received. (299 more times)")


async def test_refusals_are_counted_and_not_written_one_by_one(log_file: Path) -> None:
    log = logs.Log()
    refused = InputRefused(transport="twilio", reason="wrong_signature")
    for number in range(1000):
        at = f"2026-01-01T00:0{number // 600}:{number % 600 // 10:02}.000+00:00"
        await log.hear(Entry(call_id="", number=number, at=at, event=refused))

    lines = lines_in(log_file)
    assert len(lines) == 2
    assert lines[1].endswith('"reason": "wrong_signature"} 599 more times')


def test_a_blocked_terminal_does_not_stop_the_server() -> None:
    free = threading.Event()
    taken: list[str] = []

    def write(line: str) -> None:
        free.wait(30)
        taken.append(line)

    writer = LineWriter(write, name="blocked", lines_held=10)
    for number in range(1000):
        writer.write(f"{number}\n")
    free.set()

    assert writer.flush_within(30)
    said = re.findall(r"(\d+) lines of the log were lost here", "".join(taken))
    lost = sum(map(int, said))  # reported again whenever there is room
    assert lost >= 989
    assert len(taken) == 1000 - lost
    writer.stop()


def test_a_log_configured_repeatedly_leaves_nothing_open(tmp_path: Path) -> None:
    def held() -> tuple[int, int]:
        return len(tuple(Path("/proc/self/fd").iterdir())), threading.active_count()

    before = held()
    for _ in range(10):
        logs.set_up(level="INFO", folder=tmp_path)
        logger.info("hello")
    logger.remove()

    assert held() == before
    assert len((tmp_path / "holdline.log").read_text().splitlines()) == 10


def test_a_full_disk_loses_lines_and_reports_it_later() -> None:
    full = threading.Event()
    full.set()
    taken: list[str] = []

    def write(line: str) -> None:
        if full.is_set():
            raise OSError(28, "No space left on device")
        taken.append(line)

    writer = LineWriter(write, name="full")
    writer.write("1\n")
    assert writer.flush_within(30)
    full.clear()
    writer.write("2\n")
    assert writer.flush_within(30)
    writer.stop()

    assert taken == ["… 1 lines of the log were lost here: the output was too slow\n2\n"]


def test_a_file_that_another_process_is_just_rotating_loses_no_line(tmp_path: Path) -> None:
    path = tmp_path / "holdline.log"
    file = LogFile(path, largest_bytes=10)
    file.write("a line of over ten bytes\n")
    path.rename(tmp_path / "holdline.log.1")  # by the other process, which then opens a new file
    file._rotate_files()
    file.write("the next line\n")
    file.close()

    assert path.read_text() == "the next line\n"
    assert (tmp_path / "holdline.log.1").read_text() == "a line of over ten bytes\n"


def test_the_file_is_its_owners_and_rotated_when_it_is_large(tmp_path: Path) -> None:
    path = tmp_path / "logs" / "holdline.log"
    ours, theirs = LogFile(path, largest_bytes=100), LogFile(path, largest_bytes=100)
    for number in range(60):
        (ours, theirs)[number % 2].write(f"line {number} of a log that two processes write\n")
    ours.close()
    theirs.close()

    files = sorted(path.parent.iterdir())
    kept = "".join(file.read_text() for file in files)
    numbers = sorted(int(match) for match in re.findall(r"line (\d+) ", kept))
    assert len(files) == KEPT + 1
    assert numbers == list(range(numbers[0], 60))
    assert {stat.S_IMODE(file.stat().st_mode) for file in files} == {0o600}
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
