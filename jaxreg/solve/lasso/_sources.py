"""Where a path takes its products from: samples, or their moments where these fit."""

from typing import Any, NamedTuple

import jax
import numpy as np

from jaxreg.solve.standardize import on_host


class Left(NamedTuple):
    """What coefficients leave of the target, for each of them.

    Attributes:
        correlations: Mean products of features and residuals, (features, coefficients).
        squares: Mean squares of the residuals.
        along: Mean products of residuals and target.
    """

    correlations: Any
    squares: Any
    along: Any


class Samples(NamedTuple):
    """Features as rows, and the target."""

    xt: Any
    y: Any

    @property
    def sizes(self) -> tuple[int, ...]:
        """How many slots programs are compiled for: few sizes, but not much too large."""
        return 256, 512, 896, 1152, 1536, 2048

    @property
    def width(self) -> int:
        """How many numbers are held of a feature."""
        return len(self.y)

    @property
    def correlations(self) -> Any:
        """Mean products of features and target."""
        return self.xt @ self.y / len(self.y)

    @property
    def square(self) -> Any:
        """The mean square of the target."""
        return self.y @ self.y / len(self.y)

    def rows(self, ids: Any) -> Any:
        """What is held of some features, for the products below."""
        return self.xt[ids]

    def inner(self, rows: Any, ids: Any) -> Any:
        """Mean products of features that are held and of others."""
        return rows @ self.xt[ids].T / len(self.y)

    def with_target(self, ids: Any) -> Any:
        """Mean products of features and target."""
        return self.xt[ids] @ self.y / len(self.y)

    def left(self, w: Any, ids: Any, rows: Any) -> Left:
        """What coefficients (strengths, held features) leave."""
        del ids
        residuals, samples = self.y[None] - w @ rows, len(self.y)
        squares = (residuals**2).sum(axis=1) / samples
        along = residuals @ self.y / samples
        return Left(self.xt @ (residuals / samples).T, squares, along)


class Moments(NamedTuple):
    """Mean products of features, of features and target, and of the target."""

    gram: Any
    correlations: Any
    square: Any

    @property
    def sizes(self) -> tuple[int, ...]:
        """As for `Samples`: one for sparse solutions, and one for all features."""
        every = -(-len(self.correlations) // 256) * 256
        return every * 3 // 8, every

    @property
    def width(self) -> int:
        """As for `Samples`."""
        return len(self.gram)

    def rows(self, ids: Any) -> Any:
        """As for `Samples`."""
        return self.gram[ids]

    def inner(self, rows: Any, ids: Any) -> Any:
        """As for `Samples`."""
        return rows[:, ids]

    def with_target(self, ids: Any) -> Any:
        """As for `Samples`."""
        return self.correlations[ids]

    def left(self, w: Any, ids: Any, rows: Any) -> Left:
        """As for `Samples`."""
        # JAX reads what is beyond the end as the last feature; its w are zero.
        image, explained = rows.T @ w.T, w @ self.with_target(ids)
        squares = self.square - 2 * explained + (w * image[ids].T).sum(axis=1)
        correlations = self.correlations[:, None] - image
        return Left(correlations, squares, self.square - explained)


def moments(given: Samples) -> Moments:
    """The moments of samples."""
    square = _square if on_host(given.xt.size) else _compiled_square
    gram = np.asarray(square(given.xt)) / len(given.y)
    return Moments(gram, np.asarray(given.correlations), float(given.square))


def _square(rows: Any) -> Any:
    return rows @ rows.T


_compiled_square = jax.jit(_square)
