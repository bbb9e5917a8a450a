"""What statistics are made of: sums and maxima that can be added up over leaves."""

import operator
from collections.abc import Iterable
from typing import Any, NamedTuple

import jax.numpy as jnp
from jax import Array

from jaxreg._dtypes import raise_precision
from jaxreg._scheduling import after
from jaxreg._sharding import Split, along, count_zeros, greatest, part_count, total
from jaxreg.masks.roles import FEATURES, UNITS

OF_EACH = (
    *("mean_abs", "max_abs", "norm", "zero_fraction"),
    *("update_ratio", "gradient_norm", "kkt_residual"),
)
"""Statistics of every leaf; the last three need more than the parameters."""

OF_MATRICES = ("zero_units", "zero_features")
"""Statistics of leaves with two axes or more: of what their last two axes number."""


class Sums(NamedTuple):
    """Sums and maxima over an array, or over several of them.

    Attributes:
        added: What adds up: Python numbers for counts that shapes tell, and scalars.
        largest: Of what the largest counts.
        done: The number that is computed last, of one leaf.
    """

    added: dict[str, Any]
    largest: dict[str, Array]
    done: Array | None = None

    @classmethod
    def of(
        cls,
        x: Array,
        update: Array | None = None,
        gradient: Array | None = None,
        split: Split | None = None,
        done: Array | None = None,
    ) -> "Sums":
        """Those of one leaf, in at least float32, also where devices have parts of it.

        Args:
            x: The leaf.
            update: Its update, if it is known.
            gradient: Its gradient, if it is known.
            split: How it is split between devices.
            done: A number of the sums that are to be computed before.

        Returns:
            The sums, the same on all devices.
        """
        x = raise_precision(after(done, x))
        magnitudes, names = jnp.abs(x), along(split)

        def squares(x: Array) -> Array:
            return total(jnp.sum(jnp.square(raise_precision(x))), names)

        added: dict[str, Any] = {
            "size": x.size * part_count(names),
            "squares": squares(x),
            "zeros": count_zeros(x, names),
        }
        sums, tops, of_sums, of_tops = magnitudes, magnitudes, names, names
        if x.ndim >= 2:
            # In two steps, of which the first also tells what is zero throughout.
            units, features = _all_but(UNITS, x.ndim), _all_but(FEATURES, x.ndim)
            sums = total(jnp.sum(magnitudes, axis=units), along(split, units))
            tops = jnp.max(magnitudes, axis=features, initial=0.0)
            tops = greatest(tops, along(split, features))
            of_sums = along(split, (x.ndim + UNITS,))
            of_tops = along(split, (x.ndim + FEATURES,))
            added |= {
                "units": sums.size * part_count(of_sums),
                "zero_units": count_zeros(sums, of_sums),
                "features": tops.size * part_count(of_tops),
                "zero_features": count_zeros(tops, of_tops),
            }
        added["absolute"] = total(jnp.sum(sums), of_sums)
        largest = {"absolute": greatest(jnp.max(tops, initial=0.0), of_tops)}
        done = added["absolute"]
        if update is not None:
            done = added["updates"] = squares(after(done, update))
        if gradient is not None:
            done = added["gradients"] = squares(after(done, gradient))
        return cls(added, largest, done)

    def with_residual(
        self, residual: Array, split: Split | None = None, done: Array | None = None
    ) -> "Sums":
        """These, and how large the residual is at most."""
        most = jnp.max(jnp.abs(after(done, residual)), initial=0.0)
        most = greatest(most, along(split))
        return self._replace(largest={**self.largest, "residual": most}, done=most)

    @classmethod
    def merged(cls, parts: "Iterable[Sums]") -> "Sums":
        """Those of several leaves together."""
        added: dict[str, Any] = {}
        largest: dict[str, Array] = {}
        for part in parts:
            _merge(added, part.added, operator.add)
            _merge(largest, part.largest, jnp.maximum)
        return cls(added, largest)

    def statistics(self) -> dict[str, Array]:
        """The statistics that these tell, as `weight_stats` calls them."""
        added, largest = self.added, self.largest
        size = max(1, added["size"])
        norm = jnp.sqrt(added["squares"])
        made = {
            "mean_abs": added["absolute"] / size,
            "max_abs": largest["absolute"],
            "norm": norm,
            "zero_fraction": added["zeros"] / size,
        }
        if "updates" in added:
            steps = jnp.sqrt(added["updates"])
            made["update_ratio"] = steps / jnp.where(steps == 0, 1.0, norm)
        if "gradients" in added:
            made["gradient_norm"] = jnp.sqrt(added["gradients"])
        if "residual" in largest:
            made["kkt_residual"] = largest["residual"]
        for name in ("units", "features"):
            if name in added:
                made[f"zero_{name}"] = added[f"zero_{name}"] / max(1, added[name])
        return made


def _merge(into: dict[str, Any], values: dict[str, Any], combine: Any) -> None:
    for name, value in values.items():
        into[name] = combine(into[name], value) if name in into else value


def _all_but(axis: int, ndim: int) -> tuple[int, ...]:
    return tuple(i for i in range(ndim) if i != ndim + axis)
