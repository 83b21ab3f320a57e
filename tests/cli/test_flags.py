"""Options are spelled once: keyword, flag and key of a configuration file say the same."""

from __future__ import annotations

import dataclasses
import inspect
import json
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import pytest
from cyclopts import App, Parameter

import secateur
from secateur.cli import config
from secateur.cli.flags import Fields, field_texts, with_flags
from secateur.cli.main import NAMES, app, main
from secateur.cli.screen import ScreenOptions
from secateur.cli.usage import UsageError

FIXTURES = Path(__file__).resolve().parents[2] / "fixtures"
CAFFE = [str(FIXTURES / "shapes_caffe" / f"shapes.{end}") for end in ("prototxt", "caffemodel")]
DATA = str(FIXTURES / "shapes.npz")

Said = Callable[..., str]


@pytest.fixture
def said(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Said:
    """Return what runs the program in this process: what it prints, errors where it fails."""
    monkeypatch.setenv("COLUMNS", "80")

    def run(*arguments: object, code: int = 0) -> str:
        monkeypatch.setattr("sys.argv", ["secateur", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            main()
        captured = capsys.readouterr()
        assert ended.value.code == code, captured.err
        return (captured.err or captured.out).strip()

    return run


NETWORK = secateur.load(*CAFFE)
CURVES = secateur.analyze(NETWORK, secateur.open_dataset(DATA, NETWORK, limit=4), rates=[0.5])

LIBRARY = {
    secateur.PruneOptions: "prune",
    secateur.FinetuneOptions: "finetune",
    secateur.SparsifyOptions: "finetune",
    secateur.IterateOptions: "iterate",
    secateur.DensifyOptions: "transform",
    secateur.AnalyzeOptions: "ana",
    secateur.StudyOptions: "study",
    secateur.EvaluateOptions: "valid",
    secateur.PredictOptions: "predict",
    secateur.DataOptions: "prune",
    secateur.LoadOptions: "prune",
    secateur.Limits: "prune",
    secateur.DeviceOptions: "valid",
    ScreenOptions: "prune",
}
"""Every option dataclass, and a command that takes all of its fields."""

DIFFERENT = {
    "plan": ["--keep"], "sparse": ["--mode"], "previous": ["--from"], "limits": [],
    "top": ["--top-k"], "suppress": ["--nms"], "overlap": ["--iou"],
    "stages": ["--stage"], "preprocessing": ["--preprocess"], "input_shapes": ["--input-shape"],
    "overrides": ["--layer-rate", "--layer-threshold"], "repairs": ["--repair"],
}  # fmt: skip
"""Fields that are not called as their flags are."""


@dataclass(frozen=True)
class Case:
    """The same options in three ways."""

    options: Any
    flags: Sequence[object]
    keys: str


def cases(folder: Path) -> Iterator[Case]:
    """Yield values of all fields of all option dataclasses."""
    pruned = secateur.prune(NETWORK, rate=0.2, repair=False)
    (folder / "plan.yaml").write_text(pruned.plan.to_yaml())
    (folder / "times.yaml").write_text("conv1: 0.5\n")
    secateur.save_analysis(CURVES, folder / "analysis.json")
    curves, plan, times = (folder / n for n in ("analysis.json", "plan.yaml", "times.yaml"))
    override = secateur.Override
    yield Case(
        secateur.PruneOptions(
            rate=0.25, criterion="l2", allocation="uniform", budget="latency",
            latencies={"conv1": 0.5}, repair="refit,bias", exclude=("a", "b"), sparse=True,
            overrides={"c": override(rate=0.5), "d": override(threshold=2.0)},
            limits=secateur.Limits(round_to=4, max_rate=0.75, min_keep=0.25), task="classification",
            as_far_as_possible=True,
        ),
        ["--rate", 0.25, "--criterion", "l2", "--allocation", "uniform", "--budget", "latency",
         "--latencies", times, "--repair", "refit,bias", "--exclude", "a", "--exclude", "b",
         "--mode", "sparse", "--layer-rate", "c=0.5", "--layer-threshold", "d=2",
         "--round-to", 4, "--max-rate", 0.75, "--min-keep", 0.25, "--as-far-as-possible",
         "--task", "classification"],
        f"rate: 0.25\ncriterion: l2\nallocation: uniform\nbudget: latency\nlatencies: {times}\n"
        "task: classification\nrepair: [refit, bias]\nexclude: [a, b]\nmode: sparse\n"
        "round-to: 4\nmax_rate: 0.75\nmin-keep: 0.25\nas-far-as-possible: true\n"
        "layers:\n  c: {rate: 0.5}\n  d: {threshold: 2}\n",
    )  # fmt: skip
    yield Case(
        secateur.PruneOptions(threshold=0.5, analysis=CURVES, repair="none"),
        ["--threshold", 0.5, "--analysis", curves, "--no-repair"],
        f"threshold: 0.5\nanalysis: {curves}\nno-repair: true\n",
    )
    yield Case(
        secateur.PruneOptions(rate=0.5, allocation="one-step", candidates=7, steps=3, jobs=2),
        ["--rate", 0.5, "--allocation", "one-step", "--candidates", 7, "--steps", 3, "--jobs", 2],
        "rate: 0.5\nallocation: one-step\ncandidates: 7\nsteps: 3\njobs: 2\n",
    )
    chip = folder / "chip.yaml"
    chip.write_text("name: chip\ninputs: 8\noutputs: 4\n")
    yield Case(
        secateur.PruneOptions(rate=0.5, target=secateur.find_target(chip), budget="target"),
        ["--rate", 0.5, "--target", chip, "--budget", "target"],
        f"rate: 0.5\ntarget: {chip}\nbudget: target\n",
    )
    yield Case(
        secateur.PruneOptions(rate=0.5, normalize="layer-l2", allocation="global"),
        ["--rate", 0.5, "--normalize", "layer-l2", "--allocation", "global"],
        "rate: 0.5\nnormalize: layer-l2\nallocation: global\n",
    )
    yield Case(
        secateur.PruneOptions(target_latency="0.6x", engine=secateur.find_engine("opencv")),
        ["--target-latency", "0.6x", "--engine", "opencv"],
        "target-latency: 0.6x\nengine: opencv\n",
    )
    yield Case(secateur.PruneOptions(plan=pruned.plan), ["--keep", plan], f"keep: {plan}\n")
    for text, asked in (("2", 2), ("a,b", ("a", "b")), ("16,", ("16",))):
        yield Case(
            secateur.PruneOptions(drop_blocks=asked),
            ["--drop-blocks", text],
            f"drop-blocks: {text}\n",
        )
    yield Case(
        secateur.PruneOptions(drop_blocks="auto", rate=0.25),
        ["--drop-blocks", "auto", "--rate", 0.25],
        "drop_blocks: auto\nrate: 0.25\n",
    )
    yield Case(
        secateur.IterateOptions(rates=(0.2, 0.4), previous=True, max_drop=1.5, jobs=3),
        ["--rates", "0.2,0.4", "--from", "previous", "--max-drop", 1.5, "--jobs", 3],
        "rates: [0.2, 0.4]\nfrom: previous\nmax-drop: 1.5\njobs: 3\n",
    )
    yield Case(
        secateur.IterateOptions(rates=(0.25, 0.5), max_divergence=2.0),
        ["--to", 0.5, "--rounds", 2, "--max-divergence", 2],
        "to: 0.5\nrounds: 2\nmax-divergence: 2\n",
    )
    yield Case(
        secateur.IterateOptions(
            rates=(0.5, 0.75), previous=False, finetune=secateur.FinetuneOptions(
                time=600.0, distill=0.25, freeze=("a", "b"), own_solver=True, checkpoint=60.0,
                hold_zeros=True,
            ),
        ),
        ["--to", 0.75, "--rounds", 2, "--schedule", "geometric", "--from", "original",
         "--finetune", "10m", "--finetune-distill", 0.25, "--finetune-freeze", "a",
         "--finetune-freeze", "b", "--finetune-own-solver", "--finetune-checkpoint", "1m",
         "--finetune-hold-zeros"],
        "to: 0.75\nrounds: 2\nschedule: geometric\nfrom: original\nfinetune: 10m\n"
        "finetune-distill: 0.25\nfinetune_freeze: [a, b]\nfinetune-own-solver: true\n"
        "finetune-checkpoint: 60\nfinetune-hold-zeros: true\n",
    )  # fmt: skip
    for text, length in (
        ("2epochs", {"epochs": 2.0}), ("0.5", {"epochs": 0.5}), ("1epoch", {"epochs": 1.0}),
        ("500 steps", {"steps": 500}), ("30s", {"time": 30.0}), ("1.5h", {"time": 5400.0}),
    ):  # fmt: skip
        yield Case(
            secateur.IterateOptions(rates=(0.5,), finetune=secateur.FinetuneOptions(**length)),
            ["--rates", 0.5, "--finetune", text],
            f"rates: [0.5]\nfinetune: {text}\n",
        )
    yield Case(
        secateur.FinetuneOptions(
            time=600.0, batch_size=8, learning_rate=0.01, method="sgd", own_solver=True,
            momentum=0.5, weight_decay=0.25, distill=0.75, match="features", temperature=4.0,
            train="vectors", freeze=("a", "b"), normalize="stored", augment="none", patience=3,
            measurements=5, checkpoint=60.0, seed=1, device="cpu", precision="bfloat16",
            sync_norm=True, hold_zeros=True,
        ),
        ["--time", "10m", "--batch-size", 8, "--learning-rate", 0.01, "--method", "sgd",
         "--own-solver", "--momentum", 0.5, "--weight-decay", 0.25, "--distill", 0.75,
         "--match", "features", "--temperature", 4, "--train", "vectors", "--freeze", "a",
         "--freeze", "b", "--normalize", "stored", "--augment", "none", "--patience", 3,
         "--measurements", 5, "--checkpoint", "1m", "--seed", 1, "--device", "cpu",
         "--precision", "bfloat16", "--sync-norm", "--hold-zeros"],
        "time: 10m\nbatch-size: 8\nlearning-rate: 0.01\nmethod: sgd\nown-solver: true\n"
        "momentum: 0.5\nweight-decay: 0.25\ndistill: 0.75\nmatch: features\ntemperature: 4\n"
        "train: vectors\nfreeze: [a, b]\nnormalize: stored\naugment: none\npatience: 3\n"
        "measurements: 5\ncheckpoint: 60\nseed: 1\ndevice: cpu\nprecision: bfloat16\n"
        "sync-norm: true\nhold-zeros: true\n",
    )  # fmt: skip
    yield Case(secateur.FinetuneOptions(epochs=2.5), ["--epochs", 2.5], "epochs: 2.5\n")
    yield Case(secateur.FinetuneOptions(steps=7), ["--steps", 7], "steps: 7\n")
    yield Case(secateur.FinetuneOptions(rewind_rate=True), ["--rewind-rate"], "rewind-rate: true\n")
    yield Case(
        secateur.FinetuneOptions(reinitialize=True), ["--reinitialize"], "reinitialize: true\n"
    )
    yield Case(
        secateur.SparsifyOptions(
            method="cubic", rate=0.5, every=7, ramp=0.75, criterion="l2", exclude=("a", "b"),
            limits=secateur.Limits(round_to=4, max_rate=0.75, min_keep=0.25),
        ),
        ["--sparsify", "cubic", "--rate", 0.5, "--every", 7, "--ramp", 0.75, "--criterion", "l2",
         "--exclude", "a", "--exclude", "b", "--round-to", 4, "--max-rate", 0.75,
         "--min-keep", 0.25],
        "sparsify: cubic\nrate: 0.5\nevery: 7\nramp: 0.75\ncriterion: l2\nexclude: [a, b]\n"
        "round-to: 4\nmax-rate: 0.75\nmin-keep: 0.25\n",
    )  # fmt: skip
    yield Case(
        secateur.DensifyOptions(repair="bias", force=True),
        ["--repair", "bias", "--force"],
        "repair: bias\nforce: true\n",
    )
    yield Case(
        secateur.AnalyzeOptions(
            criterion="l2", rates=(0.2, 0.4, 0.6), threshold=0.1, rising=True, exclude=("a",),
            jobs=2, memory=2048, task="divergence",
        ),
        ["--criterion", "l2", "--rates", "0.2:0.6:0.2", "--threshold", 0.1, "--rising",
         "--exclude", "a", "--jobs", 2, "--memory", "2K", "--task", "divergence"],
        "criterion: l2\nrates: [0.2, 0.4, 0.6]\nthreshold: 0.1\nrising: true\nexclude: a\n"
        "jobs: 2\nmemory: 2048\ntask: divergence\n",
    )  # fmt: skip
    yield Case(
        secateur.StudyOptions(
            methods=("l1", "obs+uniform"), rates=(0.2, 0.4), repairs=("auto", "bias+refit"),
            finetune=secateur.FinetuneOptions(epochs=2.0, seed=5), seeds=3, low_data=(1, 5),
            analysis=CURVES, budget="parameters", task="divergence", exclude=("a", "b"),
            limits=secateur.Limits(round_to=1), as_far_as_possible=True, latency=False, jobs=2,
        ),
        ["--methods", "l1,obs+uniform", "--rates", "0.2:0.4:0.2", "--repair", "auto,bias+refit",
         "--finetune", "2epochs", "--finetune-seed", 5, "--seeds", 3, "--low-data", "1,5",
         "--analysis", curves, "--budget", "parameters", "--task", "divergence", "--exclude", "a",
         "--exclude", "b", "--round-to", 1, "--as-far-as-possible", "--no-latency",
         "--jobs", 2],
        "methods: [l1, obs+uniform]\nrates: [0.2, 0.4]\nrepair: [auto, bias+refit]\n"
        "finetune: 2epochs\nfinetune-seed: 5\nseeds: 3\nlow-data: [1, 5]\n"
        f"analysis: {curves}\nbudget: parameters\ntask: divergence\nexclude: [a, b]\n"
        "round-to: 1\nas-far-as-possible: true\nno-latency: true\njobs: 2\n",
    )  # fmt: skip
    yield Case(
        secateur.StudyOptions(target=secateur.find_target(chip)), ["--target", chip],
        f"target: {chip}\n",
    )  # fmt: skip
    yield Case(
        secateur.EvaluateOptions(
            top=(1, 3), score=0.25, suppress=0.5, overlap=0.75, output="prob", threads=2,
            task="detection",
        ),
        ["--top-k", "1,3", "--score", 0.25, "--nms", 0.5, "--iou", 0.75, "--output", "prob",
         "--threads", 2, "--task", "detection"],
        "top-k: [1, 3]\nscore: 0.25\nnms: 0.5\niou: 0.75\noutput: prob\nthreads: 2\n"
        "task: detection\n",
    )  # fmt: skip
    yield Case(
        secateur.DataOptions(
            mean=(-1.0, 2.0, 3.0), mean_file="m.npy", scale=0.5, channels="rgb", letterbox=False,
            resize=(10, 20), crop=True, root="r", names="n", ignore_label=3, batch=4, limit=5,
            preprocessing="imagenet",
        ),
        ["--mean", "-1,2,3", "--mean-file", "m.npy", "--scale", 0.5, "--channels", "rgb",
         "--stretch", "--resize", "10,20", "--crop", "--root", "r", "--names", "n",
         "--ignore-label", 3, "--batch", 4, "--limit", 5, "--preprocess", "imagenet"],
        "mean: [-1, 2, 3]\nmean_file: m.npy\nscale: 0.5\nchannels: rgb\nletterbox: false\n"
        "resize: [10, 20]\ncrop: true\nroot: r\nnames: n\nignore_label: 3\nbatch: 4\nlimit: 5\n"
        "preprocess: imagenet\n",
    )  # fmt: skip
    yield Case(
        secateur.LoadOptions(
            flavour="pjreddie", partial=True, reset_seen=True, phase="TRAIN", stages=("a", "b"),
            level=2, input_shapes={"data": (3, 4, 5)}, batch_norm="stored", regions=300,
            lrn="inexact", opaque=("Mine", "Yours"),
        ),
        ["--flavour", "pjreddie", "--partial", "--reset-seen", "--phase", "train", "--stage", "a",
         "--stages", "b", "--level", 2, "--input-shape", "data=3,4,5",
         "--batch-norm", "stored", "--regions", 300, "--opaque", "Mine", "--opaque", "Yours",
         "--lrn", "inexact"],
        "flavour: pjreddie\npartial: true\nreset-seen: true\nphase: TRAIN\nstage: [a, b]\n"
        "level: 2\ninput-shape: data=3,4,5\nbatch-norm: stored\nregions: 300\n"
        "opaque: [Mine, Yours]\nlrn: inexact\n",
    )  # fmt: skip
    yield Case(
        secateur.PredictOptions(score=0.5, suppress=0.4, top=3),
        ["--score", 0.5, "--nms", 0.4, "--top-k", 3],
        "score: 0.5\nnms: 0.4\ntop-k: 3\n",
    )
    yield Case(
        secateur.DeviceOptions(device="cuda:0,1"), ["--device", "cuda:0,1"], "device: cuda:0,1\n"
    )
    yield Case(
        ScreenOptions(quiet=True, verbose=True, debug=True), ["-q", "--verbose", "--debug"], ""
    )


def parsed(kind: type[Any], *arguments: object) -> Any:
    """Return the options that a command with nothing else gets."""
    seen = []

    def command(options: Any) -> None:
        seen.append(options)

    command.__annotations__ = {"options": kind}
    command.__signature__ = inspect.Signature(  # type: ignore[attr-defined]
        [inspect.Parameter("options", inspect.Parameter.KEYWORD_ONLY, annotation=kind)]
    )
    program = App(
        config=config.read, default_parameter=Parameter(negative=(), allow_repeating=True)
    )
    program.default(with_flags(command))
    program(list(map(str, arguments)), exit_on_error=False, result_action="return_value")
    (found,) = seen
    return found


def test_keyword_flag_and_key_give_equal_options(tmp_path: Path) -> None:
    covered: dict[type[Any], set[str]] = {kind: set() for kind in LIBRARY}
    for case in cases(tmp_path):
        kind = type(case.options)
        assert parsed(kind, *case.flags) == case.options
        if case.keys:
            (tmp_path / "config.yaml").write_text(case.keys)
            assert parsed(kind, "--config", tmp_path / "config.yaml") == case.options
            # The command line wins over the file.
            mixed = parsed(kind, "--config", tmp_path / "config.yaml", *case.flags)
            assert mixed == case.options
        covered[kind] |= {
            field.name
            for field in dataclasses.fields(kind)
            if field.default is dataclasses.MISSING
            or getattr(case.options, field.name) != field.default
        }
    del covered[secateur.Limits]  # within those of pruning
    for kind, names in covered.items():
        own = {f.name for f in dataclasses.fields(kind)}
        if kind is secateur.IterateOptions:
            own -= {f.name for f in dataclasses.fields(secateur.ChoiceOptions)}
        assert names >= own, kind


@pytest.mark.parametrize("kind", LIBRARY, ids=lambda kind: kind.__name__)
def test_every_field_has_help_and_a_flag_that_shows_it(kind: type[Any], said: Said) -> None:
    help_page = said(LIBRARY[kind], "--help-all")
    words = " ".join(help_page.replace("│", " ").split())
    texts = field_texts(kind)
    for field in dataclasses.fields(kind):
        assert texts[field.name].endswith("."), field.name
        flags = DIFFERENT.get(field.name, [f"--{field.name.replace('_', '-')}"])
        for flag in flags:
            assert f" {flag} " in words, flag
        if flags and field.name not in ("overrides", "repair"):
            assert texts[field.name].split()[0] in words


@pytest.mark.parametrize("command", ["ana", "iterate", "prune", "study"])
def test_work_that_repeats_is_shared_alike(command: str, said: Said) -> None:
    words = " ".join(said(command, "--help-all").replace("│", " ").split())
    assert "--cluster ADDRESS Compute on a Dask cluster: the address of its scheduler." in words
    assert " --jobs " in words


def test_help_pages_fit_a_terminal_and_are_plain(said: Said) -> None:
    for names in (*NAMES, ("data", "check"), ()):
        page = said(*names[:1], *(names[1:] if names[:1] == ("data",) else ()), "--help-all")
        assert max(map(len, page.splitlines())) <= 80
        assert "\x1b" not in page
        assert "├" not in page
        if names and names[0] not in ("data", "targets", "completion"):
            assert "--config FILE" in page
            without = {"run": ("Model",), "schema": ("Arguments", "Model")}.get(names[0], ())
            for panel in {"Arguments", "Options", "Model", "Screen"}.difference(without):
                assert f"─ {panel} ─" in page, names


def test_no_help_page_loads_what_computes() -> None:
    code = (
        "import sys\nfrom secateur.cli.main import app\n"
        "for name in app.resolved_commands(): name[0] == '-' or app.help_print([name])\n"
        "app.help_print(['data', 'check'])\n"
        "print([m for m in ('cv2', 'numpy', 'onnx', 'onnx_ir', 'onnxruntime', 'scipy', 'yaml')"
        " if m in sys.modules])"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert result.stdout.splitlines()[-1] == "[]"
    assert "--layer-rate" in result.stdout


def test_commands_answer_to_long_names_and_are_listed_once(said: Said) -> None:
    page = said("--help")
    for names in NAMES:
        assert page.count(f"│ {', '.join(names)} ") == 1
        for other in names[1:]:
            assert (
                said(other, "--help").splitlines()[1:]
                == (said(names[0], "--help").splitlines()[1:])
            )
    assert json.loads(said("stats", *CAFFE, "--json"))["totals"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "--output is missing"),
        (("-o", "out", "--rat", 1), "there is no option --rat (hint: did you mean --rate?)"),
        (("-o", "out", "--rate"), "--rate needs a value"),
        (("-o", "out", "--rate", "much"), "--rate: 'much' is no number"),
        (("-o", "out", "--rate", 1), "--rate: the rate must be from 0 to below 1, got 1"),
        (("-o", "out", "--rate", 0.5, "--round-to", 0), "--round-to: channels must be a multiple"),
        (("-o", "out", "--rate", 0.5, "--batch", 0), "--batch: a batch must hold at least one"),
        (("-o", "out", "--rate", 0.5, "--max-drop", "x"), "--max-drop: 'x' is no number"),
        (("-o", "out", "--rate", 0.5, "--input-shape", "data"), "'data' is not NAME=C,H,W"),
        (("-o", "out", "--rate", 0.5, "--quiet=2"), "--quiet"),
    ],
)
def test_usage_errors_are_one_line_with_the_flag(arguments: Any, message: str, said: Said) -> None:
    line = said("prune", *CAFFE, *arguments, code=2)
    assert line.startswith("error: ")
    assert len(line.splitlines()) == 1
    assert message in line


def test_unknown_commands_and_left_over_words(said: Said) -> None:
    line = said("prnue", *CAFFE, code=2)
    assert line == "error: there is no command 'prnue' (hint: did you mean prune?)"
    assert said("prune", code=2) == "error: FILE is missing"
    assert said(code=2) == said("--help")
    assert said("data", code=2) == said("data", "--help")


def test_the_same_check_from_python_and_from_a_file(tmp_path: Path, said: Said) -> None:
    with pytest.raises(secateur.PlanError, match="the rate must be"):
        secateur.PruneOptions(rate=2)
    with pytest.raises(secateur.DataError, match="at least one sample"):
        secateur.open_dataset(DATA, NETWORK, limit=0)
    with pytest.raises(TypeError, match="not both: rate"):
        secateur.prune(NETWORK, secateur.PruneOptions(rate=0.1), rate=0.2)
    (tmp_path / "c.yaml").write_text("output: out\n\nlimit: 0\nrate: 0.1\n")
    line = said("prune", *CAFFE, "--config", tmp_path / "c.yaml", code=1)
    assert line.startswith(f"error: {tmp_path}/c.yaml:3: limit: the limit must be at least one")


def test_a_former_name_is_noted_once(said: Said) -> None:
    arguments = ("prune", *CAFFE, "-o", "out", "--rate", 0.2, "--criterion", "surgery")
    lines = said(*arguments, code=1).splitlines()
    assert lines[0] == "note: surgery is called obs now"
    assert lines[1].startswith("error: obs needs data")
    assert "surgery" not in said(*arguments, "-q", code=1)


@pytest.mark.parametrize("flag", ["--criterion", "--allocation", "--repair"])
def test_registries_are_listed_before_anything_is_required(flag: str, said: Said) -> None:
    for arguments in ((flag, "help"), (f"{flag}=help",)):
        text = said("iterate", *arguments)
        assert text.startswith("auto ")
        assert "(" in text
        assert max(map(len, text.splitlines())) <= 80


def test_a_command_may_take_some_of_the_fields() -> None:
    some = Annotated[secateur.LoadOptions, Fields(only=("level", "phase"))]
    assert parsed(some, "--level", "3") == secateur.LoadOptions(level=3)  # type: ignore[arg-type]
    with pytest.raises(Exception, match="--flavour"):
        parsed(some, "--flavour", "auto")  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="--level: 'x' is no whole number"):
        parsed(some, "--level", "x")  # type: ignore[arg-type]


def test_every_command_is_there() -> None:
    assert {names[0] for names in NAMES} | {"data"} <= set(app)
