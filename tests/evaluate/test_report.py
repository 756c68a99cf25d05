"""Reports of unit vectors whose promises are known, opened in a real browser where there is one."""

from __future__ import annotations

import csv
import json
import re
import shutil
import struct
import subprocess
import sys
from dataclasses import replace
from html.parser import HTMLParser
from typing import TYPE_CHECKING

import matplotlib as mpl
import numpy as np
import PIL.Image
import PIL.ImageDraw
import pytest

from visavis.decide import Measured, OperatingCurve
from visavis.errors import MissingExtra
from visavis.evaluate.calibration import (
    Promise,
    Verdict,
    fit_likelihood,
    operating_points,
    promise,
)
from visavis.evaluate.degrade import LEVELS, Degradation, steps
from visavis.evaluate.encodings import Encoded
from visavis.evaluate.findings import nonmated_sample
from visavis.evaluate.identification import OpenSet, Search, identification
from visavis.evaluate.intervals import ByPair, Crossed, Interval, draws
from visavis.evaluate.listing import Pair, PairList
from visavis.evaluate.metrics import Histogram, curve, histogram_curve
from visavis.evaluate.presentation import Presentations, at_threshold, separation
from visavis.evaluate.protocols import (
    Setting,
    Verification,
    compare_all,
    compare_pairs,
    verification,
)
from visavis.evaluate.report import (
    LISTED,
    Calibrated,
    Checked,
    Degraded,
    Liveness,
    Run,
    checked_json,
    identification_json,
    liveness_json,
    report_html,
    result_json,
    verdict,
    verification_json,
    write_curve,
    write_pairs,
)

if TYPE_CHECKING:
    from pathlib import Path

NASTY = '<script>alert("x")</script>&\'.jpg'
RUN = Run("visavis evaluate verification --images faces '<b>'", "2026-01-02 03:04 UTC")


# Results: people as points on a sphere, their photographs around them


def crowd(spread: float, seed: int = 1, people: int = 200, length: int = 32):
    """Everybody's photographs (1 to 5) and their encodings; some show no face."""
    chance = np.random.default_rng(seed)
    centres = chance.normal(size=(people, length))
    encoded: dict[str, Encoded] = {}
    folders: dict[str, list[str]] = {}
    for i, centre in enumerate(centres):
        person = f"p{i:03d}"
        for k in range(1 + i % 5):
            name = f"{person}/{k}.jpg"
            effort = abs(chance.normal()) + 0.3
            vector = centre + chance.normal(size=length) * spread * effort
            vector = (vector / np.linalg.norm(vector)).astype(np.float32)
            failed = chance.random() < 0.02
            why = "no_face_found: the image holds no face" if failed else ""
            quality = 0.0 if failed else float(np.clip(1 - effort / 4, 0, 1))
            encoded[name] = Encoded(name, None if failed else vector, why, quality)
            folders.setdefault(person, []).append(name)
    return encoded, folders


def promised(tau_at: dict[float, float], name: str = "toy") -> OperatingCurve:
    points = tuple(Measured(f, t, f / 2, f * 1.5) for f, t in tau_at.items())
    return OperatingCurve(name, "a thousand other people", points, 4.0, 1_000_000)


def honest(encoded, folders) -> dict[float, float]:
    line = compare_all(encoded, folders).curve
    taus = {f: float(line.tau[np.searchsorted(line.fmr, f, "right") - 1]) for f in (1e-2, 1e-3)}
    return taus | {1e-4: taus[1e-3] - 0.12}


@pytest.fixture(scope="module")
def world():
    return crowd(0.42)


@pytest.fixture(scope="module")
def setting(world):
    return Setting("toy", "f" * 64, "a crowd", promised(honest(*world)), repeats=100)


@pytest.fixture(scope="module")
def kept(world, setting) -> Verification:
    return verification(compare_all(*world), setting)


@pytest.fixture(scope="module")
def broken(world) -> Verification:
    loose = {f: t + 0.25 for f, t in honest(*world).items()}
    setting = Setting("loose", "e" * 64, "a crowd", promised(loose, "loose"), repeats=100)
    return verification(compare_all(*world), setting)


@pytest.fixture(scope="module")
def other(world) -> Verification:
    encoded, folders = crowd(0.55)
    return verification(
        compare_all(encoded, folders), Setting("rival", "d" * 64, "a crowd", repeats=100)
    )


