"""The values that options take, each with what it does: for `--criterion help`, and completion.

What is registered under a name tells about itself. The values of other options stand in
:data:`CHOICES`; a test finds those that are missing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

__all__ = ["CHOICES", "OF_COMMANDS", "REGISTERED", "Line", "Values", "values_of"]

Line = tuple[str, str]
"""A value, and what it does."""

Values = Callable[[], Iterator[Line]]
"""Yields the values of an option; what tells them is loaded only then."""


def _criteria() -> Iterator[Line]:
    import secateur

    for name, entry in sorted(secateur.CRITERIA.items()):
        yield name, entry.described


def _chosen_criteria() -> Iterator[Line]:
    yield "auto", "obs; l1 where there is no data and no images can be made up"
    yield (
        "obs",
        "least disturbance of the outputs per operation saved; the others compensate (Hassibi and "
        "Stork, 1993; Frantar and Alistarh, 2022)",
    )
    yield from _criteria()


def _methods() -> Iterator[Line]:
    yield "CRITERION+ALLOCATION", "a criterion with an allocation (--allocation of prune)"
    yield from _chosen_criteria()


def _allocations() -> Iterator[Line]:
    import secateur

    yield (
        "auto",
        "threshold or sensitivity with --analysis, global for obs, uniform for other criteria",
    )
    for name, entry in sorted(secateur.ALLOCATIONS.items()):
        yield name, f"{entry.summary} ({entry.source})"


def _repairs() -> Iterator[Line]:
    import secateur

    names = [entry.name for entry in secateur.find_repairs("auto", data=True)]
    yield "auto", f"{', '.join(names)}: each is kept where it helps"
    yield "none", "nothing"
    for name, entry in secateur.REPAIRS.items():
        needs = " Needs --data." if entry.needs_data else ""
        yield name, f"{entry.summary} ({entry.source}).{needs}"


def _budgets() -> Iterator[Line]:
    import secateur

    yield from secateur.BUDGETS.items()


def _tasks() -> Iterator[Line]:
    import secateur

    for name, entry in sorted(secateur.TASKS.items()):
        yield name, entry.summary


def _schedules() -> Iterator[Line]:
    import secateur

    for name, entry in sorted(secateur.SCHEDULES.items()):
        yield name, f"{entry.summary} ({entry.source})"


def _targets() -> Iterator[Line]:
    import secateur

    for name in secateur.target_names():
        yield name, secateur.find_target(name).summary


def _engines() -> Iterator[Line]:
    import secateur

    for name, entry in sorted(secateur.ENGINES.items()):
        missing = entry.missing()
        needs = f" (not installed: pip install {' '.join(missing)})" if missing else ""
        yield name, f"{entry.summary}{needs}"


def _devices() -> Iterator[Line]:
    import secateur

    yield "auto", "the first accelerator that the ONNX Runtime here offers, else the processor"
    yield "cpu", "the processor"
    yield from secateur.device_names()


def _steps() -> Iterator[Line]:
    import secateur

    for step in secateur.STEPS:
        yield step, f"the step `{step}` of the pipeline file"


REGISTERED: Mapping[str, Values] = {
    "ChoiceOptions.criterion": _chosen_criteria,
    "ChoiceOptions.allocation": _allocations,
    "ChoiceOptions.budget": _budgets,
    "ChoiceOptions.repair": _repairs,
    "ChoiceOptions.target": _targets,
    "ChoiceOptions.task": _tasks,
    "PruneOptions.engine": _engines,
    "DensifyOptions.repair": _repairs,
    "AnalyzeOptions.criterion": _criteria,
    "AnalyzeOptions.task": _tasks,
    "EvaluateOptions.task": _tasks,
    "StudyOptions.methods": _methods,
    "StudyOptions.repairs": _repairs,
    "StudyOptions.budget": _budgets,
    "StudyOptions.target": _targets,
    "StudyOptions.task": _tasks,
    "DeviceOptions.device": _devices,
    "SparsifyOptions.criterion": _criteria,
    "SparsifyOptions.method": _schedules,
}
"""Fields whose values are entries of registries, or tell about themselves."""

CHOICES: Mapping[str, Mapping[str, str]] = {
    "DataOptions.preprocessing": {
        "auto": "what fits labelled data best of the usual ones; it is said",
        "like=FILE": "as a train_val or a plan says",
        "raw": "pixels as they are, 0 to 255",
        "unit": "0 to 1",
        "signed": "-1 to 1",
        "imagenet": "less 104, 117, 123 (blue, green, red)",
        "mobilenet": "less 103.94, 116.78, 123.68, times 0.017",
    },
    "ChoiceOptions.normalize": {
        "auto": "none for criteria whose scores are losses (taylor, oracle, shapley), else mean",
        "none": "scores as they are",
        "mean": "over the mean size of the scores of the group",
        "layer-l2": "over the L2 norm of the scores of the group",
        "max": "over the largest score of the group",
    },
    "PruneOptions.sparse": {
        "dense": "a smaller network",
        "sparse": "the full size, with zeros for removed channels, to fine-tune elsewhere",
    },
    "IterateOptions.rates --schedule": {
        "linear": "equal steps",
        "geometric": "each round takes the same part of what is left",
    },
    "IterateOptions.previous": {
        "original": "each round starts from the network that was given",
        "previous": "each round starts from the network of the round before",
    },
    "FinetuneOptions.method": {
        "adam": "Adam (Kingma and Ba, 2015)",
        "sgd": "stochastic gradients with momentum",
    },
    "FinetuneOptions.match": {
        "auto": "features first, then both",
        "layers": "what each layer makes",
        "features": "what the last layers read",
        "outputs": "the outputs",
        "both": "features and outputs",
    },
    "FinetuneOptions.train": {
        "auto": "with a teacher alone vectors first, else all",
        "all": "all weights",
        "vectors": "biases and factors of normalisations alone",
    },
    "FinetuneOptions.normalize": {
        "auto": "batch from 16 samples on, else stored",
        "batch": "the statistics of the batch",
        "stored": "the statistics of the file",
    },
    "FinetuneOptions.augment": {
        "auto": "what the files say, else the usual",
        "usual": "random crops, flips and colours, as fits the task",
        "none": "images as they are",
    },
    "FinetuneOptions.device": {
        "auto": "cuda where there is one",
        "cpu": "the processor",
        "cuda": "the first GPU",
        "cuda:1": "the second one, and so on",
    },
    "FinetuneOptions.precision": {
        "float32": "single precision",
        "bfloat16": "half the memory, the range of float32",
        "float16": "half the memory, with scaled gradients",
    },
    "DataOptions.channels": {
        "bgr": "blue, green, red, as Caffe and OpenCV have it",
        "rgb": "red, green, blue, as Darknet has it",
        "gray": "one channel",
    },
    "LoadOptions.flavour": {
        "auto": "by the cfg: pjreddie's where only that one can run it",
        "alexeyab": "AlexeyAB/darknet, and what follows it",
        "pjreddie": "pjreddie/darknet",
    },
    "LoadOptions.batch_norm": {
        "auto": "decided by the file",
        "stored": "the stored statistics, as NVCaffe and Vitis AI take them",
        "batch": "those of the batch, as Caffe takes them",
    },
    "LoadOptions.phase": {
        "TEST": "the net as it is used",
        "TRAIN": "the net as it is trained",
    },
    "LoadOptions.lrn": {
        "exact": "channels that LRN sums over their neighbours stay",
        "inexact": "they may leave; others become neighbours then, and outputs change",
    },
}
"""Field, with its flag where it has several → value → what it does."""


OF_COMMANDS: Mapping[str, Mapping[str, Values]] = {
    "inspect": {"--target": _targets},
    "latency": {"--engines": _engines},
    "run": {"--device": _devices, "--until": _steps, "--from": _steps},
}
"""Command → flag that is no field of options → its values."""


def values_of(owner: str, field: str, flag: str) -> Values | None:
    """Return the values of an option; None where any may be given.

    Args:
        owner: name of the class that declares the field.
        field: the field.
        flag: the flag, where the field has several.
    """
    for key in (f"{owner}.{field} {flag}", f"{owner}.{field}"):
        if key in REGISTERED:
            return REGISTERED[key]
        if key in CHOICES:
            choices = CHOICES[key]
            return lambda: iter(choices.items())
    return None
