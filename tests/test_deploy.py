"""What is deployed, as far as it can be tried without systemd and Docker; and all command lines."""

from __future__ import annotations

import json
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click
import pytest
import yaml

from visavis import cli

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parent.parent
DEPLOY = ROOT / "deploy"
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
VISAVIS = Path(sys.executable).parent / "visavis"
CALL = re.compile(r"^(?:[A-Z_]+=\S+ |sudo |\w+=\$\()*(?:\S*/)?visavis(?:-as)?\s+(?=[a-z-])(.*)$")
ENDS = re.compile(r"\s(?:\||>|2>|&&|;|#)\s|\s*;|\)$")

needs_systemd = pytest.mark.skipif(
    shutil.which("systemd-analyze") is None, reason="there is no systemd-analyze"
)


# Command lines


def parsed(words: list[str]) -> None:
    """Let click read a command line as far as it does before it calls anything."""
    command, context = cli.cli, None
    while True:
        context = command.make_context(command.name, list(words), parent=context)
        if not isinstance(command, click.Group):
            return
        words = [*context._protected_args, *context.args]
        if not words:
            return
        _, command, words = command.resolve_command(context, words)


def calls_in(lines: list[str]) -> Iterator[list[str]]:
    for line in lines:
        found = CALL.search(line.strip())
        told = ENDS.split(found[1] + " ")[0] if found else ""
        if told and "..." not in told:
            yield shlex.split(told)


def calls_of(page: Path) -> list[list[str]]:
    """The command lines in a page's blocks, those of ``docker compose run`` too."""
    shell, lines = False, []
    for line in page.read_text("utf-8").replace("\\\n", " ").splitlines():
        fence = re.match(r"\s*```(\w*)", line)
        if fence:
            shell = not shell and fence[1] in {"", "sh", "bash"}
        elif shell:
            lines.append(line.replace("docker compose run --rm visavis", "visavis"))
    return list(calls_in(lines))


def named_in(page: Path) -> list[list[str]]:
    """The commands that a page's sentences name, often without what they need."""
    named = re.findall(r"`visavis(?:-as)?\s+([a-z][^`]*)`", page.read_text("utf-8"))
    return [shlex.split(words) for words in named if "..." not in words]


def refusal(words: list[str]) -> str:
    """Say why a command line is none; "" when it is one."""
    try:
        parsed(words)
    except click.ClickException as refused:
        return refused.format_message()
    except click.exceptions.Exit:
        return ""  # --help
    return ""


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_command_line_of_a_page_is_one(page):
    said = {" ".join(words): refusal(words) for words in calls_of(page)}
    # The files that a page speaks of are the reader's.
    assert {line: why for line, why in said.items() if why and "does not exist" not in why} == {}
    said = {" ".join(words): refusal(words) for words in named_in(page)}
    unknown = ("No such", "is not one of", "is not a valid", "unexpected extra")
    assert {line: why for line, why in said.items() if any(w in why for w in unknown)} == {}


def test_the_pages_do_hold_command_lines():
    told = [words for page in PAGES for words in calls_of(page)]
    assert ["keys", "create", "desk", "--role", "admin"] in told
    assert ["gallery", "backups", "--gone"] in [words[:3] for words in told]
    assert len(told) > 20
    assert len([words for page in PAGES for words in named_in(page)]) > 40


@pytest.mark.parametrize(
    "wrong", [["serv"], ["serve", "--worker", "2"], ["serve", "--port", "x"], ["keys", "create"]]
)
def test_a_wrong_one_would_be_found(wrong):
    with pytest.raises(click.ClickException):
        parsed(wrong)


# systemd


def unit() -> dict[str, list[str]]:
    lines = (DEPLOY / "visavis.service").read_text("utf-8").splitlines()
    told: dict[str, list[str]] = {}
    for line in lines:
        name, equals, value = line.partition("=")
        if equals and not line.startswith("#"):
            told.setdefault(name, []).append(value)
    return told


def test_the_units_command_is_one():
    (command,) = unit()["ExecStart"]
    program, *words = shlex.split(command)
    assert program == "/opt/visavis/bin/visavis"
    parsed(words)
    assert "--proxied" in words
    assert "--open" not in words


