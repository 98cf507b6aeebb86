"""`holdline texts`: prints what an agent says without a model, as a file to translate."""

import re
from typing import Annotated

import typer

from bot.cli.options import ConfigOption
from configuration.loading import load
from configuration.texts import file_to_translate, texts_with
from configuration.values import LANGUAGE
from runtime.exits import UsageError


def print_texts(
    language: Annotated[
        str,
        typer.Option(
            "--language", metavar="XX", help="The language, as a tag such as sv or pt-BR."
        ),
    ],
    config: ConfigOption = None,
) -> None:
    """Print what is said without a model, as a file to translate.

    Sentences and clips that neither Holdline nor the file in `hold.utterances` has in this language
    are in English. Save the output, translate it, and name the file in `hold.utterances`.
    """
    if language == "multi" or not re.fullmatch(LANGUAGE, language):
        raise UsageError(f"--language {language}: expected a tag such as sv or pt-BR")
    settings = load(config, keys=False).settings
    typer.echo(file_to_translate(language, texts_with(settings.hold.utterances)), nl=False)
