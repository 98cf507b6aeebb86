"""The pictures of the console match the pages, and each has a known source."""

import json
from collections import Counter
from pathlib import Path

import pytest

from scripts.picture_notes import IMAGES, MADE_BY, ROOT, note_of
from tests.documents import DOCUMENTS, LINK

SHOWN = Counter(
    Path(link).stem
    for document in DOCUMENTS
    for link in LINK.findall(document.read_text(encoding="utf-8"))
    if link.endswith(".png")
)


def test_each_pictures_source_is_known() -> None:
    assert {path.stem for path in IMAGES.glob("*.png")} == set(MADE_BY)
    assert {path.stem for path in IMAGES.glob("*.json")} == set(MADE_BY)


@pytest.mark.parametrize("picture", MADE_BY)
def test_a_picture_has_its_pages_panels(picture: str) -> None:
    note = json.loads((IMAGES / f"{picture}.json").read_text(encoding="utf-8"))
    again = f"the page has changed; make a new picture with {MADE_BY[picture]}: CONTRIBUTING.md"

    assert note == note_of(picture), again


@pytest.mark.parametrize("maker", sorted(set(MADE_BY.values())))
def test_a_pictures_source_exists_and_contributing_names_it(maker: str) -> None:
    told = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")

    assert (ROOT / maker).exists()
    assert maker in told


def test_every_picture_is_shown_by_a_document() -> None:
    assert set(MADE_BY) <= set(SHOWN)
