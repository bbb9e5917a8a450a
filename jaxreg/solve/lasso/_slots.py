"""Candidate features in a fixed number of slots, so that few programs are compiled."""

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from jaxreg.solve.gaps import Factors
from jaxreg.solve.lasso._homotopy import Quadratic
from jaxreg.solve.lasso._sources import Moments, Samples, SparseSamples
from jaxreg.solve.lasso._swept import ActiveSet

CHUNK = 64
"""How many features are put into slots at a time."""


class Held(NamedTuple):
    """The data of the features in slots. An empty slot is all zeros, with `l1` one.

    Attributes:
        problem: The problem of these features alone.
        current: An active set of it.
    """

    problem: Quadratic
    current: ActiveSet


class Slots:
    """Which feature is in which slot, and the data of the slots on the device.

    Attributes:
        ids: The feature in each slot, (slots,); −1 for none.
        slot_of: The slot of each feature, (features,); −1 for none.
        held: The data.
    """

    def __init__(self, source: Samples | SparseSamples | Moments, factors: Factors) -> None:
        self.source, self.factors = source, factors
        self.correlations = source.correlations
        size = source.capacities[0]
        self.ids = np.full(size, -1)
        self.slot_of = np.full(len(factors.l1), -1)
        zeros = functools.partial(jnp.zeros, dtype=float)
        # Each array has a buffer of its own, because they are donated.
        problem = Quadratic(
            zeros((size, size)),
            zeros(size),
            zeros(size) + 1,
            zeros(size),
            jnp.array(factors.positive),
        )
        current = ActiveSet(zeros((size, size)), jnp.zeros(size, bool), zeros(size))
        self.held = Held(problem, current)

    @property
    def size(self) -> int:
        """How many slots there are."""
        return len(self.ids)

    def put(self, wanted: np.ndarray, keep: np.ndarray) -> None:
        """Put features into slots; of the others, those in the slots `keep` stay."""
        new = wanted[self.slot_of[wanted] < 0]
        if not new.size:
            return
        vacant = np.flatnonzero(self.ids < 0)
        if len(vacant) < len(new):
            stay = keep.copy()
            slots = self.slot_of[wanted]
            stay[slots[slots >= 0]] = True
            vacant = np.concatenate([vacant, np.flatnonzero((self.ids >= 0) & ~stay)])
        if len(vacant) < len(new):
            before = self.size
            self._grow(before - len(vacant) + len(new))
            vacant = np.concatenate([vacant, np.arange(before, self.size)])
        slots = vacant[: len(new)]
        old = self.ids[slots]
        self.slot_of[old[old >= 0]] = -1
        self.ids[slots], self.slot_of[new] = new, slots
        for start in range(0, len(new), CHUNK):
            part = slice(start, start + CHUNK)
            padding = (0, CHUNK - len(new[part]))
            # Slots beyond the last are ignored.
            into = np.pad(slots[part], padding, constant_values=self.size)
            ids = np.pad(new[part], padding)
            self._insert(into, ids)

    def _insert(self, slots: np.ndarray, ids: np.ndarray) -> None:
        """Put features into slots."""
        # Rows of slots whose features come with a later chunk are overwritten then.
        full = self.ids >= 0
        gram = np.zeros((self.size, len(ids)))
        gram[full] = self.source.inner(self.ids[full], ids)
        products = gram, self.correlations[ids]
        self.held = _insert(self.factors, self.held, slots, ids, *products)

    def _grow(self, needed: int) -> None:
        """Grow to the next capacity, or to a multiple of the last one."""
        capacities = self.source.capacities
        beyond = -(-needed // capacities[-1]) * capacities[-1]
        more = next((s for s in capacities if s >= needed), beyond) - self.size
        self.ids = np.pad(self.ids, (0, more), constant_values=-1)
        self.held = _padded(self.held, more)


@functools.partial(jax.jit, static_argnums=1)
def _padded(held: Held, more: int) -> Held:
    def pad(x: Array, axes: int) -> Array:
        return jnp.pad(x, [(0, more)] * axes + [(0, 0)] * (x.ndim - axes))

    problem, current = held
    return Held(
        Quadratic(
            pad(problem.gram, 2),
            pad(problem.correlations, 1),
            jnp.pad(problem.l1, (0, more), constant_values=1),
            pad(problem.l2, 1),
            problem.positive,
        ),
        ActiveSet(pad(current.swept, 2), pad(current.active, 1), pad(current.signs, 1)),
    )


@functools.partial(jax.jit, donate_argnums=1)
def _insert(
    factors: Factors, held: Held, slots: Any, ids: Any, gram: Any, target: Any
) -> Held:
    """Put features into slots that are not active; slots out of range are ignored.

    With A the active features, the new columns of the swept matrix are
    −swept_AA·gram[A, new] in the rows A, and the Schur complement
    gram[B, new] − gram[B, A]·swept_AA·gram[A, new] in the others; rows mirror columns, with
    the other sign in A.

    Args:
        factors: Of the penalty.
        held: What the slots hold.
        slots: Where the features go, (ids,).
        ids: The features.
        gram: Mean products of all features in slots, the new ones among them, with the new
            ones, (slots, ids).
        target: Mean products of the new features and the target, (ids,).
    """
    problem, (swept, active, signs) = held
    inner = jnp.where(active[:, None], gram, 0.0)
    columns = gram - inner - swept @ inner
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
        put_each(problem.correlations, target),
        put_each(problem.l1, factors.l1[ids]),
        problem.l2 if factors.l2 is None else put_each(problem.l2, factors.l2[ids]),
        problem.positive,
    )
    return Held(problem, ActiveSet(put(swept, columns, mirrored), active, signs))
