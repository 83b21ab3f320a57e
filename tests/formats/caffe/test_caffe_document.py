"""The prototxt document: every byte is kept, and errors name the line."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from secateur.core.errors import FormatError
from secateur.formats.caffe.document import Insert, Message, Replace, Scalar, parse
from support.caffe import GOLDEN, models

WHATEVER_THE_CLOCK = settings(deadline=None, suppress_health_check=list(HealthCheck))

FILES = [path for path, _ in models()] + sorted(GOLDEN.glob("cases/*/model.prototxt"))


def test_every_file_is_kept(shared):
    for path in FILES:
        data = path.read_bytes()
        assert bytes(parse(data, path)) == data
        assert parse(data, path).replace([]).data == data
    print(f"\n{len(FILES)} prototxt files kept byte for byte")
    assert len(FILES) > 150


words = st.from_regex(r"[a-z_][a-z_0-9]{0,8}", fullmatch=True)
gaps = st.sampled_from(["", " ", "\n", "\t", "\r\n", " # note é\n", "#\n  "])
numbers = st.one_of(
    st.integers(-(2**40), 2**40).map(str),
    st.floats(allow_nan=False, allow_infinity=False, width=32).map(repr),
    st.sampled_from(["0x1F", "017", "2f", "-.5e+3", "1.", "true", "MAX"]),
)
strings = st.one_of(
    st.text(st.characters(codec="utf-8", exclude_characters='"\\\n\0'), max_size=9).map(
        '"{}"'.format
    ),
    st.sampled_from(["'x'", r'"\x41\101\n"', '"a" "b"', '"#"']),
)


for strategy in (words, gaps, numbers, strings):
    # Tables of Unicode are made once, for longer than Hypothesis lets the drawing of an input take.
    strategy.validate()


@st.composite
def fields(draw: st.DrawFn, depth: int = 0) -> str:
    name, gap = draw(words), draw(gaps)
    kind = draw(st.sampled_from("vvvml" if depth < 3 else "vvl"))
    if kind == "m":
        inner = draw(st.lists(fields(depth + 1), max_size=3))
        opened, closed = draw(st.sampled_from(["{}", "<>"]))
        value = draw(st.sampled_from(["", ":", " : "])) + opened + gap + " ".join(inner) + closed
    elif kind == "l":
        value = ": [" + ",".join(draw(st.lists(numbers, max_size=3))) + "]"
    else:
        value = f":{gap}" + draw(st.one_of(numbers, strings))
    return f"{name}{draw(gaps)}{value}{draw(st.sampled_from(['', ',', ';', ' ']))}{draw(gaps)} "


@WHATEVER_THE_CLOCK
@given(st.lists(fields(), max_size=5))
def test_every_legal_text_is_kept(parts):
    data = "".join(parts).encode()
    document = parse(data)
    assert bytes(document) == data
    for field in scalars(document.root):
        start, end = field.span
        written = data[start:end].decode()
        assert field.quoted or written.replace(" ", "") == field.text


def scalars(message: Message) -> list[Scalar]:
    found: list[Scalar] = []
    for field in message.fields:
        found += [field.value] if isinstance(field.value, Scalar) else scalars(field.value)
    return found


@WHATEVER_THE_CLOCK
@given(st.binary(max_size=60))
def test_any_bytes_are_read_or_refused(data):
    with contextlib.suppress(FormatError):
        assert bytes(parse(data)) == data


@pytest.mark.parametrize(
    ("text", "line", "message"),
    [
        ("a: 1\nb {\n c: 2\n", 4, "ends where"),
        ("a: 1\nb: }", 2, "value expected"),
        ("a 1", 1, "':' expected"),
        ('a: 1\n\n  b: "x\n"', 3, "does not end"),
        ('a: "\\q"', 1, "escape"),
        ("a: 1x", 1, "not a number"),
        ("a: 1\n\xff", 2, "unexpected"),
        ("a: [1, 2", 1, "ends where"),
        ("a: [1,]", 1, "value expected"),
        ("a: -", 1, "ends where"),
        ("\ufeffa: 1", 1, "byte order mark"),
        ("a {" * 200 + "}" * 200, 1, "deep"),
    ],
)
def test_broken_text_names_the_line(text, line, message):
    with pytest.raises(FormatError, match=message) as caught:
        parse(text.encode("utf-8" if "\ufeff" in text else "latin-1"), "net.prototxt")
    assert caught.value.where.line == line
    assert str(caught.value).startswith("net.prototxt:")


def test_values_are_read_as_protobuf_reads_them():
    root = parse(b'a: "x" \'y\' "\\x41\\101\\n" b: -  5 c < d: [1, 2] > e: 2f').root
    assert root.texts("a") == ("xyAA\n",)
    assert root.texts("b") == ("-5",)
    assert root.messages("c")[0].texts("d") == ("1", "2")


EDITED = [
    (
        b"p {\n  a: 1 # one\n  b: 2  # two\n}\n",
        b"p {\n  a: 7 # one\n  b: 2  # two\n  c: 3\n}\n",
    ),
    (b"p {\r\n\ta: 1;\r\n}\r\n", b"p {\r\n\ta: 7;\r\n\tc: 3\r\n}\r\n"),
    (b"p { a: 1 }", b"p { a: 7 c: 3 }"),
    (b"p{a:[1,2]}", b"p{a:[7,2] c: 3}"),
]


@pytest.mark.parametrize(("before", "after"), EDITED)
def test_edits_touch_nothing_else(before, after):
    document = parse(before)
    inner = document.root.messages("p")[0]
    value = inner.fields[0].value
    assert isinstance(value, Scalar)
    assert bytes(document.replace([Replace(value, "7"), Insert(inner, "c", "3")])) == after


def test_a_message_can_be_inserted_into_an_empty_one():
    document = parse(b"p {}")
    inner = document.root.messages("p")[0]
    assert bytes(document.replace([Insert(inner, "q", "{ a: 1 }")])) == b"p { q { a: 1 } }"
