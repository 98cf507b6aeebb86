"""`holdline serve`: answers calls on every enabled transport."""

from typing import Annotated

import typer
from loguru import logger

from bot.cli.options import ConfigOption
from configuration.checks import MIN_TOKEN, is_short
from configuration.errors import shown
from configuration.folders import check_folders, why_exposed
from configuration.known_secrets import KNOWN
from configuration.loading import Loaded, load
from configuration.machine import check_memory
from configuration.printing import as_yaml
from configuration.settings import ServerSettings, Settings
from operations.telemetry import logs
from runtime.exits import DONE, UsageError


def serve_calls(
    config: ConfigOption = None,
    host: Annotated[
        str | None, typer.Option("--host", metavar="HOST", help="Address to listen on.")
    ] = None,
    port: Annotated[
        int | None, typer.Option("--port", metavar="PORT", help="Port; 0: any free port.")
    ] = None,
    workers: Annotated[
        int | None,
        typer.Option(
            "--workers", metavar="N", help="Number of processes; default: one per core, at least 2."
        ),
    ] = None,
    print_config: Annotated[
        bool,
        typer.Option(
            "--print-config", help="Print the merged configuration and where it is from, and exit."
        ),
    ] = False,
) -> int:
    """Answer calls until SIGTERM, then let those in progress end.

    Calls that outlast `shutdown.drain_s` end with a goodbye. A second SIGTERM or Ctrl-C cuts them
    off. SIGHUP replaces the workers one by one, for a new version or configuration; a configuration
    with errors is ignored.
    """
    flags = {"server.host": host, "server.port": port, "server.workers": workers}
    loaded = load(config, flags=flags, keys=not print_config)
    if print_config:
        typer.echo(KNOWN.hide(as_yaml(loaded)), nl=False)
        return DONE
    check_folders(loaded)
    _check_contacts(loaded.settings)
    _set_up_log(loaded)
    from bot.workers.supervisor import serve_with_workers  # noqa: PLC0415 - needs the extra `server`

    return serve_with_workers(config, flags, loaded)


def _check_contacts(settings: Settings) -> None:
    """Check the contacts file of `crm.kind: own`.

    Raises:
        UsageError: It is not a file of contacts.
    """
    file = settings.crm.file if settings.crm.kind == "own" else None
    if file is None:
        return
    from contacts.contact_files import why_unusable  # noqa: PLC0415 - large tables of numbers

    if why := why_unusable(file, region=settings.server.region or ""):
        raise UsageError(f"crm.file is {shown(str(file))}, which {why}")


def _set_up_log(loaded: Loaded) -> None:
    log = loaded.settings.logs
    logs.set_up(level=log.level, folder=log.dir, json_lines=log.json_lines)
    for warning in filter(None, (*loaded.warnings, check_memory(loaded.settings))):
        logger.warning("{}", warning)
    _warn_of_token(loaded.settings.server)


def _warn_of_token(server: ServerSettings) -> None:
    """Warn in the log of a short token, and of an address where it can be overheard."""
    token = server.token
    if token and is_short(token.get_secret_value()):
        logger.warning(
            "HOLDLINE_TOKEN has fewer than {} characters; use it on loopback only", MIN_TOKEN
        )
    if why := why_exposed(server):
        logger.warning("HOLDLINE_TOKEN {}", why)
