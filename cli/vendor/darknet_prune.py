"""`pruner ana` and `pruner prune`: what layers are worth, and pruning by that."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ..ana import table_of
from .darknet import Words
from .darknet_session import CALIBRATION, Session, begin

if TYPE_CHECKING:
    from secateur import Analysis, Network, Plan, PruneResult

STATE = ".state.jsonl"
"""Ends the name of the file with the finished measurements of an analysis."""


def run_ana(words: Words) -> int:
    """Measure what the network loses when one group loses channels, and keep it for `prune`.

    Raises:
        SecateurError: a file is broken, or the data does not fit.
    """
    import secateur

    session = begin(words)
    project, terminal = session.project, session.terminal
    section = project.section
    weights = project.weights(words.files[1])
    network = session.load(section.modelcfg, weights)
    excluded = session.excluded(network)
    project.check_written("workspace", "ana_out_file")
    _check_kept(section.ana_out_file)
    dataset = session.valid(network)
    state = section.ana_out_file.with_name(section.ana_out_file.name + STATE)
    options = secateur.AnalyzeOptions(task=secateur.find_task(network, dataset), exclude=excluded)
    terminal.note("Analysis may take a long time; it goes on where it was after an interruption.")
    with terminal.bars() as progress:
        analysis = secateur.analyze(
            network, dataset, options,
            state=state, restart=words.given("restart"), progress=progress,
        )  # fmt: skip
    secateur.save_analysis(analysis, section.ana_out_file)
    state.unlink(missing_ok=True)
    task = secateur.find_task(network, dataset)
    if analysis.original_value is not None:
        session.say(f"{analysis.metric}: {analysis.original_value:.6f}")
    terminal.out.print(table_of(analysis, task))
    session.say(f"Saving analysis to {section.ana_out_file}")
    if project.make_pruned_cfg():
        session.say(f"Saving cfg to {section.prunedcfg}")
    old = ["prune", words.files[0], words.files[1]]
    session.next(old, _own_prune(session, network, weights, excluded))
    return 0


def run_prune(words: Words) -> int:
    """Prune as far as the threshold allows, to a network of full size with zeros.

    Raises:
        SecateurError: a file is broken, there is no analysis, or the data does not fit.
    """
    import secateur

    session = begin(words)
    project, terminal = session.project, session.terminal
    section = project.section
    threshold = _threshold(session)
    weights = project.weights(words.files[1])
    project.check_apart(weights)
    network = session.load(section.modelcfg, weights, reset_seen=True)
    excluded = session.excluded(network)
    analysis = _analysis(session)
    project.check_written("workspace", "prune_out_weights")
    _check_pruned_cfg(session, weights)
    dataset = session.calibration(network)
    session.valid(network)  # what does not fit is told before the work
    session.say("Start pruning ...")
    options = secateur.PruneOptions(
        threshold=threshold, analysis=analysis, criterion="obs", exclude=excluded,
        limits=secateur.Limits(round_to=section.kernel_batch), sparse=True,
    )  # fmt: skip
    with terminal.bars() as progress:
        pruned = secateur.prune(network, options, data=dataset, progress=progress)
        secateur.save_named(
            pruned, {".weights": section.prune_out_weights},
            plan=project.plan, data=dataset, progress=progress,
        )  # fmt: skip
    _tell(session, pruned, excluded)
    value = session.measured(pruned.network)
    _note_analysis(session, analysis, pruned, value)
    own = [
        "finetune", section.prunedcfg, section.prune_out_weights, "--plan", project.plan,
        "--own-solver", *session.train_words(network), "-o", section.workspace / "finetune",
    ]  # fmt: skip
    session.next(["finetune", session.main], own)
    return 0


def _threshold(session: Session) -> float:
    """Return the loss that each group may cost.

    Raises:
        FormatError: the main cfg does not say it.
    """
    import secateur

    section = session.project.section
    if section.threshold is None:
        raise secateur.FormatError(
            "required, but missing",
            hint="it is the loss that each layer may cost: threshold=0.005",
            where=section.where("threshold"),
        )
    return section.threshold


def _tell(session: Session, pruned: PruneResult, excluded: Sequence[str]) -> None:
    """Print what was removed and written; the cfg for fine-tuning is made if it is not there."""
    project, terminal = session.project, session.terminal
    section = project.section
    for line in slots(pruned.plan, excluded, section.kernel_batch):
        session.say(line)
    for note in pruned.notes:
        terminal.warn(note)
    session.say(f"Saving weights to {section.prune_out_weights}")
    terminal.note(f"wrote {project.plan}")
    if project.make_pruned_cfg():
        session.say(f"Saving cfg to {section.prunedcfg}")
    gone = float(pruned.plan.provenance["rate"]["achieved"])
    terminal.note(f"{gone:.1%} of the operations are gone")


def slots(plan: Plan, excluded: Sequence[str], multiple: int) -> list[str]:
    """Return what a plan removes, in the vendor's lines.

    The layers of a slot lose the same channels. The first is called main, the others slaves.

    Args:
        plan: the plan.
        excluded: layers of which nothing is said.
        multiple: what kept channels are a multiple of.
    """
    found: list[str] = []
    open_groups = [one for one in plan.groups if not set(excluded).intersection(one.layers)]
    for group in sorted(open_groups, key=lambda one: sorted(map(int, one.layers))):
        main, *slaves = sorted(group.layers, key=int)
        rate = len(group.removed) / group.channels
        found += [
            f"pruning slot: {''.join(f'{layer},' for layer in (main, *slaves))}",
            f"prune main layer {main}",
            f"  kernel_batch:{multiple}, rate:{rate:.4f}, keep_num:{group.kept}",
            *(f"  prune slave layer {slave}" for slave in slaves),
        ]
    return found


def _own_prune(
    session: Session, network: Network, weights: Path, excluded: Sequence[str]
) -> list[object]:
    """Return what `prune` does, in secateur's own words."""
    section = session.project.section
    threshold = section.threshold if section.threshold is not None else "LOSS"
    return [
        "prune", section.modelcfg, weights, "--threshold", threshold,
        "--analysis", section.ana_out_file, "--criterion", "obs",
        "--round-to", section.kernel_batch,
        *(word for name in excluded for word in ("--exclude", name)),
        *session.train_words(network), "--limit", CALIBRATION, "--reset-seen",
        "--mode", "sparse", "-o", section.workspace / "sparse",
    ]  # fmt: skip


