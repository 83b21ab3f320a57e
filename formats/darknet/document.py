"""The lossless cfg document. Source: parser.c read_cfg, option_list.c read_option, utils.c strip.

A cfg is read as Darknet reads it:

* All blanks in a line are ignored.
* `#` and `;` start a comment only at the start of a line.
* Of several options with the same key, the first counts.
* `key` without `=` has no value: the default is used, and later options of that key do not count.
* `key=` without a value is ignored.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from ...core.errors import FormatError, Where

__all__ = ["Block", "Document", "Option", "parse"]

_BLANKS = b" \t\r\n"
_NUMBER = re.compile(rb"[+-]?[ \t\r]*\d(?:[ \t\r]*\d)*")


@dataclass(frozen=True, slots=True)
class Option:
    """The line that gives a key its value.

    The value is the bytes from `start` to `stop` of the document. For a key without `=`, `value` is
    None and the span is empty.
    """

    value: str | None
    line: int
    start: int
    stop: int


@dataclass(frozen=True, slots=True)
class Block:
    """A section of the file: `[name]` and the options up to the next header.

    `end` is the offset of the byte after the header's line.
    """

    name: str
    line: int
    end: int
    options: Mapping[str, Option]


@dataclass(frozen=True, slots=True)
class Document:
    """A cfg file. `bytes(document)` returns the bytes that were parsed."""

    data: bytes
    sections: tuple[Block, ...]
    file: str | None = field(default=None)

    def __bytes__(self) -> bytes:
        return self.data

    def replace(self, values: Mapping[tuple[int, str], int | str]) -> Document:
        """Return a document with other values; all other text stays as it is.

        If the old value begins with a number, only the number is replaced: the rest, which
        Darknet's `atoi` ignores, stays. A key without a value gets a new line behind the section
        header, where it counts before later lines.

        Args:
            values: (position of the section, key) → new value.

        Raises:
            FormatError: `parse` would not read a key or value back.
        """
        edits = []
        for (position, key), value in values.items():
            block = self.sections[position]
            text = str(value).encode()
            option = block.options.get(key)
            if option is None or option.value is None:
                edits.append((block.end, block.end, self._line_behind(block, key.encode(), text)))
                continue
            old = self.data[option.start : option.stop]
            number = _NUMBER.match(old)
            stop = option.start + number.end() if number and isinstance(value, int) else option.stop
            edits.append((option.start, stop, text))
        parts = []
        done = 0
        for start, stop, text in sorted(edits, key=lambda edit: edit[0]):
            parts += [self.data[done:start], text]
            done = stop
        parts.append(self.data[done:])
        changed = parse(b"".join(parts), self.file)
        for (position, key), value in values.items():
            option = changed.sections[position].options.get(key)
            if option is None or not (option.value or "").startswith(str(value)):
                raise FormatError(f"cannot write {key}={value}")
        return changed

    def _line_behind(self, block: Block, key: bytes, text: bytes) -> bytes:
        """Return the bytes of a new line behind the header, with the line end of the header."""
        if self.data[block.end - 1 : block.end] != b"\n":
            return b"\n" + key + b"=" + text
        end = b"\r\n" if self.data[block.end - 2 : block.end] == b"\r\n" else b"\n"
        return key + b"=" + text + end


def parse(data: bytes, file: str | None = None, *, first: str = "net") -> Document:
    """Parse a cfg file.

    Args:
        data: the bytes of the file. Outside comments they should be UTF-8; other bytes are shown
            as escapes.
        file: name of the file, for messages.
        first: name of the section that such a file begins with, for messages.

    Raises:
        FormatError: a NUL byte, or an option before the first section.
    """
    nul = data.find(b"\0")
    if nul >= 0:
        where = Where(file=file, line=data.count(b"\n", 0, nul) + 1)
        raise FormatError("the line holds a NUL byte; this is no text file", where=where)
    blocks: list[Block] = []
    options: dict[str, Option] | None = None
    start = 0
    for number, line in enumerate(data.split(b"\n"), 1):
        stripped = line.translate(None, _BLANKS)
        if not stripped or stripped[:1] in b"#;":
            pass
        elif stripped[:1] == b"[":
            options = {}
            end = min(start + len(line) + 1, len(data))
            blocks.append(Block(_name(stripped), number, end, options))
        elif options is None:
            raise FormatError(
                f"the first line that is no comment must be [{first}]",
                hint="the file begins with a byte order mark"
                if data[:3] == b"\xef\xbb\xbf"
                else None,
                where=Where(file=file, line=number),
            )
        else:
            _read_option(options, line, stripped, number, start)
        start += len(line) + 1
    return Document(data, tuple(blocks), file)


def _name(stripped: bytes) -> str:
    """Return the name between the brackets; the whole text if the closing bracket is missing."""
    inner = stripped[1:-1] if stripped.endswith(b"]") else stripped
    return inner.decode(errors="backslashreplace")


def _read_option(
    options: dict[str, Option], line: bytes, stripped: bytes, number: int, start: int
) -> None:
    """Add the option of one line to `options`, unless its key is there already.

    Args:
        options: the options of the section.
        line: the line.
        stripped: the line without blanks.
        number: number of the line.
        start: offset of the line in the document.
    """
    key, equals, text = stripped.partition(b"=")
    if equals and not text:
        return
    name = key.decode(errors="backslashreplace")
    if name in options:
        return
    if not equals:
        options[name] = Option(None, number, start, start)
        return
    raw = line[line.index(b"=") + 1 :]
    begin = start + len(line) - len(raw.lstrip(_BLANKS))
    stop = start + len(line.rstrip(_BLANKS))
    options[name] = Option(text.decode(errors="backslashreplace"), number, begin, stop)
