"""The page of a run of training, made from numbers that a reader checks by head."""

from __future__ import annotations

import re
from dataclasses import replace
from html.parser import HTMLParser
from types import SimpleNamespace

import numpy as np
import pytest

from visavis.decide import Measured, OperatingCurve
from visavis.evaluate import plots as evaluation
from visavis.evaluate.encodings import Encoded
from visavis.evaluate.page import Run
from visavis.evaluate.protocols import Setting, compare_all, verification
from visavis.train import plots
from visavis.train.config import TrainConfig
from visavis.train.finish import Delivered
from visavis.train.journal import Journal, read_journal
from visavis.train.objectives import Mining, ObjectiveConfig, Term
from visavis.train.report import training_html
from visavis.train.run import Trained
from visavis.train.sampler import Split

NASTY = '<script>alert("x")</script>&\''
RUN = Run("visavis train encoder --data '<b>'", "2026-01-02 03:04 UTC")
ILL = "step 60: collapsing: every face is nearly the same point; going back and on with less"

DRAWN = [
    "Detection error trade-off",
    "Distances: new",
    "Distances at the first check",
    "Distances at the best check",
    "Accuracy over steps",
    "TAR at FAR 1e-2 over steps",
    "Equal error rate over steps",
    "Loss",
    "Active triplets",
    "Pairs within a batch",
    "Effective dimension",
    "Gradient",
    "Learning rate",
]


# A run that never was


def hill(at):
    """All pairs at one distance: (80,) shares."""
    return [float(abs(0.05 * n - at) < 1e-9) for n in range(80)]


def check(step, score, widths=(0, 16)):
    """The accuracy is the score, a tenth less for smaller faces; TAR and EER follow."""
    sights = [
        {
            "width": width,
            "accuracy": score - 0.1 * n,
            "tar": score - 0.05 - 0.1 * n,
            "eer": 1 - score + 0.1 * n,
            "mated": hill(1.0),
            "nonmated": hill(2.0),
        }
        for n, width in enumerate(widths)
    ]
    return {"step": step, "score": score, "sights": sights}


def journal(folder, *, back=False, losses=None):
    """Look every 10 steps; with ``back`` the run collapses at 60 and goes on from 20."""
    book = Journal(folder, board=False)
    steps = [*range(10, 70, 10), *range(30, 110, 10)] if back else list(range(10, 110, 10))
    for number, step in enumerate(steps):
        loss = losses[number] if losses else 0.2 - step / 1000
        book.write(
            step,
            {
                "seconds": number + 55.0,
                "rate": 1e-3,
                "mining": "semi-hard",
                "loss": loss,
                "active": 0.5,
                "distance": 1.5,
                "spread": 0.2,
                "mated": 1.0,
                "nonmated": 2.0,
                "dimension": 12.0,
                "gradient": 3.0,
            },
        )
        if back and number == 5:
            book.write(step, {"seconds": 60.5, "note": ILL})
    book.close()


def measured(encoder, spread, *, curve=None, people=60):
    chance = np.random.default_rng(1)
    encoded, folders = {}, {}
    for person in range(people):
        centre = chance.normal(size=16)
        for photo in range(3):
            vector = centre + spread * chance.normal(size=16)
            name = f"{person}/{photo}"
            unit = (vector / np.linalg.norm(vector)).astype(np.float32)
            encoded[name] = Encoded(name, unit, "", 1.0)
            folders.setdefault(str(person), []).append(name)
    setting = Setting(encoder, encoder[:1] * 64, f"{people} held-out people", curve, repeats=50)
    return verification(compare_all(encoded, folders), setting)


CURVE = OperatingCurve(
    "n" * 64,
    "60 held-out people of faces",
    (Measured(1e-2, 0.7, 5e-3, 2e-2), Measured(1e-3, 0.4, 5e-4, 2e-3)),
    4.0,
    15930,
)


@pytest.fixture(scope="module")
def own():
    return measured("new", 0.5, curve=CURVE)


@pytest.fixture(scope="module")
def better():
    return measured("old", 0.2)


