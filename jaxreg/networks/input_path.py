"""The result of a search for inputs: networks with fewer and fewer of them."""

import dataclasses
from typing import Self

import jax
import jax.numpy as jnp
import numpy as np

from jaxreg._checks import check_count
from jaxreg._tree import Params
from jaxreg.strength.cross_validation import CrossValidation
from jaxreg.strength.knockoffs import entry_strengths


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class InputPath:
    """Networks with fewer and fewer inputs, and the one that a rule chose.

    Attributes:
        strengths: The strengths, rising.
        used: For each strength and input, whether the network uses it.
        validation: The losses of the folds, a `CrossValidation`: for the rules of
            `jaxreg.strength` and `plot.cross_validation`.
        networks: The parameters at all strengths, with an axis for them in front, trained
            on all samples.
        index: Which strength the rule chose.
        ridge: The strength of `L2` on the other weights.
        dense_steps: How many steps the fit of all inputs took.

    Example:
        >>> path = InputPath(
        ...     np.array([0.1, 1.0]), np.array([[True, True], [True, False]]),
        ...     CrossValidation(np.array([0.1, 1.0]), np.array([[2.0, 3.0], [2.0, 2.0]])),
        ...     networks={"kernel": np.ones((2, 2, 1))},
        ...     index=1, ridge=0.003, dense_steps=100,
        ... )
        >>> path, path.chosen, path.importances
        (InputPath of 2 strengths: 1 of 2 inputs chosen, at strength 1,
         array([0]), array([1. , 0.1]))
    """

    strengths: np.ndarray
    used: np.ndarray
    validation: CrossValidation
    networks: Params
    index: int
    ridge: float
    dense_steps: int

    @property
    def importances(self) -> np.ndarray:
        """The largest strength at which the network uses each input; 0 if at none."""
        return entry_strengths(self.strengths, self.used)

    @property
    def counts(self) -> np.ndarray:
        """How many inputs the network uses at each strength."""
        return np.sum(self.used, axis=1)

    @property
    def chosen(self) -> np.ndarray:
        """The inputs in use at the chosen strength, their numbers."""
        return np.flatnonzero(self.used[self.index])

    @property
    def best_index(self) -> int:
        """Of the strengths that use exactly the chosen inputs, the one with the best score.

        A smaller strength with the same inputs shrinks them less.
        """
        same = np.all(self.used == self.used[self.index], axis=1)
        losses = np.where(same, np.nan_to_num(self.validation.mean, nan=np.inf), np.inf)
        return int(np.argmin(losses)) if np.any(np.isfinite(losses)) else self.index

    @property
    def params(self) -> Params:
        """The network of the chosen inputs, at `best_index`; for `jaxreg.compact` too."""
        return self.network_at(self.best_index)

    def network_at(self, index: int) -> Params:
        """The parameters at one of the strengths.

        Args:
            index: Its number.

        Returns:
            A pytree like the parameters that the path started from.
        """
        return jax.tree.map(lambda x: jnp.asarray(x[index]), self.networks)

    def at(self, index: int) -> Self:
        """The same path with another choice.

        Args:
            index: The number of a strength, from a rule of your own for instance.

        Returns:
            A path.
        """
        return dataclasses.replace(self, index=int(index))

    def with_at_most(self, inputs: int) -> Self:
        """The same path, at the smallest strength with at most so many inputs.

        Args:
            inputs: How many, at least 1.

        Returns:
            A path.

        Raises:
            TypeError: If `inputs` is no whole number.
            ValueError: If the network has more inputs at every strength.
        """
        check_count("inputs", inputs)
        few = np.flatnonzero(self.counts <= inputs)
        if not few.size:
            raise ValueError(
                f"The network uses {np.min(self.counts)} inputs or more at every strength, "
                f"not {inputs}: give larger strengths."
            )
        return self.at(few[0])

    def __repr__(self) -> str:
        strengths, inputs = self.used.shape
        return (
            f"InputPath of {strengths} strengths: {len(self.chosen)} of {inputs} inputs "
            f"chosen, at strength {self.strengths[self.index]:.3g}"
        )