def _analysis(session: Session) -> Analysis:
    """Return what `ana` found out.

    Raises:
        DataError: it was not run, or its file is another program's.
    """
    import secateur

    section = session.project.section
    hint = f"secateur pruner ana {session.main} {session.words.files[1]} makes it"
    if not section.ana_out_file.exists():
        raise secateur.DataError(
            f"there is no analysis '{section.ana_out_file}'",
            hint=hint, where=section.where("ana_out_file"),
        )  # fmt: skip
    try:
        return secateur.load_analysis(section.ana_out_file)
    except secateur.DataError as error:
        error.hint = f"is it from another program? {hint}"
        raise


def _check_kept(path: Path) -> None:
    """Raise where an analysis of another program would be overwritten.

    Raises:
        DataError: the file is none of ours.
    """
    import secateur

    if not path.exists():
        return
    try:
        secateur.load_analysis(path)
    except secateur.DataError as error:
        raise secateur.DataError(
            "this is no analysis of secateur, and would be overwritten",
            hint="rename it, or give another ana_out_file=",
            where=secateur.Where(file=str(path)),
        ) from error


def _check_pruned_cfg(session: Session, weights: Path) -> None:
    """Raise if the cfg for fine-tuning is there already, and does not fit the weights.

    Raises:
        SecateurError: says what does not fit.
    """
    import secateur

    pruned = session.project.section.prunedcfg
    if pruned.exists():
        try:
            secateur.load(pruned, weights)
        except secateur.SecateurError as error:
            error.hint = "is it of another network? without the file, it is made anew"
            raise


def _note_analysis(session: Session, analysis: Analysis, pruned: PruneResult, value: float) -> None:
    """Say what all groups cost together, or that the analysis is of other weights.

    Those are the weights before an earlier round, usually.
    """
    section = session.project.section
    own = str(pruned.plan.provenance.get("digest", "")).removeprefix("sha256:")
    if own != analysis.model_digest:
        session.terminal.note(
            f"note: {section.ana_out_file} was measured with other weights; "
            f"secateur pruner ana {session.main} {session.words.files[1]} measures anew"
        )
    elif analysis.original_value is not None:
        session.terminal.note(
            f"note: {analysis.metric} was {analysis.original_value:.6f}, it is {value:.6f} now: "
            f"threshold={section.threshold:g} limits what each group costs alone, not all together"
        )
