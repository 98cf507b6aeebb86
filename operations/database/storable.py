"""Cleans a text for every database, whatever a provider, a model or a carrier wrote."""


def storable(text: str) -> str:
    """Return a text without characters that PostgreSQL refuses: NUL, and halves of characters.

    SQLite's driver refuses the halves, too, with an error that is no database error.
    """
    return text.replace("\0", "\N{REPLACEMENT CHARACTER}").encode("utf-8", "replace").decode()
