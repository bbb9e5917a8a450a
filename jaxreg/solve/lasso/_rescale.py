"""Data and penalties in units in which no square overflows or underflows.

Least squares squares everything, and the square of 1e-170 is no float64. So columns and
targets beyond 2^±200 are multiplied by powers of two, which rounds nothing. With

    x_j = x_j'·2^a_j,    y = y'·2^b,    w_j = w_j'·2^(b − a_j),    strength = strength'·2^c

the objective, divided by 2^(2b), is that of the new data with the penalty factors

    l1_j' = l1_j·2^(c − b − a_j),    l2_j' = l2_j·2^(c − 2a_j)

for any c: it is chosen to centre the factors l1' around 1. Data within the bounds stay as
they are. Where features are standardized next, their factors are independent of a_j.
"""

import math
from typing import Any, NamedTuple

import numpy as np

from jaxreg.solve.sparse import column_squares, largest_of, times_powers_of_two

SAFE = 200
"""Numbers between 2^-SAFE and 2^SAFE stay as they are."""
FACTOR, STRENGTH = 300, 700
"""Exponents within which factors and strengths are kept. Beyond them nothing changes in
double precision: a coefficient is zero, or its penalty vanishes beside the data."""
SPACING = -1074
"""Numbers of float64 are at least 2^SPACING apart."""


class Units(NamedTuple):
    """Exponents of two, by which data are divided.

    Attributes:
        columns: a_j, an array (features,); `None` if all are zero.
        target: b.
        level: c.
        standardized: Whether features are standardized next.
    """

    columns: np.ndarray | None
    target: int
    level: int
    standardized: bool

    def scaled(
        self, x: Any, y: np.ndarray, l1: np.ndarray, l2: np.ndarray
    ) -> tuple[Any, np.ndarray, np.ndarray, np.ndarray]:
        """x', y', l1' and l2'."""
        if self.columns is not None:
            x = times_powers_of_two(x, -self.columns)
        y = np.ldexp(y, -self.target)
        if self.columns is None and not (self.target or self.level):
            return x, y, l1, l2
        columns = 0 if self.columns is None or self.standardized else self.columns
        # Ridge regression divides features by roots of l2, and takes any.
        limit = FACTOR if np.any(l1 > 0) else 1000
        l1 = _scaled(l1, self.level - self.target - columns, FACTOR)
        return x, y, l1, _scaled(l2, self.level - 2 * columns, limit)

    def strengths(self, strengths: np.ndarray) -> np.ndarray:
        """The solver's strengths, strength' above, for those in the user's units."""
        return _scaled(strengths, -self.level, STRENGTH) if self.level else strengths

    def restored(self, w: np.ndarray, b: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Coefficients (strengths, features) and intercepts in the user's units.

        Raises:
            ValueError: If float64 cannot hold them.
        """
        if self.columns is not None or self.target:
            columns = 0 if self.columns is None else self.columns
            w = _held("Coefficients", w, self.target - columns)
        return w, _held("Intercepts", b, self.target) if self.target else b

    def given_strengths(self, strengths: np.ndarray) -> np.ndarray:
        """Strengths in the user's units for those of the solver.

        Raises:
            ValueError: If float64 cannot hold them.
        """
        return _held("Strengths", strengths, self.level) if self.level else strengths


def units_of(x: Any, y: np.ndarray, l1: np.ndarray, *, standardized: bool) -> Units:
    """The units for data and the factors of the strength.

    Args:
        x: Features, an array (samples, features), dense or sparse.
        y: The target.
        l1: The factors of Σ |w|.
        standardized: Whether features are standardized next.
    """
    columns = _column_exponents(x)
    exponent = math.frexp(np.max(np.abs(y)))[1]
    target = exponent - min(max(exponent, -SAFE), SAFE)
    penalised = l1 > 0
    level = 0
    if not penalised.any():
        # The roots of l2' must be floats, too.
        columns = np.clip(columns, -500, 500)
    else:
        # The exponents of l1' for c = 0.
        exponents = np.frexp(l1)[1] - target - (0 if standardized else columns)
        exponents = exponents[penalised]
        if np.max(np.abs(exponents)) > SAFE:
            level = -int(np.min(exponents) + np.max(exponents)) // 2
    return Units(columns if columns.any() else None, target, level, standardized)


def _column_exponents(x: Any) -> np.ndarray:
    """By which power of two each column must be divided.

    Raises:
        ValueError: If x has NaN or infinities.
    """
    # One pass over ordinary data.
    with np.errstate(all="ignore"):
        squares = column_squares(x)
    odd = np.flatnonzero(
        ~((squares >= 2.0 ** (-2 * SAFE)) & (squares <= 2.0 ** (2 * SAFE)))
    )
    exponents = np.zeros(x.shape[1], int)
    if odd.size:
        largest = largest_of(x, odd)
        if not np.all(np.isfinite(largest)):
            raise ValueError("x must be finite, but has NaN or infinite entries.")
        exponents[odd] = _beyond(largest)
    return exponents


def _beyond(largest: np.ndarray) -> np.ndarray:
    """How far exponents are beyond the bounds; 0 for 0."""
    exponents = np.frexp(largest)[1]
    return exponents - np.clip(exponents, -SAFE, SAFE)


def _scaled(values: np.ndarray, exponents: int | np.ndarray, limit: int) -> np.ndarray:
    """Non-negative values times powers of two; those that are positive within bounds."""
    with np.errstate(over="ignore", under="ignore"):
        scaled = np.clip(np.ldexp(values, exponents), 2.0**-limit, 2.0**limit)
    return np.where(values > 0, scaled, 0.0)


def _held(what: str, values: np.ndarray, exponents: int | np.ndarray) -> np.ndarray:
    """Values times powers of two, none of which may overflow or lose many digits."""
    with np.errstate(over="ignore", under="ignore"):
        found = np.ldexp(values, exponents)
        errors = np.ldexp(1.0, SPACING - np.asarray(exponents))
    coarse = (values != 0) & (errors > 1e-12 * np.max(np.abs(values), initial=0.0))
    if np.any(coarse) or not np.all(np.isfinite(found)):
        raise ValueError(
            f"{what} for x and y of such scales must be between 1e-308 and 1e308 in size, "
            "which float64 can hold, but are not. Divide x and y by their standard "
            "deviations."
        )
    return found
