"""A sealed row opens where it was sealed, and nowhere else."""

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from visavis.gallery.secrets.sealing import OVERHEAD, Context, DataKey, Kind, Sealed, Tampered

GALLERY, ADA, BOB = "9" * 32, "a" * 32, "b" * 32
HERE = Context(GALLERY, Kind.TEMPLATE, "sface")
KEY = DataKey(1, bytes(range(32)))


def sealed(content, person=ADA, template="1" * 32, context=HERE, key=KEY):
    (closed,) = key.seal([content], [context.place(person, template)])
    return Sealed(template, person, key.number, closed)


@given(st.lists(st.binary(max_size=300), max_size=20))
def test_what_was_sealed_opens_as_it_was(contents):
    rows = [sealed(content, template=f"{n:032x}") for n, content in enumerate(contents)]
    assert KEY.open(rows, HERE) == contents
    assert [len(row.content) for row in rows] == [len(c) + OVERHEAD for c in contents]


def test_no_two_sealings_are_alike():
    closed = KEY.seal([b"same"] * 1000, [HERE.place(ADA, "1" * 32)] * 1000)
    assert len({row[:12] for row in closed}) == len({row[12:] for row in closed}) == 1000


@settings(max_examples=200)
@given(bit=st.integers(0, 8 * (20 + OVERHEAD) - 1))
def test_one_bit_changed_anywhere_is_noticed(bit):
    row = sealed(b"twenty bytes of face")
    changed = bytearray(row.content)
    changed[bit // 8] ^= 1 << bit % 8
    with pytest.raises(Tampered) as noticed:
        KEY.open([row._replace(content=bytes(changed))], HERE)
    assert noticed.value.template == row.template


@pytest.mark.parametrize("length", range(OVERHEAD))
def test_a_row_that_was_cut_is_noticed(length):
    row = sealed(b"")
    with pytest.raises(Tampered):
        KEY.open([row._replace(content=row.content[:length])], HERE)


@pytest.mark.parametrize(
    ("elsewhere", "context"),
    [
        ({"person": BOB}, HERE),
        ({"template": "2" * 32}, HERE),
        ({}, Context("8" * 32, Kind.TEMPLATE, "sface")),
        ({}, Context(GALLERY, Kind.TEMPLATE, "sface-int8")),
        ({}, Context(GALLERY, Kind.TEMPLATE, "")),
        ({}, Context(GALLERY, Kind.PHOTOGRAPH, "sface")),
    ],
)
def test_a_row_moved_elsewhere_does_not_open(elsewhere, context):
    with pytest.raises(Tampered):
        KEY.open([sealed(b"face")._replace(**elsewhere)], context)


def test_another_key_does_not_open_it():
    with pytest.raises(Tampered):
        DataKey(1, bytes(32)).open([sealed(b"face")], HERE)


def test_of_many_rows_the_wrong_one_is_named():
    rows = [sealed(b"face", template=f"{n:032x}") for n in range(50)]
    rows[31] = rows[31]._replace(person=BOB)
    with pytest.raises(Tampered) as noticed:
        KEY.open(rows, HERE)
    assert noticed.value.template == f"{31:032x}"


def test_no_two_places_are_spelled_alike():
    kinds, ids, encoders = list(Kind), ["a" * 32, "b" * 32], ["", "a", "ab"]
    places = {
        Context(gallery, kind, encoder).place(person, template)
        for kind, gallery, person, template, encoder in itertools.product(
            kinds, ids, ids, ids, encoders
        )
    }
    assert len(places) == 2 * 2 * 2 * 2 * 3


def test_a_data_key_does_not_show_itself():
    assert repr(KEY) == "DataKey(1)"
