"""`secateur init`: write a pipeline file for a model, with what its files and data tell."""

from __future__ import annotations

import dataclasses
import os
import tempfile
import textwrap
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from secateur import LoadOptions

from .common import AsJson, Companion
from .flags import Fields, Panel, with_flags
from .output import print_json
from .screen import ScreenOptions

if TYPE_CHECKING:
    from secateur import DataSource, Proposal

    from .pipeline_file import Section

WIDTH = 96
"""Columns of comments."""

FAR = 3
"""A path that leads up over more folders than these is written in full."""

HEAD = """\
A pipeline of secateur. `secateur run` carries it out, and does only what is not done yet;
`secateur run --dry-run` says what that would be, how long it takes about, and which rates can be
reached. Paths start from the folder of this file. The keys of a step are the long flags of the
command of its name (`secateur prune --help`)."""

SHOWN: Mapping[str, Mapping[str, Any]] = {
    "ana": {"rates": "0.1:0.9:0.1", "criterion": "l1"},
    "prune": {
        "criterion": "obs", "exclude": ["conv1"], "max-drop": 1, "round-to": 8, "mode": "sparse",
    },
    "finetune": {"epochs": 10, "learning-rate": 0.001, "batch-size": 32, "distill": 0.5},
    "transform": {"repair": "absorb"},
    "valid": {"threads": 1},
}  # fmt: skip
"""Keys that a step shows as comments, each with a value."""

ABOUT: Mapping[str, str] = {
    "calibration": "Chooses channels and repairs; labels are not needed. Some hundred samples do.",
    "training": "Fine-tuning learns from it.",
    "validation": "Fine-tuning keeps what is best on it; limits on the loss are measured on it.",
    "test": "The figures of valid; nothing else looks at it.",
}
"""What data is for, where each is for one thing."""

ALSO_CHOOSES = (
    "The figures of valid. These samples also choose channels or train, so the figures flatter: "
    "give others."
)
ALSO_VALIDATES = (
    "The figures of valid. Fine-tuning and limits look at these samples, too, so the figures "
    "flatter a little: give others."
)
"""What is said of the test data in place of that."""


@with_flags
def command(
    *files: Annotated[
        Path,
        Parameter(
            name="MODEL",
            required=True,
            help="The files of the model. Or a config of vai_p_caffe, or the main cfg of "
            "vai_p_darknet with weights.",
        ),
    ],
    output: Annotated[Path, Parameter(name=("--output", "-o"), help="The file to write.")] = Path(
        "secateur.yaml"
    ),
    data: Annotated[
        Path | None,
        Parameter(
            group=Panel.DATA,
            help="Data of any kind: a .data file, a train_val, or a folder with train, val and "
            "test in it, says which part is for what.",
        ),
    ] = None,
    val: Annotated[Path | None, Parameter(group=Panel.DATA, help="Data for validation.")] = None,
    test: Annotated[
        Path | None, Parameter(group=Panel.DATA, help="Data for the final figures.")
    ] = None,
    companion: Companion = None,
    force: Annotated[bool, Parameter(help="Write over a file that is there.")] = False,
    as_json: AsJson = False,
    model: Annotated[LoadOptions, Fields(without=("reset_seen",))],
    screen: ScreenOptions,
) -> None:
    """Write a pipeline file for a model, filled in with what its files and its data tell."""
    import secateur

    terminal = screen.terminal()
    secateur.check_new(output, force=force)
    found = secateur.propose_pipeline(
        *files, companions=companion or (), data=data, validation=val, test=test, loading=model
    )
    text = "\n".join(_lines(found, output.parent)) + "\n"
    _check(text, output)
    for note in found.notes:
        terminal.warn(note)
    secateur.save_text(text, output, force=force)
    if as_json:
        told = {"file": str(output), "facts": list(found.facts), "notes": list(found.notes)}
        print_json(told)
    terminal.note(f"wrote {output}")
    for fact in found.facts:
        terminal.note(fact)
    where = "" if output.name == "secateur.yaml" and output.parent == Path() else f" {output}"
    terminal.note(f"next: secateur run{where} --dry-run, then secateur run{where}")


def _check(text: str, output: Path) -> None:
    """Read a text as `secateur run` will: what cannot be read is not written."""
    import secateur

    with tempfile.NamedTemporaryFile(
        "w", encoding="utf-8", dir=output.parent, prefix=".secateur-", suffix=".yaml"
    ) as file:
        file.write(text)
        file.flush()
        secateur.load_pipeline(file.name)


def _lines(found: Proposal, folder: Path) -> Iterator[str]:
    """Yield the lines of a pipeline file."""
    from .pipeline_file import sections

    known = sections()
    yield from _comment(HEAD.replace("\n", " "))
    yield ""
    for fact in found.facts:
        yield from _comment(fact)
    yield from _model(found, known["model"], folder)
    yield ""
    yield from _data(found, known["data"], folder)
    yield ""
    yield from _preprocess(found, known["preprocess"])
    yield ""
    yield from _comment("What the network is measured by, where that is not what the data says.")
    yield f"# task: {found.task or 'classification'}"
    yield ""
    yield from _comment("All that is made: a folder a step.")
    yield "output: secateur-out"
    for name in ("ana", "prune", "finetune", "transform", "valid"):
        yield ""
        yield from _step(name, found, known[name], folder)


