"""Reading a page of HTML with the standard library, and what is wrong with it."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from itertools import pairwise

__all__ = ["Page", "faults"]

VOID = frozenset(["meta", "link", "img", "input", "br", "hr", "wbr"])
OUTSIDE = re.compile(r"(?:https?:)?//|file:", re.IGNORECASE)
SPACES = re.compile(r"xmlns(?::\w+)?=\"[^\"]*\"")


class Page(HTMLParser):
    """What a page holds.

    Args:
        text: the page.
    """

    def __init__(self, text: str):
        super().__init__(convert_charrefs=True)
        self.faults: list[str] = []
        self.ids: list[str] = []
        self.anchors: list[str] = []
        self.headings: list[tuple[int, str]] = []
        self.tables: list[str] = []
        self.images: list[dict[str, str]] = []
        self.drawings: list[dict[str, str]] = []
        self.words: list[str] = []
        self._open: list[str] = []
        self.feed(text)
        self.close()
        if self._open:
            self.faults.append(f"not closed: {self._open}")

    @property
    def text(self) -> str:
        """All that is to be read, with single spaces."""
        return " ".join(" ".join(self.words).split())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = {name: value or "" for name, value in attrs}
        if tag not in VOID:
            self._open.append(tag)
        self._look(tag, found)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._look(tag, {name: value or "" for name, value in attrs})

    def handle_endtag(self, tag: str) -> None:
        if not self._open or self._open[-1] != tag:
            self.faults.append(f"</{tag}> closes {self._open[-3:]}")
        if tag in self._open:
            while self._open.pop() != tag:
                pass

    def handle_data(self, data: str) -> None:
        inside = self._open[-1] if self._open else ""
        if inside == "style":
            if OUTSIDE.search(data) or "@import" in data:
                self.faults.append("the style sheet asks for something outside")
            return
        if re.fullmatch(r"h[1-6]", inside):
            self.headings.append((int(inside[1]), data.strip()))
        if inside == "caption":
            self.tables[-1] = data.strip()
        self.words.append(data)

    def _look(self, tag: str, found: dict[str, str]) -> None:
        if "id" in found:
            self.ids.append(found["id"])
        for name, value in found.items():
            if name in ("src", "href", "xlink:href", "action", "data", "poster", "srcset"):
                if value.startswith("#"):
                    self.anchors.append(value[1:])
                elif not value.startswith("data:"):
                    self.faults.append(f"<{tag}> asks for {value}")
            elif name.startswith("on"):
                self.faults.append(f"<{tag}> runs {value}")
        if tag in ("script", "link", "iframe", "object"):
            self.faults.append(f"<{tag}>")
        if tag == "table":
            self.tables.append("")
        if tag == "th" and found.get("scope") not in ("row", "col"):
            self.faults.append("<th> without a scope")
        if tag == "img":
            self.images.append(found)
            if not found.get("alt"):
                self.faults.append("<img> without a text")
        if tag == "svg":
            self.drawings.append(found)
            if found.get("role") != "img" or not found.get("aria-label"):
                self.faults.append("<svg> without a text")
        if tag == "html" and not found.get("lang"):
            self.faults.append("no language")


def faults(text: str) -> list[str]:
    """Return what is wrong with a page that is to need nothing beside itself."""
    page = Page(text)
    found = list(page.faults)
    found += [
        f"id {one} {page.ids.count(one)} times" for one in {*page.ids} if page.ids.count(one) > 1
    ]
    found += [f"no anchor {one}" for one in page.anchors if one not in page.ids]
    found += ["a table without a caption" for caption in page.tables if not caption]
    levels = [level for level, _ in page.headings]
    if levels.count(1) != 1 or levels[0] != 1:
        found.append("not one first heading")
    found += [
        f"heading {after} behind {before}"
        for before, after in pairwise(levels)
        if after > before + 1
    ]
    if OUTSIDE.search(re.sub(r"data:[^\"]*", "", SPACES.sub("", re.sub(r">[^<]*<", "><", text)))):
        found.append("something outside is asked for")
    if len(text.encode()) >= 2_000_000:
        found.append("2 MB or more")
    return found
