"""Lists of pairs, folders of people, lists of presentations: what is read and what is refused."""

from __future__ import annotations

import re

import pytest

from visavis.errors import ProtocolRefused
from visavis.evaluate.listing import Pair, read_pairs, read_people, read_presentations


@pytest.fixture
def images(tmp_path):
    """Ada has three photographs, Bo two, Cy one; nobody reads them here."""
    for person, count in (("Ada", 3), ("Bo", 2), ("Cy", 1)):
        folder = tmp_path / "images" / person
        folder.mkdir(parents=True)
        for number in range(1, count + 1):
            (folder / f"{person}_{number:04d}.jpg").touch()
    return tmp_path / "images"


@pytest.fixture
def listed(tmp_path, images):
    """Read a list from its text."""

    def read(text, name="list.txt"):
        path = tmp_path / name
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return read_pairs(path, images)

    return read


ADA = "Ada/Ada_{:04d}.jpg".format
BO = "Bo/Bo_{:04d}.jpg".format
VIEW_2 = "2\t1\nAda\t1\t2\nAda\t1\tBo\t2\nBo\t1\t2\nAda\t3\tCy\t1\n"


# LFW's own


@pytest.mark.parametrize("text", [VIEW_2, VIEW_2.replace("\t", " "), VIEW_2.replace("\n", "\r\n")])
def test_view_2_has_as_many_mated_as_non_mated_pairs_in_each_fold(listed, text):
    found = listed(text)
    assert found.pairs == (
        Pair(ADA(1), ADA(2), True, 0, ("Ada", "Ada")),
        Pair(ADA(1), BO(2), False, 0, ("Ada", "Bo")),
        Pair(BO(1), BO(2), True, 1, ("Bo", "Bo")),
        Pair(ADA(3), "Cy/Cy_0001.jpg", False, 1, ("Ada", "Cy")),
    )
    assert (found.folds, found.remarks) == (2, ())
    assert found.names == [ADA(1), ADA(2), ADA(3), BO(1), BO(2), "Cy/Cy_0001.jpg"]


def test_view_1_is_one_fold(listed):
    found = listed("2\nAda\t1\t2\nBo\t1\t2\nAda\t1\tBo\t1\nAda\t2\tCy\t1\n")
    assert [pair.same for pair in found.pairs] == [True, True, False, False]
    assert found.folds == 1


def test_a_name_with_a_space_stays_whole_between_tabs(listed, images):
    (images / "Bo").rename(images / "Bo Li")
    for number in (1, 2):
        (images / "Bo Li" / f"Bo_{number:04d}.jpg").rename(
            images / "Bo Li" / f"Bo Li_{number:04d}.jpg"
        )
    found = listed("1\nBo Li\t1\t2\nBo Li\t1\tAda\t3\n")
    assert found.pairs[1].people == ("Bo Li", "Ada")
    assert found.pairs[0].a == "Bo Li/Bo Li_0001.jpg"


def test_a_list_with_fewer_pairs_than_it_promises_is_refused(listed):
    with pytest.raises(ProtocolRefused, match=r"list\.txt: .*promises 4 pairs, it holds 3"):
        listed(VIEW_2.rsplit("\n", 2)[0])


@pytest.mark.parametrize(
    ("line", "why"), [("Ada\t1", "is no pair"), ("Ada\tone\t2", "'one'"), ("a b c d e", "no pair")]
)
def test_a_broken_line_is_named_by_its_number_in_the_file(listed, line, why):
    with pytest.raises(ProtocolRefused, match=rf"list\.txt, line 4: .*{why}"):
        listed(f"1\nAda\t1\tBo\t1\n\n{line}\n")


def test_a_superscript_is_no_number(listed):
    with pytest.raises(ProtocolRefused):
        listed("²\nAda\t1\t2\nAda\t1\tBo\t1\n")


# CSV


def test_csv_takes_folders_as_people_and_folds_where_they_stand(listed):
    found = listed(f"a,b,same,fold\n{ADA(1)},{ADA(2)},1,3\n{ADA(1)}, {BO(1)} ,0,5\n")
    assert found.pairs == (
        Pair(ADA(1), ADA(2), True, 3, ("Ada", "Ada")),
        Pair(ADA(1), BO(1), False, 5, ("Ada", "Bo")),
    )
    assert found.folds == 2


