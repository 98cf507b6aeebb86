"""The top of every program: turns every error into one line and an exit code."""

import re
import sys
import traceback
from collections.abc import Callable, Iterator, Sequence
from importlib.metadata import PackageNotFoundError, distribution, requires

import typer
from pydantic import ValidationError

from configuration.errors import ConfigError, shown, without_secrets
from configuration.known_secrets import KNOWN
from runtime.exits import BAD_USAGE, DONE, FAILED, CommandError, UsageError, install_command

INTERRUPTED = 130  # what shells expect after Ctrl-C
CODES = (DONE, FAILED, BAD_USAGE, INTERRUPTED)


def guard(command: Callable[[], object]) -> int:
    """Run a command and return its exit code.

    Prints one line on stderr for each problem, never a traceback; of several errors, the first one
    gives the code. An integer that is none of our codes, such as the negative one of a child
    process that a signal ended, counts as a failure, like an `exit()` in a vendor's or the owner's
    code; a result that is no integer, as success.
    """
    try:
        result = command()
    except (KeyboardInterrupt, typer.Abort):
        return INTERRUPTED
    except (Exception, SystemExit) as error:  # noqa: BLE001 - a line, not a traceback
        code, lines = _exit_code_and_lines(error)
        for line in lines:
            print(KNOWN.hide(" ".join(line.split())), file=sys.stderr)  # noqa: T201 - for the terminal
        return code
    if not isinstance(result, int):
        return DONE
    return result if result in CODES else FAILED


def _exit_code_and_lines(error: Exception | SystemExit) -> tuple[int, Sequence[str]]:
    """Return the exit code of an error, and a line for each problem in it."""
    match error:
        case ConfigError():
            return BAD_USAGE, [problem.line for problem in error.problems]
        case typer.TyperException():
            return BAD_USAGE, [f"holdline: {_describe_usage(error)}"]
        case UsageError() | CommandError():
            return error.code, [f"holdline: {error}"]
        case ExceptionGroup():
            described = [_exit_code_and_lines(inner) for inner in error.exceptions]
            return described[0][0], [line for _, lines in described for line in lines]
        case _:
            return _describe_mistake(error)


def _missing_of_server() -> Iterator[str]:
    """Yield the packages of the extra `server` that are not installed."""
    for requirement in requires("holdline") or ():
        if found := re.match(r"([\w-]+)[^;]*; extra == .server.$", requirement):
            try:
                distribution(found[1])
            except PackageNotFoundError:
                yield found[1]


def _describe_usage(error: typer.TyperException) -> str:
    """Describe wrong arguments; an invalid value is quoted, which Typer does not do."""
    parameter, cause = getattr(error, "param", None), error.__cause__
    if parameter is None or not isinstance(cause, ValidationError):
        return f"{error.format_message()} (see holdline --help)"
    from configuration.schema import valid_for  # noqa: PLC0415 - slow, and only needed for an error

    first = cause.errors(include_url=False)[0]
    name = parameter.get_error_hint().replace("'", "")
    return f"{name} is {shown(first['input'])}; it must be {valid_for(first, (name,))}"


def _describe_mistake(error: Exception | SystemExit) -> tuple[int, Sequence[str]]:
    """Describe a bug and where it happened, because no traceback is printed.

    An import that fails is none, as long as packages of the extra `server` are missing.
    """
    if isinstance(error, ImportError) and (missing := next(_missing_of_server(), None)):
        cure = f"install the extra `server` with {install_command('holdline[server]')}"
        once = 'or, for the demo, pipx run --spec "holdline[server]" holdline demo'
        missing = error.name or missing
        return BAD_USAGE, [f"holdline: {missing} is not installed; {cure}, {once}"]
    frames = traceback.extract_tb(error.__traceback__)
    place = f" at {frames[-1].filename}:{frames[-1].lineno}" if frames else ""
    line = f"holdline failed: {type(error).__name__}: {without_secrets(str(error))}{place}"
    return FAILED, [line]