@pytest.fixture(scope="module")
def listed(world) -> Verification:
    """As a list of pairs in folds would be measured."""
    encoded, folders = world
    chance = np.random.default_rng(3)
    many = [p for p, photos in folders.items() if len(photos) > 1]
    pairs = []
    for fold in range(5):
        for _ in range(100):
            person = many[chance.integers(len(many))]
            a, b = chance.choice(folders[person], 2, replace=False)
            pairs.append(Pair(str(a), str(b), True, fold, (person, person)))
            p, q = chance.choice(sorted(folders), 2, replace=False)
            pairs.append(Pair(folders[p][0], folders[q][0], False, fold, (str(p), str(q))))
    done = compare_pairs(encoded, PairList(tuple(pairs), ("1 pair(s) occur more than once",)))
    return verification(done, Setting("toy", "f" * 64, "a list", repeats=100))


@pytest.fixture(scope="module")
def searched(world, setting) -> OpenSet:
    return identification(*world, setting, Search(sizes=(10, 30, 100)))


@pytest.fixture(scope="module")
def liveness() -> Liveness:
    chance = np.random.default_rng(4)
    live = Presentations(chance.beta(8, 2, 200), np.arange(200) % 50)
    attacks = {
        "print": Presentations(chance.beta(2, 9, 120), np.arange(120) % 50),
        "replay": Presentations(chance.beta(3, 5, 80), np.arange(80) % 50),
    }
    weights = draws(50, 200)
    points = tuple(at_threshold(live, attacks, t, weights) for t in (0.5, 0.7))
    return Liveness(
        Setting("passive", "c" * 64, "a set of attacks", repeats=100),
        live,
        attacks,
        separation(live, attacks, weights),
        points,
        {"x.jpg": "no_face_found: none"},
    )


@pytest.fixture(scope="module")
def checked() -> Checked:
    encoded, folders = crowd(0.42, seed=5)
    done = compare_all(encoded, folders)
    weights = draws(done.people, 200)
    tuned = operating_points(Histogram.of(done.nonmated.d), done.nonmated, weights)
    fresh = compare_all(*crowd(0.42, seed=6))
    return Checked(
        Setting("toy", "f" * 64, "the other half", repeats=100),
        "one half",
        promise((*tuned.points, *tuned.beyond[:2]), fresh.nonmated, draws(fresh.people, 200)),
        {},
    )


@pytest.fixture(scope="module")
def images(world, kept, tmp_path_factory) -> Path:
    """Faces as a child draws them, for the worst pairs; one of them is no picture."""
    folder = tmp_path_factory.mktemp("images")
    worst = (*kept.worst_false_matches, *kept.worst_false_non_matches)
    for name in sorted({name for _, a, b in worst for name in (a, b)}):
        path = folder / name
        path.parent.mkdir(exist_ok=True)
        chance = np.random.default_rng(sum(name.encode()))
        ground, skin, hair = (tuple(map(int, chance.integers(40, 230, 3))) for _ in range(3))
        picture = PIL.Image.new("RGB", (250, 250), ground)
        pen = PIL.ImageDraw.Draw(picture)
        pen.ellipse((60, 25, 190, 200), fill=hair)
        pen.ellipse((72, 50, 178, 225), fill=skin)
        for x in (100, 150):
            pen.ellipse((x - 9, 118, x + 9, 130), fill="white", outline="black")
        pen.arc((100, 160, 150, 195), 20, 160, fill="black", width=4)
        picture.save(path)
    (folder / kept.worst_false_matches[-1][1]).write_bytes(b"not a picture")
    return folder


@pytest.fixture(scope="module")
def degraded(kept) -> list[Degraded]:
    rows = [Degraded.of(kept)]
    for kind in (Degradation.JPEG, Degradation.ROTATION):
        for hard, step in enumerate(steps([kind])):
            tar = {
                far: Interval(*(max(0.0, v - 0.04 * hard**2) for v in (i.value, i.low, i.high)))
                for far, i in kept.tar.items()
            }
            rows.append(replace(rows[0], step=step, failed=9 + 40 * hard, tar=tar))
    return rows


@pytest.fixture(scope="module")
def scores(kept, other) -> list[Calibrated]:
    found = []
    for result in (kept, other):
        done = result.comparisons
        line = fit_likelihood(done.mated.d[np.isfinite(done.mated.d)], nonmated_sample(done))
        found.append(Calibrated.of(result, line, "the same crowd"))
    return found