def test_csv_from_a_spreadsheet_begins_with_a_byte_order_mark(listed):
    found = listed(f"\ufeffa,b,same\r\n{ADA(1)},{ADA(2)},1\r\n{ADA(1)},{BO(1)},0\r\n")
    assert [pair.same for pair in found.pairs] == [True, False]
    assert found.folds == 1


def test_csv_may_name_the_people_itself(listed):
    head = "a,b,same,person_a,person_b\n"
    found = listed(f"{head}{ADA(1)},{ADA(2)},1,x,x\n{ADA(1)},{BO(1)},0,x,y\n")
    assert [pair.people for pair in found.pairs] == [("x", "x"), ("x", "y")]


@pytest.mark.parametrize("row", ["1,x,y", "0,x,x"])
def test_people_that_contradict_the_label_are_refused(listed, row):
    with pytest.raises(ProtocolRefused, match=rf"line 2: same is {row[0]}, yet people x and "):
        listed(f"a,b,same,person_a,person_b\n{ADA(1)},{ADA(2)},{row}\n")


def test_photographs_of_one_folder_are_not_taken_for_one_person(listed):
    """A flat folder of everybody's pictures: no interval could be drawn over one person."""
    found = listed(f"a,b,same\n{ADA(1)},{ADA(2)},1\n{ADA(1)},{ADA(3)},0\n")
    mated, nonmated = found.pairs
    assert nonmated.people == (ADA(1), ADA(3))
    assert mated.people[0] != nonmated.people[1]
    assert any("folder" in remark for remark in found.remarks)


@pytest.mark.parametrize(
    ("row", "why"),
    [
        ("{a},{b},yes", "same must be 1 or 0, not 'yes'"),
        ("{a},{b},", "same must be 1 or 0, not ''"),
        ("{a}", "same must be"),
        ("{a},{b},1,two", "fold 'two' is no number"),
        ("{a},{b},1,-1", "fold '-1' is no number"),
        ("{a},{b},1,²", "fold '²' is no number"),
    ],
)
def test_a_broken_row_is_named_by_file_and_line(listed, row, why):
    row = row.format(a=ADA(1), b=ADA(2))
    with pytest.raises(ProtocolRefused, match=rf"pairs\.csv, line 4: {re.escape(why)}"):
        listed(f"a,b,same,fold\n{ADA(1)},{BO(1)},0,0\n\n{row}\n", "pairs.csv")


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "is empty"),
        ("\n \n", "is empty"),
        ("a,b,same\n", "no pair"),
        ("a,b\nx,y\n", "same missing"),
        ("a;b;same\n", "first line must name the columns a, b, same"),
        (b"\xff\xfe\x00a", "cannot be read"),
    ],
)
def test_what_is_no_list_is_refused_by_name(listed, text, why):
    with pytest.raises(ProtocolRefused, match=rf"list\.txt: .*{why}"):
        listed(text)


def test_a_list_that_is_not_there_is_refused(tmp_path, images):
    for path in (tmp_path / "none.csv", tmp_path):
        with pytest.raises(ProtocolRefused, match="cannot be read"):
            read_pairs(path, images)


# What would make the numbers mean something else


def test_a_pair_called_the_same_and_different_is_refused_in_either_order(listed):
    with pytest.raises(ProtocolRefused, match="called the same and different") as refused:
        listed(f"a,b,same\n{ADA(1)},{BO(1)},0\n{ADA(1)},{ADA(2)},1\n{BO(1)},{ADA(1)},1\n")
    assert ADA(1) in str(refused.value)
    assert BO(1) in str(refused.value)


@pytest.mark.parametrize(("same", "why"), [(1, "no non-mated pairs"), (0, "no mated pairs")])
def test_both_kinds_of_pairs_are_needed(listed, same, why):
    with pytest.raises(ProtocolRefused, match=why):
        listed(f"a,b,same\n{ADA(1)},{ADA(2)},{same}\n{ADA(1)},{BO(1)},{same}\n")


def test_missing_photographs_are_counted_and_one_is_named(listed, images):
    with pytest.raises(ProtocolRefused, match=r"2 photograph\(s\) are not below .*Ada_0007"):
        listed(f"a,b,same\n{ADA(7)},{ADA(2)},1\n{ADA(8)},{BO(1)},0\n")


