"""The lossless prototxt document: a tree of spans over the bytes of the file.

NOTE for developers: `google.protobuf.text_format` drops comments, order and line numbers, and
refuses comments that are not UTF-8, which Caffe accepts. The grammar here is that of protobuf's
C++ text parser, which Caffe uses (google/protobuf/text_format.cc, io/tokenizer.cc).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from ...core.errors import FormatError, Where, located
from ...core.packed import read_file
from ..impostors import refuse_impostor
from ..registry import HEAD_BYTES

__all__ = [
    "Document", "Field", "Insert", "Message", "Remove", "Replace", "Scalar", "Span", "parse",
    "read_document",
]  # fmt: skip

MOST_BYTES = 1 << 30
"""Largest size of a text."""

MAX_DEPTH = 100
"""Largest depth of nested messages. Caffe's own messages nest less than ten deep."""

Span = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Scalar:
    """A value without fields. `text` is the content of a string, or a number or word as written."""

    text: str
    span: Span
    line: int
    quoted: bool = False


@dataclass(frozen=True, slots=True)
class Message:
    """Fields between braces. `span` is the text between them; the whole file for the root."""

    fields: tuple[Field, ...]
    span: Span
    line: int = 1
    synthetic: bool = False
    """Whether an upgrade created the message: nothing can then be inserted into it."""

    def all(self, name: str) -> tuple[Field, ...]:
        """Return every field of that name, in order."""
        return tuple(field for field in self.fields if field.name == name)

    def first(self, name: str) -> Field | None:
        """Return the first field of that name."""
        return next((field for field in self.fields if field.name == name), None)

    def texts(self, name: str) -> tuple[str, ...]:
        """Return the texts of every scalar field of that name."""
        return tuple(f.value.text for f in self.all(name) if isinstance(f.value, Scalar))

    def messages(self, name: str) -> tuple[Message, ...]:
        """Return every message of that name."""
        return tuple(f.value for f in self.all(name) if isinstance(f.value, Message))


@dataclass(frozen=True, slots=True)
class Field:
    """One name with one value. The items of a `[list]` are fields with the same span."""

    name: str
    line: int
    span: Span
    value: Scalar | Message


@dataclass(frozen=True, slots=True)
class Replace:
    """An edit that replaces the text of a scalar."""

    value: Scalar
    text: str


@dataclass(frozen=True, slots=True)
class Insert:
    """An edit that adds a field at the end of a message. `text` is its value."""

    message: Message
    name: str
    text: str


@dataclass(frozen=True, slots=True)
class Remove:
    """An edit that takes a field out, with its lines where nothing else stands in them."""

    field: Field


@dataclass(frozen=True)
class Document:
    """A parsed file. `bytes(document)` returns the file."""

    data: bytes
    root: Message
    file: str

    def __bytes__(self) -> bytes:
        return self.data

    @cached_property
    def newline(self) -> bytes:
        """The line end of the file."""
        end = self.data.find(b"\n")
        return b"\r\n" if end > 0 and self.data[end - 1 : end] == b"\r" else b"\n"

    def replace(self, edits: Sequence[Replace | Insert | Remove]) -> Document:
        """Return the document with edits applied; all other bytes stay."""
        patches: list[tuple[int, int, int, bytes]] = []
        for order, edit in enumerate(edits):
            if isinstance(edit, Replace):
                start, end = edit.value.span
                patches.append((start, end, order, edit.text.encode()))
            elif isinstance(edit, Remove):
                patches.append((*self._lines(*edit.field.span), order, b""))
            else:
                place, text = self._insertion(edit)
                patches.append((place, place, order, text))
        pieces = []
        done = 0
        for start, end, _, text in sorted(patches):
            if start < done:
                raise ValueError("two edits of one place")
            pieces += [self.data[done:start], text]
            done = end
        data = b"".join([*pieces, self.data[done:]])
        return parse(data, file=self.file)

    def _lines(self, start: int, end: int) -> Span:
        """Return a span with the whole of its lines where nothing else stands in them."""
        before = self.data.rfind(b"\n", 0, start) + 1
        after = self.data.find(b"\n", end)
        after = len(self.data) if after < 0 else after + 1
        alone = not self.data[before:start].strip() and not self.data[end:after].strip()
        return (before, after) if alone else (start, end)

    def _insertion(self, edit: Insert) -> tuple[int, bytes]:
        """Return the offset and the text of a new field, in the style of its siblings."""
        colon = " " if edit.text.startswith("{") else ": "
        text = f"{edit.name}{colon}{edit.text}".encode()
        if not edit.message.fields:
            return edit.message.span[0], b" " + text + b" "
        start, end = edit.message.fields[-1].span
        line_start = self.data.rfind(b"\n", 0, start) + 1
        indent = self.data[line_start:start]
        if indent.strip():
            return end, b" " + text
        tail = _REST_OF_LINE.match(self.data, end)
        place = tail.end() if tail else end
        return place, self.newline + indent + text


