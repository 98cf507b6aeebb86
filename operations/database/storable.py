"""Cleans a text for every database, whatever a provider, a model or a carrier wrote."""


def storable(text: str) -> str:
    """Replace characters that PostgreSQL refuses: NUL and lone surrogates.

    SQLite's driver refuses surrogates, too, with an error that is not a database error.
    """
    return text.replace("\0", "\N{REPLACEMENT CHARACTER}").encode("utf-8", "replace").decode()