@pytest.fixture(scope="module")
def pages(request):
    """Each kind of page."""
    kept, broken, other, listed, searched, liveness, checked, images, degraded, scores = map(
        request.getfixturevalue,
        (
            *("kept", "broken", "other", "listed", "searched", "liveness", "checked"),
            *("images", "degraded", "scores"),
        ),
    )
    many = {f"{i}.jpg": "no_face_found: none" for i in range(LISTED + 7)}
    named = replace(
        broken,
        comparisons=replace(broken.comparisons, failed={NASTY: "image_unreadable: <b>", **many}),
        worst_false_matches=((0.1, NASTY, kept.worst_false_matches[0][1]),),
    )
    return {
        "one": report_html(
            [kept], images=images, degraded=degraded, calibrated=scores[:1], run=RUN
        ),
        "broken": report_html([named], images=images, run=RUN),
        "several": report_html([kept, other], images=images, calibrated=scores, run=RUN),
        "listed": report_html([listed], run=RUN),
        "search": report_html(
            [searched, replace(searched, setting=replace(searched.setting, encoder="rival"))],
            run=RUN,
        ),
        "liveness": report_html([liveness], run=RUN),
        "checked": report_html([checked], run=RUN),
    }


# The page as text


class Outline(HTMLParser):
    """What a page is made of: tags with attributes, words, and whether all is closed."""

    VOID = frozenset({"meta", "link", "img", "br"})

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.words: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag, f"{tag} closed out of turn"

    def handle_data(self, data):
        if data.strip() and self.open[-1] != "style":
            self.words.append(" ".join(data.split()))


def test_pages_are_whole_and_need_nothing_else(pages):
    for name, page in pages.items():
        outline = Outline(page)
        assert not outline.open, name
        tags = [tag for tag, _ in outline.tags]
        assert not {"script", "link", "iframe", "object"} & set(tags), name
        for _, attributes in outline.tags:
            for where in ("src", "href", "xlink:href"):
                target = attributes.get(where) or "#"
                assert target.startswith(("#", "data:image/jpeg;base64,")), (name, target[:80])
        assert "@import" not in page
        assert "url(http" not in page


def test_ids_occur_once_and_every_reference_has_one(pages):
    for name, page in pages.items():
        ids = re.findall(r'\bid="([^"]*)"', page)
        assert len(ids) == len(set(ids)), name
        used = re.findall(r'href="#([^"]*)"|url\(#([^)]*)\)', page)
        assert {a or b for a, b in used} <= set(ids), name


def test_drawings_take_the_pages_colours_and_are_told_to_the_blind(pages):
    for page in pages.values():
        drawings = re.findall(r'<svg class="plot".*?</svg>', page, re.DOTALL)
        assert drawings
        for drawing in drawings:
            assert re.search(r'role="img" aria-label="[^"]+"', drawing)
            assert "<text" in drawing
            assert "currentColor" in drawing
            assert "var(--s0)" in drawing
            assert not re.search(r"#0[0-9a-f]0[0-9a-f]", drawing), "a marker was left"


def test_a_page_is_the_same_again(kept, pages, images, degraded, scores):
    again = report_html([kept], images=images, degraded=degraded, calibrated=scores[:1], run=RUN)
    assert again == pages["one"]


def test_a_promise_that_is_not_kept_is_said_first(pages, broken):
    assert any(not point.kept for point in broken.points)
    words = Outline(pages["broken"]).words
    assert words[0] == "Promise not kept. Verification: loose"
    assert words[1] == "loose does not keep its promise on a crowd"
    assert words[2].startswith("At FMR 1e-2, at most 1.5e-2 of the comparisons of different people")


@pytest.mark.parametrize(
    ("value", "low", "high", "said"),
    [
        (2e-3, 1.6e-3, 3e-3, Verdict.BROKEN),
        (2e-3, 1.4e-3, 3e-3, Verdict.EXCEEDED),
        (1e-3, 5e-4, 3e-3, Verdict.KEPT),
        (0.0, 0.0, 1e-3, Verdict.KEPT),
        (0.0, 0.0, 3e-3, Verdict.UNTESTED),
    ],
)
def test_a_rate_is_judged_by_the_bound_promised_for_it(value, low, high, said):
    assert verdict(Interval(value, low, high), 1.5e-3) is said


