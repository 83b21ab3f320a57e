"""Estimators of Shapley values from the loss without some players.

A game says what the loss grows by without some players. The Shapley value of a player is the mean
of what its removal adds, over all orders in which players may be removed; the values add up to what
the loss grows by without all.

* Permutations (Castro et al., 2009): means over random orders, each with its reverse.
* Least squares (KernelSHAP, Lundberg and Lee, NeurIPS 2017; Covert and Lee, AISTATS 2021): the
  values are the best linear fit to the game, where a choice of s out of n players weighs
  (n − 1) / (C(n, s) · s · (n − s)). Choices are drawn by their weights, each with its complement.
  Most of the loss follows from how many players are missing, whichever they are. A curve over that
  number, which is 0 at both ends, gives all players the same value, 0; so it is fitted with the
  values, and takes that part of the noise away. Without it, orders are the better estimator.

Both say how sure they are: the deviations of their values follow from how orders, or pairs of
choices, differ. Games of few players are solved exactly from all choices.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import product
from math import comb

import numpy as np
import numpy.typing as npt
from scipy.stats import t as student

__all__ = ["Estimator", "Game", "Shapley", "exact", "least_squares", "permutations"]

Vector = npt.NDArray[np.float64]
Choices = npt.NDArray[np.bool_]

Game = Callable[[Choices], Vector]
"""Which players are missing [choices, players] → what the loss grows by [choices]."""

EXACT = 8
"""Players up to which all choices are measured."""

TOLERANCE = 0.2
"""An estimate is settled when the deviations of its values are below this share of how much the
values themselves differ: the order of players changes little from there on."""

MOST = 16
"""Passes for each player at most."""

LEAST = 4
"""Orders with their reverses at least, or pairs of choices for each player: fewer do not tell how
sure an estimate is."""

KNOTS = 10
"""Corners of the curve over the number of missing players. Measured: 4 to 16 are alike."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Shapley:
    """Shapley values of the players of a game.

    Args:
        values: of each player; negative where the loss is smaller without it [players].
        deviations: standard deviation of each value as an estimate; 0 where it is exact [players].
        passes: choices that were measured.
        freedom: degrees of freedom that the deviations are estimated with.
    """

    values: Vector
    deviations: Vector
    passes: int
    freedom: float = np.inf

    @property
    def half_widths(self) -> Vector:
        """Half the width of a 95 % confidence interval of each value, by Student's t [players]."""
        return np.asarray(student.ppf(0.975, self.freedom) * self.deviations)

    @property
    def settled(self) -> bool:
        """Whether the order of players would change little with more passes."""
        spread = float(self.values.var())
        return float(np.square(self.deviations).mean()) <= TOLERANCE**2 * spread


Estimator = Callable[[Game, int, np.random.Generator, int], Shapley]
"""Game, players, random numbers, passes for each player at most → their values."""


def exact(game: Game, players: int) -> Shapley:
    """Return the values of a small game, from all choices.

    Args:
        game: the game.
        players: how many there are.
    """
    choices = np.array(list(product((False, True), repeat=players)), dtype=np.bool_)
    losses = game(choices)
    code = choices @ (1 << np.arange(players))
    by_code = np.empty(len(choices))
    by_code[code] = losses
    sizes = choices.sum(axis=1)
    values = np.zeros(players)
    for player in range(players):
        without = ~choices[:, player]
        weights = 1.0 / np.array([players * comb(players - 1, size) for size in sizes[without]])
        gains = by_code[code[without] + (1 << player)] - by_code[code[without]]
        values[player] = float((weights * gains).sum())
    return Shapley(values=values, deviations=np.zeros(players), passes=len(choices))