def run(folder, *, notes=(), checks=None, config=None, pretrained=None):
    """Ten people, of whom the last two learnt from have one photograph each and teach nothing."""
    counts = [4] * 8 + [1, 1]
    pack = SimpleNamespace(
        offsets=np.concatenate([[0], np.cumsum(counts)]).astype(np.int64),
        path=SimpleNamespace(name="faces"),
        people=10,
        digest="d" * 64,
    )
    people = [np.array(some, np.int64) for some in ((0, 1, 2, 3, 8, 9), (4, 5), (6, 7))]
    return Trained(
        folder,
        config or TrainConfig(steps=100),
        Sized(pack, sum(counts)),
        SimpleNamespace(name="tiny", pretrained=pretrained, dimension=16),
        None,
        Split(*people),
        checks or (check(0, 0.5), check(50, 0.9), check(100, 0.8)),
        notes,
        "all 100 steps were taken",
    )


class Sized:
    """A stand-in for a pack: it has a length and the rest's attributes."""

    def __init__(self, rest, length):
        self.__dict__.update(vars(rest))
        self.length = length

    def __len__(self):
        return self.length


def delivered(folder, *held_out, why=""):
    points = None if why else folder / "points.json"
    return Delivered(folder / "m.toml", folder / "m.onnx", folder / "m.md", points, why, held_out)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("run")
    journal(path)
    return path


@pytest.fixture(scope="module")
def page(folder, own):
    return training_html(run(folder), delivered(folder, own), RUN)


@pytest.fixture
def undrawn(monkeypatch):
    """Leave out the drawings: what is said is quicker to have without them."""
    for where in (plots, evaluation):
        monkeypatch.setattr(where, "svg", lambda *_: '<svg class="plot"></svg>')


# The page


class Outline(HTMLParser):
    """Words of a page by what they stand in; every tag must be closed in turn."""

    def __init__(self, page):
        super().__init__()
        self.open, self.words, self.tags = [], [], []
        self.feed(page)
        assert not self.open

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag != "meta":
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag, f"{tag} closed out of turn"

    def handle_data(self, data):
        if data.strip() and self.open[-1] != "style":
            self.words.append((self.open[-1], " ".join(data.split())))

    def of(self, *tags):
        return [words for tag, words in self.words if tag in tags]

    @property
    def text(self):
        return " ".join(words for _, words in self.words)


def test_every_plot_is_there_and_told_to_the_blind(page):
    outline = Outline(page)
    assert outline.of("h3") == DRAWN
    labels = [a["aria-label"] for tag, a in outline.tags if a.get("class") == "plot"]
    assert len(labels) == len(set(labels)) == len(DRAWN)
    assert all(a.get("role") == "img" for _, a in outline.tags if a.get("class") == "plot")
    ids = re.findall(r'\bid="([^"]*)"', page)
    assert len(ids) == len(set(ids))
    drawings = "".join(re.findall(r'<svg class="plot".*?</svg>', page, re.DOTALL))
    assert not re.search(r"#0[0-9a-f]0[0-9a-f]", drawings), "a colour's marker was left"


def test_the_page_needs_no_other_file(page):
    outline = Outline(page)
    assert not {"script", "link", "iframe", "img"} & {tag for tag, _ in outline.tags}
    assert "@import" not in page
    assert {a["scope"] for tag, a in outline.tags if tag == "th"} == {"col", "row"}
    assert page.count("<caption>") == page.count("<table>") == 4


def test_the_headline_says_what_was_learnt_from_whom_and_how_it_does(page, own):
    learnt, ended, held_out = Outline(page).of("p")[:3]
    assert learnt == (
        "new was trained from tiny with random weights on 16 photographs of 4 people of faces, by "
        "the objective triplet (semi-hard negatives, alpha 0.2). Held out were 2 people to choose "
        "the weights by, and 2 others to measure the result on."
    )
    assert ended == (
        "It ended because all 100 steps were taken. The weights are those of step 50, the best of "
        "3 checks on validation people."
    )
    found = own.tar["1e-3"]
    percents = [f"{100 * each:.2f} %" for each in (found.value, found.low, found.high)]
    assert f"{percents[0]} of those of the same person are" in held_out
    assert f"(95 %: {percents[1]} to {percents[2]})" in held_out


