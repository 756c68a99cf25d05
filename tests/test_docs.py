"""What the documents say is true: their code runs, their links lead somewhere."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import PIL.Image
import pytest

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md")), ROOT / "CONTRIBUTING.md"]


def blocks(page: Path, language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", page.read_text("utf-8"), re.DOTALL)


@pytest.mark.parametrize("name", ["README.md", "docs/python.md"])
def test_the_code_of_the_page_runs_from_top_to_bottom(name, photographs, tmp_path, monkeypatch):
    for photograph in photographs.values():
        shutil.copy(photograph, tmp_path)
    with PIL.Image.open(photographs["obama.jpg"]) as picture:
        picture.crop((330, 40, 660, 450)).resize((60, 75)).save(tmp_path / "tiny.jpg")
    monkeypatch.chdir(tmp_path)
    code = blocks(ROOT / name, "python")
    assert code
    exec(compile("\n".join(code), name, "exec"), {})


def test_the_readme_opens_with_the_two_commands():
    first = blocks(ROOT / "README.md", "sh")[:2]
    assert [block.strip() for block in first] == ["make demo", "make test"]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_link_to_a_file_leads_somewhere(page):
    for target in re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", page.read_text("utf-8")):
        if "://" not in target:
            assert (page.parent / target).exists(), target


def test_every_module_of_the_package_stands_in_the_reference_or_belongs_to_one_that_does():
    told = (ROOT / "docs" / "reference.md").read_text("utf-8")
    rooms = {
        path.stem if path.is_file() else path.name
        for path in (ROOT / "src" / "visavis").iterdir()
        if path.suffix == ".py" or (path / "__init__.py").is_file()
    }
    for room in rooms - {"__init__", "cli", "settings"}:
        assert f"::: visavis.{room}" in told, room
