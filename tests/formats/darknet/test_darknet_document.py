"""The cfg document: lossless, patched in place, read as Darknet reads it."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from secateur.core.errors import FormatError
from secateur.formats.darknet.document import parse

WHATEVER_THE_CLOCK = settings(deadline=None, suppress_health_check=list(HealthCheck))

LINES = st.lists(
    st.one_of(
        st.sampled_from(
            [b"[net]", b"[ conv ]", b"[route", b"# note", b"; note", b"", b"  \t", b"filters = 4",
             b"filters=8 # tail", b"fil ters=\t1 6 ", b"pad", b"pad=", b"size=3\r", b"a=b=c", b"=",
             b"\xff\xfe=1", "# réseau 网络".encode(), b"[]"]
        ),
        st.binary(max_size=12).filter(lambda text: b"\0" not in text),
    ),
    max_size=20,
)  # fmt: skip


def document_of(lines: list[bytes], end: bytes) -> bytes:
    return b"[net]" + end + end.join(lines)


@WHATEVER_THE_CLOCK
@given(LINES, st.sampled_from([b"\n", b"\r\n", b"\n\n"]))
def test_identity(lines: list[bytes], end: bytes) -> None:
    data = document_of(lines, end)
    assert bytes(parse(data)) == data


@WHATEVER_THE_CLOCK
@given(LINES, st.sampled_from([b"\n", b"\r\n"]), st.data())
def test_replace_changes_one_value(lines: list[bytes], end: bytes, data: st.DataObject) -> None:
    document = parse(document_of(lines, end))
    position = data.draw(st.integers(0, len(document.sections) - 1))
    name = data.draw(st.sampled_from(["filters", "groups", "pad", "size"]))
    changed = document.replace({(position, name): 17})
    before = [{k: o.value for k, o in block.options.items()} for block in document.sections]
    after = [{k: o.value for k, o in block.options.items()} for block in changed.sections]
    assert [b.name for b in changed.sections] == [b.name for b in document.sections]
    assert (after[position].pop(name) or "").startswith("17")
    before[position].pop(name, None)
    assert after == before
    comments = [line for line in bytes(document).split(b"\n") if line[:1] in (b"#", b";")]
    assert comments == [line for line in bytes(changed).split(b"\n") if line[:1] in (b"#", b";")]


def test_identity_of_real_files(shared: Path) -> None:
    folders = [shared / "models", shared / "golden/darknet", Path("/usr/share/darknet/cfg")]
    files = [path for folder in folders for path in folder.rglob("*.cfg") if path.is_file()]
    assert len(files) > 190
    parsed = 0
    for path in files:
        data = path.read_bytes()
        if b"\0" in data or not data:
            continue
        parsed += bytes(parse(data, str(path))) == data
    print(f"{parsed} of {len(files)} cfg files parsed to identity")
    assert parsed >= len(files) - 3


def test_reads_as_darknet() -> None:
    document = parse(
        b"# comment\n[ net ]\r\nwid th = 1 6 # x\nwidth=3\npad\npad=1\nstride=\n;c\n\xff=\xfe\n"
    )
    (block,) = document.sections
    assert (block.name, block.line) == ("net", 2)
    values = {key: option.value for key, option in block.options.items()}
    assert values == {"width": "16#x", "pad": None, "\\xff": "\\xfe"}


@pytest.mark.parametrize(
    ("before", "values", "after"),
    [
        (b"[a]\nf=1\n", {(0, "f"): 22}, b"[a]\nf=22\n"),
        (b"[a]\n f =  4 # four\r\n", {(0, "f"): 3}, b"[a]\n f =  3 # four\r\n"),
        (b"[a]\r\ng=1", {(0, "f"): 2}, b"[a]\r\nf=2\r\ng=1"),
        (b"[a]", {(0, "f"): 2}, b"[a]\nf=2"),
        (b"[a]\nf=1\nf=2\n", {(0, "f"): 9}, b"[a]\nf=9\nf=2\n"),
        (b"[a]\nf\n[b]\nf=1 2\n", {(0, "f"): 5, (1, "f"): 6}, b"[a]\nf=5\nf\n[b]\nf=6\n"),
        (b"[a]\nf=one\n", {(0, "f"): "two"}, b"[a]\nf=two\n"),
    ],
)
def test_replace(before: bytes, values: dict[tuple[int, str], int | str], after: bytes) -> None:
    assert bytes(parse(before).replace(values)) == after


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"a=1\n[net]\n", "x.cfg:1: the first line that is no comment must be [net]"),
        (b"\xef\xbb\xbf[net]\n", "byte order mark"),
        (b"[net]\na=\x001\n", "x.cfg:2: the line holds a NUL byte"),
    ],
)
def test_refuses(data: bytes, message: str) -> None:
    with pytest.raises(FormatError) as caught:
        parse(data, "x.cfg")
    assert message in str(caught.value)


def test_refuses_a_value_it_could_not_read_back() -> None:
    with pytest.raises(FormatError):
        parse(b"[a]\nf=1\n").replace({(0, "f"): "1\n[b]"})


def test_is_fast_on_large_files() -> None:
    start = time.process_time()
    many = b"[net]\n" + b"[dropout]\nprobability=.5\n" * 100_000
    document = parse(many)
    changed = document.replace({(99_999, "probability"): 1})
    long = b"[net]\n# " + b"x" * 1_000_000 + b"\nwidth=" + b"1 " * 500_000 + b"\n"
    assert bytes(parse(long)) == long
    assert len(document.sections) == 100_001
    assert changed.sections[99_999].options["probability"].value == "1"
    assert time.process_time() - start < 10