def test_repeated_pairs_and_photographs_against_themselves_are_remarked_on(listed):
    rows = f"{ADA(1)},{ADA(2)},1\n{ADA(2)},{ADA(1)},1\n{ADA(3)},{ADA(3)},1\n{ADA(1)},{BO(1)},0\n"
    found = listed(f"a,b,same\n{rows}")
    assert len(found.pairs) == 4
    assert found.remarks == (
        "1 pair(s) occur more than once",
        "1 pair(s) compare a photograph with itself",
    )


# Folders


def test_a_folder_a_person_with_hidden_and_other_files_left_alone(images):
    (images / "Ada" / "notes.txt").touch()
    (images / "Ada" / ".Ada_0009.jpg").touch()
    (images / ".cache").mkdir()
    (images / ".cache" / "x.jpg").touch()
    (images / "Empty").mkdir()
    (images / "Cy" / "Cy.PNG").touch()
    assert read_people(images) == {
        "Ada": [ADA(1), ADA(2), ADA(3)],
        "Bo": [BO(1), BO(2)],
        "Cy": ["Cy/Cy.PNG", "Cy/Cy_0001.jpg"],
    }


def test_pictures_at_the_top_are_too_shallow(images):
    with pytest.raises(ProtocolRefused, match="3 pictures lie at the top"):
        read_people(images / "Ada")


def test_pictures_a_folder_further_down_are_too_deep(images):
    with pytest.raises(ProtocolRefused, match=r"deeper \(images/\w+/\w+\.jpg\)"):
        read_people(images.parent)


def test_no_pictures_and_no_folder(tmp_path):
    (tmp_path / "Ada").mkdir()
    (tmp_path / "Ada" / "deep").mkdir()
    (tmp_path / "Ada" / "deep" / "notes.txt").touch()
    with pytest.raises(ProtocolRefused, match="it holds no pictures"):
        read_people(tmp_path)
    with pytest.raises(ProtocolRefused, match="No such file"):
        read_people(tmp_path / "none")


# Presentations


def test_presentations_from_csv(tmp_path):
    path = tmp_path / "scores.csv"
    path.write_text(
        "path,live,species,subject,score\na,1,,ada,0.9\nb,0,print,ada,0.25\nc,0,,,\n", "utf-8"
    )
    live, printed, other = read_presentations(path)
    assert (live.live, live.species, live.subject, live.score) == (True, "live", "ada", 0.9)
    assert (printed.live, printed.species, printed.score) == (False, "print", 0.25)
    assert (other.species, other.subject, other.score) == ("attack", "c", None)


def test_presentations_from_a_folder_a_class(tmp_path):
    for kind in ("Bona Fide", "print", "replay"):
        (tmp_path / kind).mkdir()
        (tmp_path / kind / "1.jpg").touch()
    rows = read_presentations(tmp_path)
    assert [(row.live, row.species, row.path) for row in rows] == [
        (True, "Bona Fide", "Bona Fide/1.jpg"),
        (False, "print", "print/1.jpg"),
        (False, "replay", "replay/1.jpg"),
    ]


@pytest.mark.parametrize(
    ("rows", "why"),
    [
        ("a,1,0.5\n", "no attack presentations"),
        ("a,0,0.5\n", "no live presentations"),
        ("", "no live presentations"),
        ("a,1,0.5\nb,spoof,0.5\n", "line 3: live must be 1 or 0, not 'spoof'"),
        ("a,1,0.5\nb,0,high\n", "line 3: score 'high' is no number"),
    ],
)
def test_presentations_that_measure_nothing_are_refused(tmp_path, rows, why):
    path = tmp_path / "scores.csv"
    path.write_text(f"path,live,score\n{rows}", "utf-8")
    with pytest.raises(ProtocolRefused, match=rf"scores\.csv.*{why}"):
        read_presentations(path)


def test_a_presentation_called_live_and_an_attack_is_refused(tmp_path):
    path = tmp_path / "scores.csv"
    path.write_text("path,live,score\na,1,0.5\nb,0,0.2\na,0,0.5\n", "utf-8")
    with pytest.raises(ProtocolRefused, match=r"scores\.csv: a is called live and an attack"):
        read_presentations(path)