@needs_systemd
def test_systemd_takes_the_unit_and_finds_it_closed(tmp_path):
    text = (DEPLOY / "visavis.service").read_text("utf-8")
    here = tmp_path / "visavis.service"
    here.write_text(text.replace("/opt/visavis/bin/visavis", str(VISAVIS)), "utf-8")
    taken = subprocess.run(
        ["systemd-analyze", "verify", here], capture_output=True, encoding="utf-8", check=False
    )
    assert (taken.returncode, taken.stdout, taken.stderr) == (0, "", "")
    judged = subprocess.run(
        ["systemd-analyze", "security", "--offline=true", "--no-pager", here],
        capture_output=True,
        encoding="utf-8",
        check=False,
    )
    found = re.search(r"exposure level for \S+ (\d+\.\d)", judged.stdout)
    assert found, judged.stdout + judged.stderr
    assert float(found[1]) < 2


def test_the_service_has_as_long_to_stop_as_it_takes():
    assert int(unit()["TimeoutStopSec"][0].removesuffix("s")) > 30
    assert unit()["Restart"] == ["always"]


def settled(text: str) -> dict[str, str]:
    """Read an environment file as systemd does, of which single quotes are taken off."""
    pairs = (line.split("=", 1) for line in text.splitlines() if re.match(r"[A-Z]", line))
    return {name: re.fullmatch(r"'([^']*)'", value)[1] for name, value in pairs}


def test_the_shell_and_systemd_read_the_settings_alike(tmp_path):
    text = (DEPLOY / "visavis.env").read_text("utf-8")
    every = re.sub(r"^#(?=[A-Z_]+=)", "", text, flags=re.MULTILINE)
    told = settled(every)
    assert told["VISAVIS_GALLERY"].startswith("postgresql://")
    assert {"VISAVIS_KEY_FILE", "PGPASSFILE", "VISAVIS_WEBHOOK_SECRET"} <= told.keys()
    programs = tmp_path / "programs"
    programs.mkdir()
    (programs / "runuser").write_text('#!/bin/sh\nprintf "%s\\n" "$@"\nenv\n')
    (programs / "runuser").chmod(0o755)
    (tmp_path / "visavis.env").write_text(every, "utf-8")
    done = subprocess.run(
        [DEPLOY / "visavis-as", "keys", "create", "front desk"],
        env={"PATH": f"{programs}:/usr/bin:/bin", "VISAVIS_ENV": str(tmp_path / "visavis.env")},
        capture_output=True,
        encoding="utf-8",
        check=True,
    )
    lines = done.stdout.splitlines()
    program = "/opt/visavis/bin/visavis"
    assert lines[:7] == ["-u", "visavis", "--", program, "keys", "create", "front desk"]
    given = dict(line.split("=", 1) for line in lines[7:])
    assert given.items() >= told.items()
    assert given["VISAVIS_DATA"] == "/var/lib/visavis"


# Containers


@pytest.fixture(scope="module")
def compose() -> dict:
    return yaml.safe_load((DEPLOY / "compose.yaml").read_text("utf-8"))


def test_the_commands_of_the_containers_are_some(compose):
    parsed(compose["services"]["visavis"]["command"])
    image = (DEPLOY / "Dockerfile").read_text("utf-8")
    (entry,) = re.findall(r"^ENTRYPOINT (.*)$", image, re.MULTILINE)
    assert json.loads(entry) == ["visavis"]
    *_, command = re.findall(r"^CMD (.*)$", image, re.MULTILINE)
    parsed(json.loads(command))
    (health,) = re.findall(r"^  CMD (.*)$", image, re.MULTILINE)
    python, option, code = json.loads(health)
    assert (python, option) == ("python", "-c")
    compile(code, "HEALTHCHECK", "exec")


def test_the_containers_are_closed(compose):
    services, secrets = compose["services"], compose["secrets"]
    assert set(services) == {"db", "visavis", "proxy"}
    assert [name for name, each in services.items() if "ports" in each] == ["proxy"]
    assert compose["networks"]["inside"]["internal"]
    assert compose["networks"]["proxied"]["internal"]
    assert "outside" not in services["visavis"]["networks"] + services["db"]["networks"]
    for each in services.values():
        assert each["security_opt"] == ["no-new-privileges:true"]
        assert set(each.get("secrets", [])) <= secrets.keys()
    assert services["visavis"]["cap_drop"] == ["ALL"]
    assert services["visavis"]["read_only"]
    image = (DEPLOY / "Dockerfile").read_text("utf-8")
    assert re.findall(r"^USER (.*)$", image, re.MULTILINE)[-1] == "10001:10001"
    for file in re.findall(r"^COPY ((?!--from).*)$", image, re.MULTILINE):
        assert all((ROOT / part).exists() for part in file.split()[:-1])


def test_no_secret_lies_in_the_files():
    for file in DEPLOY.iterdir():
        assert not re.search(r"vv_[0-9a-f]{32}|[0-9a-f]{40}", file.read_text("utf-8")), file
