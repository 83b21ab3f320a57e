"""The pages of docs/: navigation, links, the commands they show, the errors they explain.

None of this needs mkdocs. What is made when the site is built is asked of docs/reference_pages.py.
"""

from __future__ import annotations

import importlib.util
import inspect
import posixpath
import re
import shlex
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).resolve().parent.parent
DOCS = ROOT / "docs"
PAGES = sorted(DOCS.rglob("*.md"))
READ_BY_OTHERS = [ROOT / "README.md", ROOT / "CONTRIBUTING.md"]
LINK = re.compile(r"(?<!!)\[[^\]]*\]\(([^)\s]+)\)")
DOWN = re.DOTALL | re.MULTILINE
COMMAND_WITH_VERDICT = r"^@with_flags\n(?:@[^\n]*\n)*def \w+\((?:(?!^\)).)*^\) -> int:"
FENCE = re.compile(r"^( *)```(\w*)[^\n]*\n(.*?)^\1```", re.MULTILINE | re.DOTALL)

LAYERS = ("Caffe layers", "Darknet sections")
"""Messages of single layer types: two numbers in a file contradict each other."""


@cache
def made() -> ModuleType:
    path = DOCS / "reference_pages.py"
    spec = importlib.util.spec_from_file_location("reference_pages", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def named(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def entries(node: Any) -> Iterator[str]:
    """Yield the pages of a navigation."""
    if isinstance(node, str):
        yield node
        return
    for part in node.values() if isinstance(node, dict) else node:
        yield from entries(part)


def anchors(path: Path) -> set[str]:
    """Return the anchors of a page, as the toc extension of Markdown makes them."""
    text = FENCE.sub("", path.read_text(encoding="utf-8"))
    found = set()
    for heading in re.findall(r"^#+ +(.+)$", text, re.MULTILINE):
        plain = re.sub(r"[^\w\s-]", "", heading.encode("ascii", "ignore").decode())
        found.add(re.sub(r"[-\s]+", "-", plain.strip().lower()))
    return found


def commands(path: Path) -> Iterator[list[str]]:
    """Yield the words of every command `secateur …` in the blocks of a page."""
    for block in FENCE.finditer(path.read_text(encoding="utf-8")):
        if block[2] not in ("", "bash", "console", "sh", "shell"):
            continue
        for line in block[3].replace("\\\n", " ").splitlines():
            text = line.strip().removeprefix("$ ")
            if text.startswith("secateur "):
                yield shlex.split(text.replace("…", ""), comments=True)[1:]


@cache
def shapes() -> frozenset[str]:
    """Return the names of commands, those of groups as well: "prune", "data", "data check"."""
    return frozenset(
        " ".join(name[:length]) for name in made().commands() for length in range(1, len(name) + 1)
    )


def complaint(words: list[str]) -> str:
    """Return what is wrong with a command, or nothing."""
    if words[0].startswith("-"):
        wrong = set(flags_of(words)) - made().flags(())
        return f"no flag {sorted(wrong)}" if wrong else ""
    name: tuple[str, ...] = ()
    for word in (made().other_names().get(words[0], words[0]), *words[1:]):
        if " ".join((*name, word)) not in shapes():
            break
        name = (*name, word)
    if not name:
        return f"no command {words[0]}"
    wrong = set(flags_of(words)) - made().flags(name)
    return f"no flag {sorted(wrong)}" if wrong else ""


def flags_of(words: list[str]) -> list[str]:
    return [word.partition("=")[0] for word in words if re.match(r"--?[a-z]", word)]


def test_every_page_is_in_the_navigation():
    settings = yaml.safe_load((ROOT / "mkdocs.yml").read_text(encoding="utf-8"))
    listed = sorted(entries(settings["nav"]))
    written = sorted([*(path.relative_to(DOCS).as_posix() for path in PAGES), *made().notebooks()])
    made_when_built = [page for page in listed if page.startswith("reference/")]
    assert sorted({*listed} - {*made_when_built}) == written
    assert len({*listed}) == len(listed)


def test_every_made_page_is_in_the_navigation():
    settings = yaml.safe_load((ROOT / "mkdocs.yml").read_text(encoding="utf-8"))
    listed = {page for page in entries(settings["nav"]) if page.startswith("reference/")}
    folder = made().COMMANDS
    pages = {page for page in made().pages() if not page.startswith(f"{folder}/")}
    assert {*listed} == pages | {folder}


@pytest.mark.parametrize("path", [*PAGES, *READ_BY_OTHERS], ids=named)
def test_links_lead_to_pages(path):
    broken = []
    for target in LINK.findall(FENCE.sub("", path.read_text(encoding="utf-8"))):
        if re.match(r"[a-z]+:", target):
            continue
        page, _, anchor = target.partition("#")
        there = (path.parent / page).resolve() if page else path
        if there.is_file():
            if anchor and there.suffix == ".md" and anchor not in anchors(there):
                broken.append(target)
        elif posixpath.relpath(there, DOCS) not in {**made().pages(), **made().notebooks()}:
            broken.append(target)
    assert broken == []


@pytest.mark.parametrize("path", PAGES, ids=named)
def test_commands_exist_and_take_their_flags(path):
    wrong = [f"{' '.join(words)}: {text}" for words in commands(path) if (text := complaint(words))]
    assert wrong == []


def test_wrong_commands_are_found():
    assert complaint(["prune", "net.cfg", "--rate", "0.3", "-o", "out/"]) == ""
    assert complaint(["prune", "net.cfg", "--rat", "0.3"]) == "no flag ['--rat']"
    assert complaint(["prone", "net.cfg"]) == "no command prone"
    assert complaint(["detect", "net.cfg", "--data", "photos/"]) == ""
    assert complaint(["detect", "net.cfg", "--rate", "0.3"]) == "no flag ['--rate']"
    assert complaint(["data", "check", "images/", "--root", "."]) == ""
    assert complaint(["--version"]) == ""


def test_the_start_shows_commands():
    assert len(list(commands(DOCS / "get-started.md"))) >= 3
    for page in sorted((DOCS / "workflows").glob("*.md")):
        assert page.stem == "python" or len(list(commands(page))) >= 2


@pytest.mark.parametrize("path", PAGES, ids=named)
def test_python_uses_public_names(path):
    import secateur

    blocks = [block[3] for block in FENCE.finditer(path.read_text()) if block[2] == "python"]
    used = {name for text in blocks for name in re.findall(r"\bsecateur\.(\w+)", text)}
    assert used <= set(secateur.__all__)


def test_every_message_is_explained():
    """Troubleshooting has a pattern for every text with which the code raises an error."""
    rows = re.findall(r"^\| (`.*?) \| ", (DOCS / "troubleshooting.md").read_text(), re.MULTILINE)
    patterns = [
        re.compile(".*".join(map(re.escape, text.split("…"))), re.DOTALL)
        for row in rows
        for text in re.findall(r"`([^`]+)`", row)
    ]
    missing = [
        text
        for heading, texts in made().messages().items()
        if heading not in LAYERS
        for text in texts
        if not any(pattern.fullmatch(text) for pattern in patterns)
    ]
    assert missing == []


def test_every_public_name_is_in_the_reference():
    import secateur

    listed = [name.rpartition(".")[2] for names in made().public_names().values() for name in names]
    assert sorted(listed) == sorted(set(secateur.__all__) - {"__version__"})


def test_every_listing_is_a_page_of_choices():
    """Engines and devices are left out: their listings tell what this machine lacks."""
    from secateur.cli import values
    from secateur.cli.listings import asked
    from secateur.cli.main import app

    lines = [list(words) for words in made().CHOICES.values()]
    shown = [asked(words, app.parse_commands(words)[1][-1].default_command) for words in lines]
    machine = {values._engines, values._devices}
    known = set(values.REGISTERED.values()) - machine - {values._criteria, values._methods}
    assert set(shown) == known


def test_the_page_on_json_names_the_commands_whose_verdict_is_a_result():
    text = " ".join((DOCS / "json.md").read_text().split())
    (verdicts,) = re.findall(r"those whose verdict is a result \((.*?)\)", text)
    ended = [
        path.stem
        for path in sorted((ROOT / "cli").glob("*.py"))
        if re.search(COMMAND_WITH_VERDICT, path.read_text(), DOWN)
    ]
    named = {name.split()[0] for name in re.findall(r"`(.*?)`", verdicts)}
    assert named == set(ended)


def test_the_page_on_json_names_functions_whose_results_say_the_same():
    import secateur

    text = (DOCS / "json.md").read_text().partition("In Python, ")[2]
    for name in re.findall(r"`(\w+)`", text.partition("return")[0]):
        returned = inspect.signature(getattr(secateur, name)).return_annotation
        assert hasattr(getattr(secateur, returned), "to_data"), name