def permutations(game: Game, players: int, random: np.random.Generator, most: int) -> Shapley:
    """Return the mean over orders and their reverses, until it is settled.

    Args:
        game: the game.
        players: how many there are, over 1.
        random: draws the orders.
        most: passes for each player at most.
    """
    whole = float(game(np.ones((1, players), dtype=np.bool_))[0])
    found: list[Vector] = []
    pairs = max(LEAST, most // 2)
    while True:
        first = random.permutation(players)
        orders = np.stack([first, first[::-1]])
        absent = np.zeros((2, players - 1, players), dtype=np.bool_)
        for row, order in enumerate(orders):
            for count in range(1, players):
                absent[row, count - 1, order[:count]] = True
        losses = game(absent.reshape(-1, players)).reshape(2, players - 1)
        steps = np.diff(np.pad(losses, ((0, 0), (1, 0))), axis=1, append=np.full((2, 1), whole))
        own = np.empty((2, players))
        np.put_along_axis(own, orders, steps, axis=1)
        found.append(own.mean(axis=0))
        if len(found) < LEAST:
            continue
        estimate = Shapley(
            values=np.mean(found, axis=0),
            deviations=np.std(found, axis=0, ddof=1) / np.sqrt(len(found)),
            passes=1 + 2 * (players - 1) * len(found),
            freedom=len(found) - 1,
        )
        if estimate.settled or len(found) >= pairs:
            return estimate


def least_squares(game: Game, players: int, random: np.random.Generator, most: int) -> Shapley:
    """Return the best linear fit to choices and their complements, until it is settled.

    Args:
        game: the game.
        players: how many there are, over 1.
        random: draws the choices.
        most: passes for each player at most.
    """
    whole = float(game(np.ones((1, players), dtype=np.bool_))[0])
    choices = np.zeros((0, players), dtype=np.bool_)
    losses = np.zeros((0, 2))
    while True:
        fresh = _drawn(players, 2 * players, random)
        both = game(np.concatenate([fresh, ~fresh]))
        choices = np.concatenate([choices, fresh])
        losses = np.concatenate([losses, both.reshape(2, -1).T])
        estimate = _fitted(choices, losses, whole)
        enough = estimate.settled and len(choices) >= LEAST * players
        if enough or estimate.passes + 4 * players > most * players + 1:
            return estimate


def _drawn(players: int, count: int, random: np.random.Generator) -> Choices:
    """Return choices of 1 to players − 1 players, drawn by their weights.

    Sizes are spread evenly over their distribution, so that their shares are nearly exact.
    """
    sizes = np.arange(1, players)
    shares = np.cumsum(1.0 / (sizes * (players - sizes)))
    places = (np.arange(count) + random.random()) / count
    size = sizes[np.searchsorted(shares / shares[-1], places, side="right").clip(max=players - 2)]
    ranks = np.argsort(np.argsort(random.random((count, players)), axis=1), axis=1)
    found: Choices = ranks < size[:, None]
    return found


def _fitted(choices: Choices, losses: npt.NDArray[np.float64], whole: float) -> Shapley:
    """Return the values that fit pairs of choices best, and add up to the whole.

    Args:
        choices: the first choice of each pair [pairs, players].
        losses: of both [pairs, 2].
        whole: loss without all players.
    """
    count, players = choices.shape
    columns = [_columns(each) for each in (choices, ~choices)]
    # What each player would get of an even share is taken off: the rest adds up to 0.
    rests = losses - whole / players * np.stack(
        [each.sum(axis=1) for each in (choices, ~choices)], axis=1
    )
    products = columns[0].T @ columns[0] + columns[1].T @ columns[1]
    inverse = np.linalg.pinv(products, rcond=1e-10, hermitian=True)
    solution = inverse @ (columns[0].T @ rests[:, 0] + columns[1].T @ rests[:, 1])
    rests = rests - np.stack([each @ solution for each in columns], axis=1)
    # What is left at a point was made smaller by the point itself (HC3, MacKinnon and White, 1985).
    own = np.stack([((each @ inverse) * each).sum(axis=1) for each in columns], axis=1)
    rests = rests / np.maximum(1.0 - own, 1e-6)
    influences = (columns[0] * rests[:, :1] + columns[1] * rests[:, 1:]) @ inverse[:, :players]
    influences -= influences.mean(axis=1, keepdims=True)
    values = solution[:players] - solution[:players].mean() + whole / players
    deviations = np.sqrt(np.square(influences).sum(axis=0))
    told_apart = (inverse @ products)[:players, :players] + 1.0 / players
    if not np.allclose(told_apart, np.eye(players), atol=1e-6):
        deviations = np.full(players, np.inf)  # some players were in the same choices throughout
    freedom = max(1.0, count - len(solution) / 2)
    return Shapley(values=values, deviations=deviations, passes=1 + 2 * count, freedom=freedom)


def _columns(choices: Choices) -> npt.NDArray[np.float64]:
    """Return what is fitted: a column a player, each row adding up to 0, and those of the curve."""
    players = choices.shape[1]
    sizes = choices.sum(axis=1)
    return np.concatenate([choices - sizes[:, None] / players, _curve(sizes, players)], axis=1)


def _curve(sizes: npt.NDArray[np.int64], players: int) -> npt.NDArray[np.float64]:
    """Return piecewise linear functions of the number of missing players, 0 at both ends.

    Their corners are closer together at both ends, where most choices are.
    """
    ends = np.log(players - 1)
    knots = np.unique(np.round(players / (1 + np.exp(np.linspace(ends, -ends, KNOTS)))))
    places = np.concatenate([[0], knots, [players]])
    ones = np.eye(len(places))[1:-1]
    return np.stack([np.interp(sizes, places, one) for one in ones], axis=1)
