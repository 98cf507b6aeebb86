"""The encoding of short lists: a name or two, and the country of the file's owner."""

import pytest

from contacts.text_encoding import guess_encoding

LISTS = (  # encoding, list, the owner's country
    ("cp1250", "+48221234588,Święcicka Łucja", ""),
    ("cp1250", "221234588,Żółtańska", "PL"),
    ("cp1250", "221234588,Żądło", "PL"),
    ("cp1250", "x,Małgorzata Wiśniewska\ny,Grażyna Bąk", "DE"),
    ("cp1250", "x,Jiří Dvořák\ny,Tomáš Hůlka", "CZ"),
    ("iso8859-2", "x,Łukasz Śliwa", "PL"),
    ("cp1251", "+79161234588,Ольга Ильина", "DE"),
    ("cp1251", "9161234588,Ольга", "RU"),
    ("koi8-r", "9161234588,Ольга Ильина", "RU"),
    ("cp866", "9161234588,Ольга Ильина", "RU"),
    ("cp1252", "x,Zoé Lefèvre", "FR"),
    ("cp1252", "030,Jörg Müller", "DE"),
    ("cp1252", "x,Müller Straße", "PL"),
    ("cp1252", "+49301234588,Müller – ‘Zo’", "JP"),  # noqa: RUF001
    ("cp1252", "5551234588,José Nuñez", "JP"),
    ("cp1252", "x,José", "TH"),
    ("cp1252", "x,Müller\ny,Özgür", "KR"),
    ("cp1253", "x,Ελένη Νικολάου", "GR"),
    ("cp1254", "x,Şule Gül\ny,Çağrı", "TR"),  # noqa: RUF001
    ("cp1255", "x,דוד כהן", "IL"),
    ("cp1256", "x,محمد علي", "SA"),
    ("cp1257", "x,Šarūnas Žukauskas", "LT"),
    ("cp874", "x,สมชาย ใจดี", "TH"),
    ("cp932", "090-1234-5688,高橋健一", "JP"),
    ("cp932", "090-1234-5688,高橋健一", ""),
    ("cp932", "+819012345688,高橋 健一", "US"),
    ("euc-jp", "x,高橋健一\ny,渡辺花子", "JP"),
    ("gb18030", "+8613912345688,李小龙", ""),
    ("gb18030", "13912345688,李小龙", "CN"),
    ("big5hkscs", "x,陳大文", "TW"),
    ("cp949", "x,박민준", "KR"),
)


@pytest.mark.parametrize(("encoding", "text", "region"), LISTS)
def test_a_short_list_is_read_as_it_was_written(encoding: str, text: str, region: str) -> None:
    data = f"number,name\n{text}\n".encode(encoding)

    guess = guess_encoding([data], region=region)

    assert data.decode(guess.name) == data.decode(encoding)
    assert guess.sample


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "ascii"])
def test_a_certain_encoding_needs_no_sample(encoding: str) -> None:
    name = "Eva" if encoding == "ascii" else "Jörg"

    assert guess_encoding([f"number,name\n1,{name}\n".encode(encoding)]).sample == ()