def test_a_promise_that_is_kept_raises_no_alarm(pages, kept):
    assert kept.points
    assert all(point.kept for point in kept.points)
    words = Outline(pages["one"]).words
    assert words[0] == words[1] == "Verification: toy"
    assert 'role="alert"' not in pages["one"]


def test_a_search_that_names_too_many_strangers_is_said_first(searched):
    bad = replace(searched, promised=((1e-2, 1.0, Interval(0.2, 0.1, 0.3), Interval(0, 0, 0.1)),))
    words = Outline(report_html([bad], run=RUN)).words
    assert words[1] == "toy does not keep its promise on a crowd"
    assert words[2] == (
        "At FPIR 1e-2, 2e-1 of the strangers were taken for somebody enrolled (95 %: 1e-1 to 3e-1)."
    )


@pytest.mark.parametrize(
    ("verdict", "said"),
    [(Verdict.BROKEN, False), (Verdict.EXCEEDED, True), (Verdict.UNTESTED, None)],
)
def test_a_calibration_outside_its_bounds_is_said_first(checked, verdict, said):
    one = checked.promises[0]
    moved = Promise(one.point, Interval(0.5, 0.4, 0.6), 100, 50, verdict)
    words = Outline(report_html([replace(checked, promises=(moved,))], run=RUN)).words
    assert ("does not keep its promise" in words[1]) is (said is not None)
    assert any("Chance may have done it." in word for word in words) is bool(said)


def test_the_headline_says_what_was_measured(kept, pages):
    found = kept.tar["1e-3"]
    told = f"{found.value * 100:.2f} % of those of the same person are"
    assert any(told in word.replace("\xa0", " ") for word in Outline(pages["one"]).words)


def test_accuracy_over_folds_is_shown_with_its_standard_error(listed, pages):
    words = " ".join(Outline(pages["listed"]).words).replace("\xa0", " ")
    assert listed.accuracy is not None
    assert f"{listed.accuracy.mean * 100:.2f} % of the decisions are right" in words
    assert f"± {listed.accuracy.se * 100:.2f} %" in words
    assert "1 pair(s) occur more than once" in words


def test_names_cannot_put_markup_into_the_page(pages):
    assert "<script" not in pages["broken"]
    assert "&lt;script&gt;alert(" in pages["broken"]
    assert "'&lt;b&gt;'" in pages["broken"] or "&#39;&lt;b&gt;&#39;" in pages["broken"]
    assert NASTY in Outline(pages["broken"]).words


def test_an_encoders_name_may_hold_anything(kept):
    odd = replace(kept, setting=replace(kept.setting, encoder="_$\\frac<脸> \udcff"))
    page = report_html([odd], run=RUN)
    page.encode("utf-8")
    assert "_$\\frac&lt;脸&gt; ?" in page


def test_failures_are_listed_up_to_a_number_and_the_rest_counted(pages):
    words = Outline(pages["broken"]).words
    assert "58 photographs (loose):" in words
    assert "and 8 more." in words
    assert sum(word.endswith(".jpg") and word[0].isdigit() for word in words) >= LISTED - 1


def test_pictures_are_shown_only_from_the_folder_that_is_named(kept, pages):
    assert pages["one"].count('<img src="data:image/jpeg') == 2 * 24 - pages["one"].count(
        "cannot be read"
    )
    assert "cannot be read" in pages["one"]
    alone = report_html([kept], run=RUN)
    assert "<img" not in alone
    assert kept.worst_false_matches[0][1] not in alone


def test_several_encoders_have_a_column_and_a_line_each(pages):
    page = pages["several"]
    assert re.search(r'<th scope="col">toy</th><th scope="col">rival</th>', page)
    det = page[page.index('<svg class="plot"') :]
    assert "var(--s1)" in det[: det.index("</svg>")]
    assert Outline(page).words.count("rival") == 3, "column, two legends"


def test_the_robustness_table_marks_what_is_surely_worse(pages, degraded):
    table = pages["one"][pages["one"].index("Under degradation") :]
    table = table[: table.index("</table>")]
    assert table.count("<tr>") == 1 + len(degraded)
    rows = re.findall(r"<tr>(.*?)</tr>", table)
    assert 'class="no"' not in rows[1], "the photographs as they are"
    assert 'class="no"' in rows[len(LEVELS[Degradation.JPEG]) + 1]
    assert "rotation 45" in table


def test_without_matplotlib_the_cure_is_said(monkeypatch, kept):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(MissingExtra, match=r"pip install 'visavis\[report\]'"):
        report_html([kept])