_REST_OF_LINE = re.compile(rb"[ \t,;]*(?:#[^\r\n]*)?(?=\r?\n|\Z)")
_SKIP = re.compile(rb"(?:[ \t\r\n\v\f]+|#[^\n]*)*")
_TOKEN = re.compile(
    rb"(?P<word>[A-Za-z_][A-Za-z0-9_]*)"
    rb"|(?P<number>(?:0[xX][0-9A-Fa-f]+|(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d+)?[fF]?)(?![A-Za-z0-9_.]))"
    rb"|(?P<string>\"(?:[^\"\\\n]|\\[^\n])*\"|'(?:[^'\\\n]|\\[^\n])*')"
    rb"|(?P<sign>[-{}<>:,;\[\]])"
)
_ESCAPE = re.compile(
    rb"\\(?:([0-7]{1,3})|[xX]([0-9A-Fa-f]{1,2})|u([0-9A-Fa-f]{4})|U([0-9A-Fa-f]{8})|(.))", re.S
)
_SIMPLE = {
    b"a": b"\a", b"b": b"\b", b"f": b"\f", b"n": b"\n", b"r": b"\r", b"t": b"\t", b"v": b"\v",
    b"\\": b"\\", b"'": b"'", b'"': b'"', b"?": b"?",
}  # fmt: skip


@dataclass(slots=True)
class _Token:
    kind: str
    text: bytes
    start: int
    end: int
    line: int


def parse(data: bytes, file: str | Path = "") -> Document:
    """Parse a prototxt.

    Args:
        data: the content of the file.
        file: name of the file, for messages.

    Raises:
        FormatError: the text violates the grammar; names the line.
    """
    parser = _Parser(data, str(file))
    return Document(data, parser.read(), str(file))


def read_document(path: Path) -> Document:
    """Return the document of a file.

    Raises:
        FormatError: it cannot be read, or is no prototxt.
    """
    with located(file=str(path)):
        if path.is_dir():
            raise FormatError("this is a directory, not a prototxt")
        data = read_file(path, MOST_BYTES)
        refuse_impostor(data[:HEAD_BYTES], ".prototxt")
        return parse(data, path)