def test_numbers_agree_with_the_checks(page):
    cells = Outline(page).of("td", "th")
    at = cells.index("first")
    assert [cells[i : i + 4] for i in range(at + 3, at + 35, 4)] == [
        ["Step", "0", "50", "100"],
        ["Score", "0.5000", "0.9000", "0.8000"],
        ["Accuracy", "50.00 %", "90.00 %", "80.00 %"],
        ["TAR at FAR 1e-2", "45.00 %", "85.00 %", "75.00 %"],
        ["Equal error rate", "50.00 %", "10.00 %", "20.00 %"],
        ["Accuracy", "40.00 %", "80.00 %", "70.00 %"],
        ["TAR at FAR 1e-2", "35.00 %", "75.00 %", "65.00 %"],
        ["Equal error rate", "60.00 %", "20.00 %", "30.00 %"],
    ]
    assert cells[at : at + 3] == ["first", "best", "last"]


def test_a_healthy_run_raises_no_alarm(page):
    assert 'role="alert"' not in page
    assert Outline(page).of("title") == ["Training: new"]


@pytest.mark.usefixtures("undrawn")
def test_collapse_and_recovery_are_said_first(tmp_path, own):
    journal(tmp_path, back=True)
    page = training_html(run(tmp_path, notes=(ILL,)), delivered(tmp_path, own), RUN)
    words = [words for _, words in Outline(page).words]
    assert words[1:3] == ["The run was ill and was mended", ILL]
    assert words.index(ILL) < words.index("Training: new")
    assert page.count("Dotted lines: here the run was ill.") == 2
    stopped = replace(run(tmp_path), notes=("step 60: stopped: collapsing: all one point",))
    page = training_html(stopped, delivered(tmp_path, own), RUN)
    assert Outline(page).words[1][1] == "The run was ill and was stopped"


@pytest.mark.usefixtures("undrawn")
def test_a_run_that_brought_nothing_says_so(folder, own):
    checks = (check(0, 0.9), check(50, 0.7), check(100, 0.9))
    page = training_html(run(folder, checks=checks), delivered(folder, own), RUN)
    assert Outline(page).words[1][1] == "Nothing was gained by training"
    assert "The weights are those of step 0" in page


@pytest.mark.usefixtures("undrawn")
def test_an_encoder_made_worse_says_so_first_and_one_made_better_in_the_headline(
    folder, own, better
):
    assert own.tar["1e-3"].high < better.tar["1e-3"].low
    start = SimpleNamespace(sha256="5" * 64, licence="Apache-2.0")
    went = run(folder, pretrained=start)
    page = training_html(went, delivered(folder, own, better), RUN)
    assert Outline(page).words[1][1] == "new is worse than old, which it started from"
    assert f"tiny, SHA-256 {'5' * 64}, Apache-2.0" in page
    page = training_html(went, delivered(folder, better, own), RUN)
    assert 'role="alert"' not in page
    assert "so that training made it better." in Outline(page).of("p")[3]
    page = training_html(went, delivered(folder, own, own), RUN)
    assert "a difference that chance may have made." in Outline(page).of("p")[3]


@pytest.mark.usefixtures("undrawn")
def test_without_operating_points_the_reason_stands_there(folder, own):
    bare = replace(own, points=(), setting=replace(own.setting, curve=None))
    why = "only 3 people <b> have two photographs"
    page = training_html(run(folder), delivered(folder, bare, why=why), RUN)
    assert why in Outline(page).text
    assert "Operating points: new" not in page


def test_operating_points_are_those_that_are_stored(page, own):
    cells = Outline(page).of("td", "th")
    at = cells.index("at most")
    point = own.points[0]
    assert cells[at + 3 : at + 6] == ["1e-2", f"{point.tau:.4f}", "2e-2"]
    assert f"{100 * point.measured_fnmr.value:.2f} %" in cells[at + 6 :]


@pytest.mark.usefixtures("undrawn")
def test_names_cannot_put_markup_into_the_page(folder, own):
    odd = replace(own, setting=replace(own.setting, encoder=NASTY, data=NASTY))
    config = TrainConfig(start=NASTY, steps=100, exclude=(NASTY, "Ada Lovelace"))
    went = run(folder, config=config, notes=(NASTY,))
    went.pack.path.name = NASTY
    went.start.name = NASTY + " \udcff"
    page = training_html(went, delivered(folder, odd), RUN)
    page.encode("utf-8")
    assert "<script" not in page
    assert page.count("&lt;script&gt;") >= 6
    outline = Outline(page)
    assert NASTY in outline.of("li")
    assert RUN.command in outline.of("code")
    assert "Ada Lovelace" not in page, "who was left out is told to nobody"
    assert "2 people" in outline.of("td")