def test_matplotlib_keeps_its_settings(kept):
    before = dict(mpl.rcParams)
    report_html([kept], run=RUN)
    assert dict(mpl.rcParams) == before


# JSON and CSV


def test_the_json_of_verification(listed):
    told = verification_json(listed)
    assert told["schema"] == 1
    assert told["pairs"] == 1000
    assert told["failed_to_acquire"] == len(listed.comparisons.failed)
    assert told["accuracy"]["mean"] == listed.accuracy.mean
    assert told["accuracy"]["se"] == listed.accuracy.se
    assert set(told["tar"]["1e-2"]) == {"value", "low", "high"}
    assert told["tar"]["1e-3"] is None, "500 comparisons cannot tell"
    assert told["encoder_name"] == "toy"
    json.dumps(told, allow_nan=False)


@pytest.mark.parametrize(
    "name", ["kept", "broken", "listed", "searched", "liveness", "checked", "never"]
)
def test_the_json_of_every_kind_holds_no_nan(request, liveness, name):
    never = replace(liveness, points=(replace(liveness.points[0], threshold=np.inf),))
    told = result_json(never if name == "never" else request.getfixturevalue(name))
    assert told["schema"] == 1
    assert json.loads(json.dumps(told, allow_nan=False)) == told


def test_the_json_says_null_and_whether_a_promise_was_kept(kept, broken, liveness):
    never = replace(liveness, points=(replace(liveness.points[0], threshold=np.inf),))
    assert liveness_json(never)["threshold"] is None
    assert verification_json(kept)["accuracy"] is None
    assert [p["kept"] for p in verification_json(broken)["points"]] == [
        p.kept for p in broken.points
    ]


def test_the_json_of_identification(searched):
    told = identification_json(searched)
    assert told["gallery_size"] == searched.sizes[-1].people
    assert [size["people"] for size in told["sizes"]] == [10, 30, 100, told["gallery_size"]]
    assert told["cmc"][0] == pytest.approx(told["rank1"], abs=0.02)
    assert told["points"][0]["fpir"] == 1e-1


def test_the_json_of_liveness(liveness):
    told = liveness_json(liveness)
    assert told["threshold"] == 0.5
    assert told["apcer"] == {
        "print": float(np.mean(liveness.attacks["print"].score >= 0.5)),
        "replay": float(np.mean(liveness.attacks["replay"].score >= 0.5)),
    }
    assert told["bpcer"] == float(np.mean(liveness.live.score < 0.5))
    assert told["eer"] == liveness.separation["all"].eer.value


