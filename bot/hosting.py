"""`python bot.py`: Pipecat's own runner with Holdline's page and calls."""

import sys
from functools import partial
from types import SimpleNamespace

from bot.__main__ import run
from configuration.errors import ConfigError
from configuration.folders import check_folders, keep_private
from configuration.loading import load
from runtime.exits import BAD_USAGE

HELP = ("-h", "--help")


def main() -> None:
    """Run what the arguments name: our `mic`, or Pipecat's runner for everything else."""
    arguments = sys.argv[1:]
    if arguments[:1] == ["mic"]:
        sys.exit(run(arguments))
    keep_private()
    _run_pipecat_runner(
        drain_s=0.0 if any(argument in HELP for argument in arguments) else _drain_s()
    )


def _drain_s() -> float:
    """Return how long calls may continue after a request to stop.

    Exits with one line per problem. The runner would report them only at the first call.
    """
    try:
        loaded = load()
        check_folders(loaded)
    except ConfigError as wrong:
        for problem in wrong.problems:
            print(problem.line, file=sys.stderr)  # noqa: T201 - for the terminal
        sys.exit(BAD_USAGE)
    return loaded.settings.shutdown.drain_s


def _run_pipecat_runner(*, drain_s: float) -> None:
    """Run Pipecat's runner with our page and routes; drain its calls for `drain_s` at the end."""
    # Imported here because both import Pipecat; `mic` reports its errors without it.
    from fastapi.responses import RedirectResponse  # noqa: PLC0415
    from pipecat.runner import run as pipecat_runner  # noqa: PLC0415

    from bot.programs.hosted import run_hosted  # noqa: PLC0415
    from bot.server.limits import BodyLimit  # noqa: PLC0415
    from bot.server.pages.site import asset_routes, client_routes  # noqa: PLC0415
    from bot.server.webrtc_routes import for_page  # noqa: PLC0415

    def describe() -> dict[str, object]:
        return {"ice_servers": for_page(load().settings.transports.webrtc.ice_servers)}

    app = pipecat_runner.app
    # Before Pipecat's routes, which accept uploads of up to 50 MB that no agent reads.
    app.add_middleware(BodyLimit)
    # Pipecat takes no options for this; it calls `uvicorn.run(app, host=…, port=…)`.
    run = partial(run_hosted, drain_s=drain_s)
    pipecat_runner.uvicorn = SimpleNamespace(run=run)  # pyright: ignore[reportPrivateImportUsage]
    app.include_router(client_routes())  # replaces Pipecat's page, which is a separate package
    app.include_router(asset_routes())
    # Our page gets this before it posts an offer; Pipecat's runner only has the POST route.
    app.add_api_route("/api/offer", describe, methods=["GET"])
    app.add_api_route("/", lambda: RedirectResponse("/client/"), include_in_schema=False)
    pipecat_runner.main()
