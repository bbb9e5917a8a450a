"""Candidate features in slots of a fixed number, so that few programs are compiled."""

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from jaxreg.solve.gaps import Factors
from jaxreg.solve.lasso._homotopy import Quadratic
from jaxreg.solve.lasso._pivots import Basis
from jaxreg.solve.lasso._sources import Moments, Samples

CHUNK = 64
"""So many features are put into slots at a time."""


class Held(NamedTuple):
    """What is kept of the features in slots; an empty slot is all zeros, with `l1` one.

    Attributes:
        rows: What the source needs for products with them.
        problem: The problem of these features alone.
        basis: A basis of it.
    """

    rows: Array
    problem: Quadratic
    basis: Basis


class Slots:
    """Which feature is in which slot, and what is held of it on the device."""

    def __init__(self, source: Samples | Moments, factors: Factors) -> None:
        self.source, self.factors = source, factors
        size = source.sizes[0]
        self.ids = np.full(size, -1)
        self.slot_of = np.full(len(factors.l1), -1)
        zeros = functools.partial(jnp.zeros, dtype=float)
        # Each its own buffer, for they are donated.
        problem = Quadratic(
            zeros((size, size)),
            zeros(size),
            zeros(size) + 1,
            zeros(size),
            jnp.array(factors.positive),
        )
        basis = Basis(zeros((size, size)), jnp.zeros(size, bool), zeros(size))
        self.held = Held(zeros((size, source.width)), problem, basis)

    @property
    def size(self) -> int:
        """How many slots there are."""
        return len(self.ids)

    def places(self) -> np.ndarray:
        """The feature of each slot; beyond the last one where it is empty."""
        return np.where(self.ids < 0, len(self.slot_of), self.ids)

    def spread(self, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The features in slots, and their values of an array (..., slots)."""
        full = self.ids >= 0
        return self.ids[full], values[..., : self.size][..., full]

    def hold(self, wanted: np.ndarray, keep: np.ndarray) -> None:
        """Put features into slots; of the others, those in the slots `keep` stay."""
        new = wanted[self.slot_of[wanted] < 0]
        if not new.size:
            return
        free = np.flatnonzero(self.ids < 0)
        if len(free) < len(new):
            stay = keep.copy()
            held = self.slot_of[wanted]
            stay[held[held >= 0]] = True
            free = np.concatenate([free, np.flatnonzero((self.ids >= 0) & ~stay)])
        if len(free) < len(new):
            before = self.size
            self._grow(before - len(free) + len(new))
            free = np.concatenate([free, np.arange(before, self.size)])
        places = free[: len(new)]
        old = self.ids[places]
        self.slot_of[old[old >= 0]] = -1
        self.ids[places], self.slot_of[new] = new, places
        for start in range(0, len(new), CHUNK):
            part = slice(start, start + CHUNK)
            padding = (0, CHUNK - len(new[part]))
            slots = np.pad(places[part], padding, constant_values=self.size)
            ids = np.pad(new[part], padding)
            self.held = _insert(self.source, self.factors, self.held, slots, ids)

    def _grow(self, needed: int) -> None:
        """To the next size, or to a multiple of the last."""
        sizes = self.source.sizes
        beyond = -(-needed // sizes[-1]) * sizes[-1]
        more = next((s for s in sizes if s >= needed), beyond) - self.size
        self.ids = np.pad(self.ids, (0, more), constant_values=-1)
        self.held = _padded(self.held, more)


@functools.partial(jax.jit, static_argnums=1)
def _padded(held: Held, more: int) -> Held:
    def pad(x: Array, axes: int) -> Array:
        return jnp.pad(x, [(0, more)] * axes + [(0, 0)] * (x.ndim - axes))

    rows, problem, basis = held
    return Held(
        pad(rows, 1),
        Quadratic(
            pad(problem.gram, 2),
            pad(problem.correlations, 1),
            jnp.pad(problem.l1, (0, more), constant_values=1),
            pad(problem.l2, 1),
            problem.positive,
        ),
        Basis(pad(basis.table, 2), pad(basis.active, 1), pad(basis.signs, 1)),
    )


@functools.partial(jax.jit, donate_argnums=2)
def _insert(
    source: Samples | Moments, factors: Factors, held: Held, slots: Any, ids: Any
) -> Held:
    """Put features into slots that are not active; slots out of range are left out.

    With A the active features and H the inverse of their block of the Gram matrix, the new
    columns of the table are −H·gram[A, new] there, and gram[·, new] − gram[·, A]·H·gram[A,
    new] at the others.
    """
    rows, problem, (table, active, signs) = held
    rows = rows.at[slots].set(source.rows(ids), mode="drop")
    gram = source.inner(rows, ids)
    inner = jnp.where(active[:, None], gram, 0.0)
    columns = gram - inner - table @ inner
    among = gram.at[slots].get(mode="fill", fill_value=0) + inner.T @ columns
    columns = columns.at[slots].set(among, mode="drop")
    mirrored = jnp.where(active[:, None], -columns, columns).T

    def put(x: Array, columns: Array, mirrored: Array) -> Array:
        x = x.at[:, slots].set(columns, mode="drop")
        return x.at[slots].set(mirrored, mode="drop")

    def put_each(x: Array, values: Any) -> Array:
        return x.at[slots].set(values, mode="drop")

    problem = Quadratic(
        put(problem.gram, gram, gram.T),
        put_each(problem.correlations, source.with_target(ids)),
        put_each(problem.l1, factors.l1[ids]),
        problem.l2 if factors.l2 is None else put_each(problem.l2, factors.l2[ids]),
        problem.positive,
    )
    return Held(rows, problem, Basis(put(table, columns, mirrored), active, signs))