def test_the_json_of_a_check(checked):
    told = checked_json(checked)
    assert [p["verdict"] for p in told["points"]] == [str(p.verdict) for p in checked.promises]
    assert told["tuned_on"] == "one half"


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_the_curve_as_csv(tmp_path, listed, searched, liveness):
    write_curve(tmp_path / "v.csv", listed)
    written = rows(tmp_path / "v.csv")
    line = listed.comparisons.curve
    middle = written[len(written) // 2]
    assert line.at(float(middle["tau"])) == (float(middle["fmr"]), float(middle["fnmr"]))
    assert len(written) == len(line.tau) - 1
    write_curve(tmp_path / "i.csv", searched)
    assert {row["people"] for row in rows(tmp_path / "i.csv")} == {
        str(size.people) for size in searched.sizes
    }
    write_curve(tmp_path / "l.csv", liveness)
    first = rows(tmp_path / "l.csv")[0]
    assert first["species"] == "print"
    at = float(first["threshold"])
    assert float(first["bpcer"]) == np.mean(liveness.live.score < at)


def test_the_pairs_as_csv(tmp_path, listed, kept):
    write_pairs(tmp_path / "p.csv", listed)
    written = rows(tmp_path / "p.csv")
    assert [row["same"] for row in written[:4]] == ["1", "0", "1", "0"], "in the list's order"
    assert [row["fold"] for row in written] == [str(i // 200) for i in range(1000)]
    done = listed.comparisons
    d = np.array([float(row["d"] or "inf") for row in written])
    same = np.array([row["same"] == "1" for row in written])
    assert curve(d[same], d[~same]).fnmr == pytest.approx(done.curve.fnmr)
    assert all(row["a"].split("/")[0] == row["b"].split("/")[0] for row in written[::2])
    write_pairs(tmp_path / "all.csv", kept)
    assert "fold" not in rows(tmp_path / "all.csv")[0]
    assert len(rows(tmp_path / "all.csv")) == len(kept.comparisons.mated.d) + len(
        kept.comparisons.nonmated.d
    )


def test_a_list_cut_short_gives_its_distances_back_from_the_curve():
    counts = np.zeros(2**16, np.int64)
    counts[[5, 900, 20_000]] = 1, 20, 300_000
    whole = Histogram(counts, 7)
    line = histogram_curve(Histogram.of(np.array([0.1])), whole)
    world = compare_all(*crowd(0.4, people=20))
    design = Crossed(np.ones(3, int), np.zeros((0, 2), int))
    none = np.zeros(0)
    cut = ByPair(none, none.astype(int), none.astype(int), design, 0.1)
    back = nonmated_sample(replace(world, nonmated=cut, curve=line))
    assert isinstance(back, Histogram)
    assert np.array_equal(back.counts, counts)
    assert back.never == 7


# In a browser

BROWSER = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), ""
)
needs_browser = pytest.mark.skipif(
    not BROWSER, reason="no chromium, chromium-browser or google-chrome on PATH"
)


def browse(folder: Path, page: str, *options: str) -> str:
    """Open a page and give what the browser prints."""
    file = folder / "page.html"
    file.write_text(page, "utf-8")
    done = subprocess.run(
        [
            BROWSER,
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-quic",
            "--no-first-run",
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-sync",
            "--hide-scrollbars",
            "--virtual-time-budget=2000",
            f"--user-data-dir={folder / 'profile'}",
            *options,
            file.as_uri(),
        ],
        capture_output=True,
        encoding="utf-8",
        timeout=120,
        check=True,
    )
    return done.stdout


@needs_browser
@pytest.mark.slow
@pytest.mark.parametrize("name", ["one", "broken", "several"])
@pytest.mark.parametrize("size", [(1280, 1600), (390, 1600)])
def test_a_browser_draws_the_page(tmp_path, pages, name, size):
    picture = tmp_path / "page.png"
    browse(tmp_path, pages[name], f"--screenshot={picture}", "--window-size={},{}".format(*size))
    assert struct.unpack(">II", picture.read_bytes()[16:24]) == size
    pixels = np.asarray(PIL.Image.open(picture).convert("L"), int)
    thirds = np.array_split(pixels, 3)
    assert all(np.ptp(third) > 100 for third in thirds), "a third of the page is blank"


PROBE = """<!doctype html><meta charset="utf-8"><body style="margin:0"><iframe id="page"
 style="border:0;width:{width}px;height:2000px" srcdoc="{page}"></iframe><script>
addEventListener("load", () => {{
  const inside = document.getElementById("page").contentDocument;
  const drawn = [...inside.querySelectorAll("svg.plot")];
  document.title = JSON.stringify({{
    scroll: inside.documentElement.scrollWidth,
    plots: drawn.map(svg => svg.getBoundingClientRect().width),
    broken: [...inside.images].filter(image => !image.naturalWidth).length,
    letters: Math.min(...drawn.map(svg => {{
      const text = svg.querySelector("text");
      return text.getBoundingClientRect().height;
    }})),
  }});
}});
</script>"""


@needs_browser
@pytest.mark.slow
@pytest.mark.parametrize("width", [390, 1280])
@pytest.mark.parametrize("name", ["one", "broken", "several", "search", "liveness", "checked"])
def test_nothing_overflows(tmp_path, pages, name, width):
    escaped = pages[name].replace("&", "&amp;").replace('"', "&quot;")
    dom = browse(tmp_path, PROBE.format(width=width, page=escaped), "--dump-dom")
    title = re.search(r"<title>(\{.*?\})</title>", dom)
    assert title, dom[:300]
    seen = json.loads(title[1].replace("&quot;", '"'))
    assert seen["scroll"] <= width
    assert all(width / 3 < plot <= width for plot in seen["plots"])
    assert seen["broken"] == 0
    assert seen["letters"] >= 9


@needs_browser
@pytest.mark.slow
def test_it_prints(tmp_path, pages):
    paper = tmp_path / "page.pdf"
    browse(tmp_path, pages["one"], f"--print-to-pdf={paper}", "--no-pdf-header-footer")
    data = paper.read_bytes()
    assert data.startswith(b"%PDF")
    assert 2 <= len(re.findall(rb"/Type\s*/Page\b", data)) <= 12