class _Parser:
    def __init__(self, data: bytes, file: str):
        self.data = data
        self.file = file
        self.line = 1
        self.counted = 0
        self.tokens = self._tokens()
        self.ahead: _Token | None = None
        self.last_end = 0

    def read(self) -> Message:
        if self.data.startswith((b"\xef\xbb\xbf", b"\xff\xfe", b"\xfe\xff")):
            raise self.error("the file starts with a byte order mark, which Caffe refuses", 1)
        if b"\0" in self.data[:4096]:
            raise self.error("this is not a text file", 1)
        self.ahead = next(self.tokens)
        fields = self._fields("", 0)
        return Message(fields, (0, len(self.data)))

    def error(self, message: str, line: int) -> FormatError:
        return FormatError(message, where=Where(file=self.file or None, line=line))

    def _tokens(self) -> Iterator[_Token]:
        position = 0
        while True:
            skipped = _SKIP.match(self.data, position)
            assert skipped is not None
            position = skipped.end()
            self.line += self.data.count(b"\n", self.counted, position)
            self.counted = position
            if position >= len(self.data):
                yield _Token("end", b"", position, position, self.line)
                continue
            found = _TOKEN.match(self.data, position)
            if found is None:
                raise self._bad(position)
            assert found.lastgroup is not None
            yield _Token(found.lastgroup, found.group(), position, found.end(), self.line)
            position = found.end()

    def _bad(self, position: int) -> FormatError:
        byte = self.data[position : position + 1]
        if byte in (b'"', b"'"):
            return self.error("the string does not end on its line", self.line)
        if byte.isdigit() or byte == b".":
            word = self.data[position : position + 20].split()[0].decode("ascii", "replace")
            return self.error(f"'{word}' is not a number", self.line)
        shown = repr(byte.decode("ascii")) if byte.isascii() else f"byte 0x{byte.hex()}"
        return self.error(f"unexpected {shown}", self.line)

    def _take(self) -> _Token:
        token = self.ahead
        assert token is not None
        self.last_end = token.end
        self.ahead = next(self.tokens)
        return token

    def _is(self, *signs: bytes) -> bool:
        assert self.ahead is not None
        return self.ahead.kind == "sign" and self.ahead.text in signs

    def _unexpected(self, wanted: str) -> FormatError:
        assert self.ahead is not None
        if self.ahead.kind == "end":
            return self.error(f"the file ends where {wanted} is expected", self.ahead.line)
        shown = self.ahead.text[:40].decode("utf-8", "replace")
        return self.error(f"{wanted} expected, found {shown}", self.ahead.line)

    def _fields(self, close: str, depth: int) -> tuple[Field, ...]:
        """Return the fields before the closing sign, which is not taken; "" for the file's end."""
        if depth > MAX_DEPTH:
            assert self.ahead is not None
            raise self.error(f"messages nest more than {MAX_DEPTH} deep", self.ahead.line)
        fields: list[Field] = []
        while True:
            assert self.ahead is not None
            if self.ahead.kind == "end" and not close:
                return tuple(fields)
            if close and self._is(close.encode()):
                return tuple(fields)
            if self.ahead.kind != "word":
                raise self._unexpected(f"a field name or '{close}'" if close else "a field name")
            fields.extend(self._field(depth))
            if self._is(b",", b";"):
                self._take()

    def _field(self, depth: int) -> list[Field]:
        """Return one field, or the fields of a list."""
        name = self._take()
        colon = self._is(b":")
        if colon:
            self._take()
        if not colon and not self._is(b"{", b"<", b"["):
            raise self._unexpected("':'")
        values: list[Scalar | Message] = []
        if self._is(b"["):
            self._take()
            while not self._is(b"]"):
                values.append(self._value(depth))
                if self._is(b","):
                    self._take()
                    if self._is(b"]"):
                        raise self._unexpected("a value")
                elif not self._is(b"]"):
                    raise self._unexpected("',' or ']'")
            self._take()
        else:
            values.append(self._value(depth))
        span = (name.start, self.last_end)
        text = name.text.decode()
        return [Field(text, name.line, span, value) for value in values]

    def _value(self, depth: int) -> Scalar | Message:
        assert self.ahead is not None
        if self._is(b"{", b"<"):
            opened = self._take()
            close = "}" if opened.text == b"{" else ">"
            fields = self._fields(close, depth + 1)
            end = self.ahead.start
            self._take()
            return Message(fields, (opened.end, end), opened.line)
        first = self.ahead
        if first.kind == "string":
            return self._string()
        if self._is(b"-"):
            self._take()
            if self.ahead.kind not in ("number", "word"):
                raise self._unexpected("a number")
        elif first.kind not in ("number", "word"):
            raise self._unexpected("a value")
        last = self._take()
        sign = "-" if last is not first else ""
        return Scalar(sign + last.text.decode(), (first.start, last.end), first.line)

    def _string(self) -> Scalar:
        first = self.ahead
        assert first is not None
        content = b""
        while self.ahead is not None and self.ahead.kind == "string":
            token = self._take()
            content += self._unescape(token)
        try:
            text = content.decode("utf-8")
        except UnicodeDecodeError:
            text = content.decode("latin-1")
        return Scalar(text, (first.start, self.last_end), first.line, quoted=True)

    def _unescape(self, token: _Token) -> bytes:
        def replaced(match: re.Match[bytes]) -> bytes:
            octal, hexadecimal, short, long, simple = match.groups()
            if octal:
                return bytes([int(octal, 8) & 255])
            if hexadecimal:
                return bytes([int(hexadecimal, 16)])
            if short or long:
                point = int(short or long, 16)
                if point > 0x10FFFF or 0xD800 <= point < 0xE000:
                    raise self.error("the escape is no Unicode character", token.line)
                return chr(point).encode()
            if simple not in _SIMPLE:
                shown = simple.decode("latin-1")
                raise self.error(f"unknown escape \\{shown} in a string", token.line)
            return _SIMPLE[simple]

        return _ESCAPE.sub(replaced, token.text[1:-1])
