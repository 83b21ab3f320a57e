"""`pruner finetune` and `pruner transform`: training with zeros held, and taking them out."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from .. import words as numbers
from .darknet import Words
from .darknet_session import Session, begin

if TYPE_CHECKING:
    from secateur import FinetuneEntry, Network, Plan, Tuned

MODEL, WEIGHTS = "model-transform.cfg", "weights.transform"
"""What `transform` writes to the workspace. Source: UG1333, "Evaluating a Model"."""

FOLDER = "finetune"
"""Folder in the workspace for checkpoints and the history of a training."""

FINAL, FORMER = "_final.weights", ".old"
"""End the names of trained weights, as Darknet has it, and of those that they replace."""

SEEN = 64
"""Images of train= that the networks before and after `transform` are compared on."""


def run_finetune(words: Words) -> int:
    """Train the pruned network by the keys of its cfg; removed channels stay zero.

    Raises:
        SecateurError: nothing was pruned, a file is broken, or the data does not fit.
    """
    import secateur

    session = begin(words)
    project, terminal = session.project, session.terminal
    section = project.section
    cfg, weights = _pruned(session)
    loading = secateur.LoadOptions(reset_seen=words.given("clear"))
    network = session.load(cfg, weights, reset_seen=words.given("clear"))
    plan = _plan(session, network)
    project.check_written("workspace", "backup")
    session.say(f"Workspace exists: {section.workspace}")
    session.say(f"Finetune model  : {cfg}")
    session.say(f"Finetune weights: {weights}")
    measured = "valid" in project.data.values
    if measured:
        session.valid(network)  # what does not fit is told before the work
    start = secateur.begin(cfg, weights, options=loading)
    data = secateur.fit_data(network, project.train(network), asked=True).dataset
    restart = words.given("restart") or words.given("clear")
    with terminal.bars() as progress:
        tuned = secateur.finetune_files(
            (cfg, weights), data, section.workspace / FOLDER,
            secateur.FinetuneOptions(own_solver=True),
            lessons=secateur.Lessons(plan=plan), start=start,
            resume=not restart, restart=restart, tell=_teller(session), progress=progress,
        )  # fmt: skip
    final = _written(session, tuned, cfg)
    if measured:
        session.measured(tuned.result.network)
    own = [
        "transform", cfg, final, "--plan", project.plan, *session.train_words(network),
        "--limit", SEEN, "-o", section.workspace / "dense",
    ]  # fmt: skip
    session.next(["transform", session.main, final], own if project.plan.exists() else ())
    return 0


def run_transform(words: Words) -> int:
    """Take removed channels out: a small cfg with small weights.

    Raises:
        SecateurError: nothing was pruned, removed channels carry weight again, or a file is broken.
        VerificationError: the small network does not compute the same.
    """
    import secateur

    session = begin(words)
    project, terminal = session.project, session.terminal
    workspace = project.section.workspace
    weights = project.weights(words.files[1])
    network = session.load(project.full_size, weights)
    plan = _plan(session, network)
    project.check_written("workspace")
    reading = secateur.DataOptions(limit=SEEN)
    data = secateur.fit_data(network, project.train(network, reading)).dataset
    names = {".cfg": workspace / MODEL, ".weights": workspace / WEIGHTS}
    with terminal.bars() as progress:
        dense = secateur.densify(network, plan, data=data, progress=progress)
        saved = secateur.save_named(dense, names, data=data, progress=progress)
    for note in dense.notes:
        terminal.warn(note)
    session.say(f"Saving cfg to {names['.cfg']}")
    session.say(f"Saving weights to {names['.weights']}")
    _tell_costs(session, network, dense.network)
    terminal.note(
        f"masked = dense: {dense.verification.difference:.1e}, written = dense: "
        f"{saved.difference:.1e} (largest relative difference)"
    )
    session.next(["stat", names[".cfg"]], ["stat", names[".cfg"]])
    terminal.note(
        f"to measure it: modelcfg={names['.cfg']} in {session.main}, then secateur pruner map "
        f"{session.main} {names['.weights']}"
    )
    return 0


def _pruned(session: Session) -> tuple[Path, Path]:
    """Return cfg and weights of the pruned network.

    Raises:
        FormatError: one of them is not there.
    """
    import secateur

    section = session.project.section
    hint = f"secateur pruner prune {session.main} WEIGHTS makes it"
    if not section.prunedcfg.exists():
        raise secateur.FormatError(
            f"there is no pruned network '{section.prunedcfg}'",
            hint=hint, where=section.where("prunedcfg"),
        )  # fmt: skip
    if len(session.words.files) > 1:
        return section.prunedcfg, session.project.weights(session.words.files[1])
    if not section.prune_out_weights.exists():
        raise secateur.FormatError(
            f"there are no pruned weights '{section.prune_out_weights}'",
            hint=hint, where=section.where("prune_out_weights"),
        )  # fmt: skip
    return section.prunedcfg, section.prune_out_weights


def _plan(session: Session, network: Network) -> Plan:
    """Return what was removed, and say where zeros alone tell it.

    Raises:
        PlanError: nobody knows.
    """
    plan, written = session.project.plan_of(network)
    if not written:
        session.terminal.note(
            f"note: there is no {session.project.plan}: channels are gone whose weights are zero"
        )
    return plan


def _teller(session: Session) -> Callable[[FinetuneEntry, Network], None]:
    """Return what prints each measurement of a training."""

    def tell(entry: FinetuneEntry, network: Network) -> None:  # noqa: ARG001
        loss = f"{entry.loss:.6f}" if entry.loss is not None else "-"
        session.say(
            f"{entry.step}: {loss} loss, {entry.held_out:.6f} held out, {entry.rate:.6f} rate, "
            f"{entry.seconds:.1f} seconds"
        )

    return tell


def _written(session: Session, tuned: Tuned, cfg: Path) -> Path:
    """Say what training came to; return its weights, which are where Darknet has them."""
    for note in tuned.result.notes:
        session.terminal.note(note)
    if tuned.result.best.step == 0:
        session.terminal.warn("training made nothing better: the weights are written as they were")
    final = session.project.backup / f"{cfg.stem}{FINAL}"
    _placed(session, tuned.saved.paths, final)
    session.say(f"Saving weights to {final}")
    return final


def _placed(session: Session, written: tuple[Path, ...], final: Path) -> None:
    """Move trained weights to where Darknet has them; those of an earlier training stay beside.

    Raises:
        FormatError: they cannot be moved.
    """
    import secateur

    cfg, weights = written
    try:
        if final.exists():
            former = final.with_name(final.name + FORMER)
            final.replace(former)
            session.terminal.note(f"note: the weights of an earlier training are {former} now")
        shutil.move(weights, final)
        cfg.unlink()  # a copy of that for fine-tuning
    except OSError as error:
        raise secateur.FormatError(
            f"cannot be written: {error.strerror or error}", hint=f"the weights are {weights}",
            where=secateur.Where(file=str(final)),
        ) from error  # fmt: skip


def _tell_costs(session: Session, full: Network, small: Network) -> None:
    """Print operations and parameters before and after."""
    import secateur

    costs = [secateur.describe(network).cost for network in (full, small)]
    for name in ("operations", "parameters"):
        before, after = (getattr(cost, name) for cost in costs)
        session.say(f"{name}: {before} -> {after} ({numbers.percent(after / before - 1)})")
