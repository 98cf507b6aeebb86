"""`python bot.py`: Pipecat's own runner, with our page and our calls in it."""

import sys
from functools import partial
from types import SimpleNamespace

from bot.__main__ import run
from bot.config.errors import ConfigError
from bot.config.folders import check_folders, keep_private
from bot.config.loading import load
from bot.exits import BAD_USAGE

HELP = ("-h", "--help")


def main() -> None:
    """Run what the arguments name: `mic` is ours, all else is for Pipecat's runner."""
    arguments = sys.argv[1:]
    if arguments[:1] == ["mic"]:
        sys.exit(run(arguments))
    keep_private()
    _host(drain_s=0.0 if any(argument in HELP for argument in arguments) else _drain_s())


def _drain_s() -> float:
    """Return how long calls may go on at the end.

    Leaves with a line for each problem; the runner would find them when the first caller came.
    """
    try:
        loaded = load()
        check_folders(loaded)
    except ConfigError as wrong:
        for problem in wrong.problems:
            print(problem.line, file=sys.stderr)  # noqa: T201 - for the terminal
        sys.exit(BAD_USAGE)
    return loaded.settings.shutdown.drain_s


def _host(*, drain_s: float) -> None:
    # Here, and not above: both import Pipecat, and `mic` has its errors without it.
    from fastapi.responses import RedirectResponse  # noqa: PLC0415
    from pipecat.runner import run as theirs  # noqa: PLC0415

    from bot.programs.hosted import run_hosted  # noqa: PLC0415
    from bot.server.limits import BodyLimit  # noqa: PLC0415
    from bot.server.pages.site import asset_routes, client_routes  # noqa: PLC0415
    from bot.server.webrtc_door import for_page  # noqa: PLC0415

    def describe() -> dict[str, object]:
        return {"ice_servers": for_page(load().settings.transports.webrtc.ice_servers)}

    app = theirs.app
    # Before Pipecat's uploads of up to 50 MB, which no agent of ours reads.
    app.add_middleware(BodyLimit)
    # It takes no options, and calls `uvicorn.run(app, host=…, port=…)`.
    run = partial(run_hosted, drain_s=drain_s)
    theirs.uvicorn = SimpleNamespace(run=run)  # pyright: ignore[reportPrivateImportUsage]
    app.include_router(client_routes())  # Pipecat's own page is a package that we do without
    app.include_router(asset_routes())
    # Our page asks for this before it offers a call; the runner knows offers alone.
    app.add_api_route("/api/offer", describe, methods=["GET"])
    app.add_api_route("/", lambda: RedirectResponse("/client/"), include_in_schema=False)
    theirs.main()