def test_provenance_names_the_data_the_seed_and_the_versions(page):
    outline = Outline(page)
    told = dict(zip(outline.of("dt"), outline.of("dd", "code"), strict=True))
    assert told["Digest of the pack"] == "d" * 64
    assert told["Pack"] == "faces, 34 photographs of 10 people"
    assert told["Seed"] == "0"
    assert told["Time taken"] == "1 min 4 s"
    assert {"torch", "visavis", "Made", "Command"} <= set(told)


def test_the_same_run_gives_the_same_page(folder, own, page):
    assert training_html(run(folder), delivered(folder, own), RUN) == page


# The plots


@pytest.mark.usefixtures("undrawn")
def test_the_margin_is_drawn_for_triplets_alone(folder, own):
    def keys(terms, **how):
        config = TrainConfig(steps=100, objective=ObjectiveConfig(terms, **how))
        page = training_html(run(folder, config=config), delivered(folder, own), RUN)
        return [words for words in Outline(page).of("li") if "alpha" in words]

    hard = {"mining": Mining.HARD, "alpha": 0.3}
    assert keys(((Term.TRIPLET, 1.0),), **hard) == ["alpha, 0.3"]
    assert keys(((Term.TRIPLET, 2.0),), **hard) == ["2 times alpha, 0.6"]
    assert keys(((Term.TRIPLET, 1.0), (Term.ARCFACE, 0.5))) == []
    assert keys(((Term.ARCFACE, 1.0),)) == []


def test_what_the_run_went_back_behind_is_a_stretch_of_its_own(tmp_path):
    journal(tmp_path, back=True)
    looks = plots.Looks(read_journal(tmp_path / "metrics.csv"))
    stretches = [steps.tolist() for steps, _ in looks.of("loss")]
    assert stretches == [list(range(10, 70, 10)), list(range(30, 110, 10))]
    assert looks.noted == [60]
    drawing = plots.loss(looks, 0.2).svg
    assert "opacity: 0.35" in drawing
    assert "opacity: 0.35" not in plots.loss(plots.Looks(looks.rows[7:]), 0.2).svg


def test_losses_that_are_no_numbers_are_left_out(tmp_path):
    journal(tmp_path, losses=[0.5, float("nan"), float("inf"), *[0.1] * 7])
    looks = plots.Looks(read_journal(tmp_path / "metrics.csv"))
    ((steps, values),) = looks.of("loss")
    assert steps.tolist() == [10, *range(40, 110, 10)]
    assert values.tolist() == [0.5, *[0.1] * 7]


def test_an_axis_is_logarithmic_where_the_loss_falls_far_and_never_goes_to_nought(tmp_path):
    def labels(*losses):
        journal(tmp_path, losses=[*losses, *[0.01] * (10 - len(losses))])
        looks = plots.Looks(read_journal(tmp_path / "metrics.csv"))
        return re.findall(r"<text [^>]*>([0-9.]+)</text>", plots.loss(looks, None).svg)

    assert {"0.01", "0.1", "1"} <= set(labels(5.0))
    assert "1" not in labels(0.05)
    assert "0.1" not in labels(5.0, 0.0), "0 has no logarithm"


def test_a_long_run_keeps_the_page_small(tmp_path):
    chance = np.random.default_rng(0)
    rows = [
        {"step": str(n), "loss": str(v), "note": ""} for n, v in enumerate(chance.random(20000))
    ]
    drawing = plots.loss(plots.Looks(rows), None).svg
    assert len(drawing) < 60_000


def test_checks_that_were_gone_back_behind_are_parted_from_those_kept(tmp_path, own):
    journal(tmp_path, back=True)
    checks = tuple(check(s, v) for s, v in ((0, 0.5), (20, 0.7), (40, 0.6), (40, 0.8), (60, 0.9)))
    page = training_html(run(tmp_path, checks=checks), delivered(tmp_path, own), RUN)
    assert "The weights are those of step 60" in page
    looks = plots.Looks(read_journal(tmp_path / "metrics.csv"))
    assert "opacity: 0.35" in plots.sights(looks, checks, "tar", 4).svg
    assert "opacity: 0.35" not in plots.sights(looks, checks[:3], "tar", 1).svg