def _model(found: Proposal, section: Section, folder: Path) -> Iterator[str]:
    usual = LoadOptions()
    changed = {
        field.name: getattr(found.loading, field.name)
        for field in dataclasses.fields(usual)
        if getattr(found.loading, field.name) != getattr(usual, field.name)
    }
    yield "model:"
    yield f"  files: {_value([_relative(path, folder) for path in found.model])}"
    if found.companions:
        yield f"  companions: {_value([_relative(path, folder) for path in found.companions])}"
    else:
        yield "  # companions: [train_val.prototxt]  # the same weights, pruned with it"
    for key, value in section.options.keys(changed).items():
        yield f"  {key}: {_value(value)}"


def _data(found: Proposal, section: Section, folder: Path) -> Iterator[str]:
    """Yield the lines on data; as comments where there is none."""
    start = "" if found.data else "# "
    yield f"{start}data:"
    for role, about in ABOUT.items():
        yield from _comment(_of_test(found) if role == "test" else about, "  ")
        source = found.data.get(role)
        if source is None:
            yield f"  # {role}: {'images/' if role == 'calibration' else f'{role}/'}"
        else:
            yield f"  {role}: {_source(source, section, folder)}"


def _of_test(found: Proposal) -> str:
    """Return what is said of the test data."""
    if found.same:
        return ALSO_CHOOSES
    test, validation = (found.data.get(role) for role in ("test", "validation"))
    if test is not None and validation is not None and test.path == validation.path:
        return ALSO_VALIDATES
    return ABOUT["test"]


def _source(source: DataSource, section: Section, folder: Path) -> str:
    options = {
        field.name: getattr(source.options, field.name)
        for field in dataclasses.fields(source.options)
        if getattr(source.options, field.name) not in (None, False)
    }
    for name in ("root", "names"):
        if name in options:
            options[name] = _relative(Path(options[name]), folder)
    keys = section.options.keys(options)
    path = _relative(Path(source.path), folder)
    return _value({"path": path, **keys}) if keys else _value(path)


def _preprocess(found: Proposal, section: Section) -> Iterator[str]:
    """Yield the lines on how images become inputs."""
    own = found.preprocess
    stated = {
        "channels": own.channels,
        **({"mean": own.mean} if own.mean else {}),
        **({"mean_file": own.mean_file} if own.mean_file else {}),
        "scale": own.scale,
        **({"letterbox": True} if own.letterbox else {}),
        **({"resize": own.resize} if own.resize else {"crop": True} if own.crop else {}),
    }
    if found.differs:
        yield from _comment("How images become inputs, as the net with the data layers says.")
        yield f"preprocess: {_value(section.options.keys(found.differs))}"
        return
    said = (
        f"How images become inputs, as {own.origin or 'the model'} says."
        if found.stated
        else "How images become inputs: no file says it, so that raw pixels are taken. Check this."
    )
    yield from _comment(said)
    yield f"# preprocess: {_value(section.options.keys(stated))}"


def _step(name: str, found: Proposal, section: Section, folder: Path) -> Iterator[str]:
    """Yield the lines of a step; as comments where it is left out."""
    there = name in found.steps
    yield from _comment(section.help)
    if name in found.without:
        yield from _comment(f"Left out: {found.without[name]}.")
    start = "" if there else "# "
    values = {
        field: str(_relative(value, folder)) if isinstance(value, Path) else value
        for field, value in found.steps.get(name, {}).items()
        if value not in ((), None) and (field, value) not in (("sparse", False),
                                                              ("budget", "operations"))
    }  # fmt: skip
    keys = section.options.keys(values)
    yield f"{start}{name}:"
    for key, value in keys.items():
        note = f"  # up to {int(found.most * 1000) / 1000:g} can go" if key == "rate" else ""
        yield f"{start}  {key}: {_value(value)}{note}"
    slots = section.slots
    for key, value in SHOWN[name].items():
        if key not in keys:
            help_text = slots[key].help.split(". ")[0].rstrip(".")
            if key == "epochs" and "time" in keys:
                help_text += ", instead of a time"
            line = f"  # {key}: {_value(value)}"
            yield from _beside(line, help_text)


def _beside(line: str, text: str) -> Iterator[str]:
    """Yield a line with a comment behind it, on lines above it where it is long."""
    if len(line) + len(text) + 5 <= WIDTH:
        yield f"{line:<28}  # {text}"
    else:
        yield from _comment(text, "  ")
        yield line


def _comment(text: str, indent: str = "") -> Iterator[str]:
    for line in textwrap.wrap(text, WIDTH - len(indent) - 2, break_on_hyphens=False):
        yield f"{indent}# {line}"


def _value(value: Any) -> str:
    """Return a value as YAML on one line."""
    import yaml

    text: str = yaml.safe_dump(value, default_flow_style=True, width=1 << 20, allow_unicode=True,
                               sort_keys=False)  # fmt: skip
    return text.removesuffix("...\n").strip()


def _relative(path: Path, folder: Path) -> str:
    """Return a path as it is written in a file in a folder: relative, unless that leads far."""
    found = os.path.relpath(path, folder)
    return str(path.absolute()) if found.count(f"..{os.sep}") > FAR else found
