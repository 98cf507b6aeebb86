"""`holdline campaign`: imports and removes contacts, runs or pauses campaigns, and reports."""

import sys
from pathlib import Path
from typing import Annotated, TypeAlias

import typer

from bot.cli.options import ConfigOption, joined_with_or, settings_here
from configuration.settings import Settings
from runtime.exits import UsageError

ACTIONS = ("import", "remove", "start", "pause", "resume", "status", "report")

FileArgument: TypeAlias = Annotated[
    str | None,
    typer.Argument(
        metavar="WHAT", show_default=False, help="import: a CSV file, or its URL. remove: a number."
    ),
]
CampaignOption: TypeAlias = Annotated[
    str | None,
    typer.Option("--campaign", metavar="NAME", help="One of `campaigns`; status: all by default."),
]
CrmOption: TypeAlias = Annotated[
    bool, typer.Option("--crm", help="import: all people in the CRM under `crm`.")
]
ColumnsOption: TypeAlias = Annotated[
    str | None,
    typer.Option(
        "--columns", metavar="A,B,...", help="import: the columns of a file without a header."
    ),
]
EncodingOption: TypeAlias = Annotated[
    str | None,
    typer.Option(
        "--encoding",
        metavar="NAME",
        help="import: the file's encoding, such as cp1251; detected by default.",
    ),
]
OutOption: TypeAlias = Annotated[
    Path | None,
    typer.Option(
        "--out",
        metavar="FILE",
        help="import: the file for refused rows; by default NAME.refused.csv. "
        "report: the folder for the report.",
    ),
]


PreviewOption: TypeAlias = Annotated[
    bool, typer.Option("--preview", help="import: only show what would be added and refused.")
]
YesOption: TypeAlias = Annotated[
    bool, typer.Option("--yes", help="start: do not ask for confirmation.")
]


def manage_campaign(
    action: Annotated[str, typer.Argument(metavar="ACTION", help=f"{joined_with_or(ACTIONS)}.")],
    file: FileArgument = None,
    campaign: CampaignOption = None,
    crm: CrmOption = False,
    columns: ColumnsOption = None,
    encoding: EncodingOption = None,
    out: OutOption = None,
    preview: PreviewOption = False,
    yes: YesOption = False,
    config: ConfigOption = None,
) -> int:
    """Import or remove contacts; run, pause or report a campaign.

    An import prints the first refused rows, each with its line number and the reason, and writes
    all of them to a file. Importing a file again changes nothing. A removed contact is not dialled
    again, but a dial under way goes on. Before a campaign starts, the
    command prints how many contacts will be called, where, when and at what cost; in a terminal it
    then asks for confirmation, unless --yes is given.
    """
    settings = settings_here(config)
    _check_action(action, file, crm=crm)
    if action != "status":
        _check_name(campaign, settings)
    if action == "import":
        source = _source_of_contacts(file, columns, encoding, crm=crm)
        return _import_contacts(
            settings, str(campaign), source, columns, encoding or "", out, preview
        )
    return _run_action(settings, action, campaign, number=file or "", out=out or Path(), yes=yes)


def _run_action(
    settings: Settings, action: str, campaign: str | None, *, number: str, out: Path, yes: bool
) -> int:
    """Run an action on the contacts that were imported before."""
    from campaigns import state as campaign_state  # noqa: PLC0415 - late, so that errors in the configuration are reported first

    if action == "remove":
        return campaign_state.remove_contact(settings, str(campaign), number, say=typer.echo)
    if action == "status":
        return campaign_state.print_status(settings, campaign, say=typer.echo)
    if action == "report":
        return campaign_state.write_report(settings, str(campaign), out, say=typer.echo)
    must_ask = not yes and sys.stdin.isatty()
    return campaign_state.change_state(
        settings,
        str(campaign),
        action,
        say=typer.echo,
        confirm=lambda: typer.confirm("Call them?") if must_ask else True,
    )


def _check_action(action: str, file: str | None, *, crm: bool) -> None:
    """Raise `UsageError` for an unknown action, or for arguments that do not belong to it."""
    if action not in ACTIONS:
        raise UsageError(f'campaign takes {joined_with_or(ACTIONS)}, not "{action}"')
    if crm and action != "import":
        raise UsageError(f"campaign {action} takes no --crm")
    if action == "remove" and file is None:
        raise UsageError("campaign remove needs the number of the contact")
    if file is not None and action not in ("import", "remove"):
        raise UsageError(f"campaign {action} takes no file; name the campaign with --campaign")


def _source_of_contacts(
    file: str | None, columns: str | None, encoding: str | None, *, crm: bool
) -> str:
    """Return the file or its URL, empty for the CRM; raise `UsageError` for both or neither."""
    if crm and (file or columns or encoding):
        raise UsageError("campaign import takes --crm or a file with its options, not both")
    if not crm and not file:
        raise UsageError("campaign import needs a file, or its URL, or --crm")
    return "" if crm else str(file)


def _import_contacts(
    settings: Settings,
    campaign: str,
    source: str,
    columns: str | None,
    encoding: str,
    out: Path | None,
    preview: bool,
) -> int:
    """Import contacts, or with `preview` only show what would be imported; return the exit code."""
    from campaigns.import_run import (  # noqa: PLC0415 - only campaigns need it
        ImportOptions,
        run_import,
    )

    names = tuple(word.strip() for word in columns.split(",")) if columns else ()
    options = ImportOptions(
        source=source, columns=names, encoding=encoding, refused_file=out, preview=preview
    )
    return run_import(settings, campaign, options, say=typer.echo)


def _check_name(campaign: str | None, settings: Settings) -> None:
    known = ", ".join(settings.campaigns) or "none; add it under `campaigns`"
    if not campaign:
        raise UsageError(f"name the campaign with --campaign; known: {known}")
    if campaign not in settings.campaigns:
        raise UsageError(f'--campaign is "{campaign}"; known: {known}')
