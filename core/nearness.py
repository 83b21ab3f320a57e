"""Which known names are near enough to a wrong one that the user probably meant them.

A hint that guesses wildly is worse than none. A name is near if it is the same but for case and
signs between its words, or if few slips of the hand lead to it: a letter too many, too few or
wrong, or two neighbours swapped (the distance of Damerau and Levenshtein, restricted to one slip
in a place).
"""

from __future__ import annotations

from collections.abc import Iterable

__all__ = ["LETTERS_PER_SLIP", "MOST_SLIPS", "near_names"]

LETTERS_PER_SLIP = 4
"""One slip is allowed for so many letters of the longer name: none in names of three letters."""

MOST_SLIPS = 3
"""More slips than these are another name, however long it is."""

LONGEST = 100
"""Names of more characters are near to nothing: they come from broken files."""

MOST_SHOWN = 3
"""So many equally near names are of use."""


def near_names(name: str, known: Iterable[str]) -> tuple[str, ...]:
    """Return the known names that are nearest to a wrong one; () if none is near.

    Args:
        name: what the user wrote.
        known: the valid names.

    Returns:
        all names at the smallest distance, sorted; () for more than :data:`MOST_SHOWN` of them,
        which say nothing.
    """
    if len(name) > LONGEST:
        return ()
    plain = _plain(name)
    nearest: list[str] = []
    smallest = MOST_SLIPS
    for other in sorted(set(known)):
        own = _plain(other)
        allowed = min(smallest, max(len(plain), len(own)) // LETTERS_PER_SLIP)
        found = 0 if plain == own else _slips(plain, own, allowed)
        if found > allowed:
            continue
        if found < smallest:
            nearest, smallest = [], found
        nearest.append(other)
    return tuple(nearest) if len(nearest) <= MOST_SHOWN else ()


def _plain(name: str) -> str:
    """Return a name without case, and without signs between words."""
    letters = "".join(letter for letter in name.casefold() if letter not in "-_ .")
    return letters or name


def _slips(a: str, b: str, most: int) -> int:
    """Return how many slips lead from one text to the other; `most` + 1 for more than `most`."""
    if abs(len(a) - len(b)) > most:
        return most + 1
    before: list[int] = []
    row = list(range(len(b) + 1))
    for i, letter in enumerate(a, 1):
        last, row = row, [i]
        for j, other in enumerate(b, 1):
            cost = min(last[j] + 1, row[j - 1] + 1, last[j - 1] + (letter != other))
            if i > 1 and j > 1 and letter == b[j - 2] and a[i - 2] == other:
                cost = min(cost, before[j - 2] + 1)
            row.append(cost)
        before = last
        if min(row) > most:
            return most + 1
    return row[-1]
