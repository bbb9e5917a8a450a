"""Least squares with an L1 and L2 penalty: the model, its data, and which algorithm."""

import contextlib
import dataclasses
import functools
import warnings
from collections.abc import Generator
from typing import Any, NamedTuple

import jax
import numpy as np
from jax.core import Tracer

from jaxreg.penalties import L1, L2, ElasticNet
from jaxreg.penalties.fields import strength_fields
from jaxreg.solve.checks import check_concrete, check_penalty
from jaxreg.solve.gaps import Factors, is_certified
from jaxreg.solve.lasso._blocks import Start
from jaxreg.solve.lasso._rescale import Units, units_of
from jaxreg.solve.lasso._screened import screened_path
from jaxreg.solve.lasso._sources import (
    Moments,
    Samples,
    SparseSamples,
    gaps_of,
    moments,
)
from jaxreg.solve.lasso._sparse_path import sparse_path
from jaxreg.solve.lasso.ridge import ridge_path
from jaxreg.solve.sparse import Projected, without_columns
from jaxreg.solve.standardize import Prepared, prepare
from jaxreg.strength.critical import grid_fractions

INEXACT = 1e-6
"""Solutions with a larger gap are reported as not converged."""
STRIDE, LEAST = 0.5, 1e-8
"""Consecutive strengths that fall below STRIDE get intermediate ones between them, none of
which is below LEAST times the largest useful strength: each solution starts from the one
before, and needs few rounds only if that is near."""
MOST_DENSE = 2**24
"""How many numbers sparse features may have as dense ones, for least squares."""
FEW, MANY = 64, 1024
"""Numbers of features up to which there is a Gram matrix: FEW whatever the samples; MANY
if there are at least half as many samples as features."""


def check_is_l1(penalty: Any) -> None:
    """Refuse what is neither an L1 nor `None`.

    Raises:
        TypeError: If it is something else.
    """
    if not (penalty is None or isinstance(penalty, L1)):
        raise TypeError(
            f"penalty must be an L1, got {penalty!r}. `elastic_net_path` takes L2 and "
            "ElasticNet, too."
        )


def penalty_factors(penalty: Any, features: int) -> tuple[np.ndarray, np.ndarray]:
    """`l1` and `l2` of a penalty Σ (l1·|w| + l2·w²), arrays (features,).

    Args:
        penalty: An L1, L2 or ElasticNet; `None` for `L1(1.0)`.
        features: How many there are.

    Raises:
        TypeError: If it is another penalty.
        ValueError: If its strengths do not fit, or its mask leaves the coefficients out.
    """
    if penalty is None:
        return np.ones(features), np.zeros(features)
    if not isinstance(penalty, L1 | L2 | ElasticNet):
        raise TypeError(f"penalty must be an L1, L2 or ElasticNet, got {penalty!r}.")
    # Coefficients are one array, so a list of numbers is one array here, no pytree.
    lists = {
        name: np.asarray(value)
        for name in strength_fields(type(penalty))
        if isinstance(value := getattr(penalty, name), list | tuple)
    }
    penalty = dataclasses.replace(penalty, **lists) if lists else penalty
    check_penalty(penalty, (features,))
    if isinstance(penalty, ElasticNet):
        given = {"l1": penalty.l1, "l2": penalty.l2}
    elif isinstance(penalty, L1):
        given = {"strength": penalty.strength, "l2": 0.0}
    else:
        given = {"l1": 0.0, "strength": penalty.strength}
    for name, value in given.items():
        if np.shape(value) not in ((), (features,)):
            raise ValueError(
                f"{name} of the penalty must be a number, or one for each of the "
                f"{features} features, got shape {np.shape(value)}."
            )
    l1, l2 = (np.broadcast_to(np.asarray(x, float), features) for x in given.values())
    return l1, l2


@contextlib.contextmanager
def _double_precision(in_trace: bool) -> Generator[None]:
    """Computes in float64, and immediately even if JAX is tracing a function around it."""
    # Only in a trace, because calls of compiled programs are slower in this context.
    at_once = jax.ensure_compile_time_eval() if in_trace else contextlib.nullcontext()
    with jax.enable_x64(True), at_once:
        yield


class LeastSquares(NamedTuple):
    """The model: ½·mean (y − x·w − b)² + strength · penalty(w), for any strength."""

    penalty: Any
    intercept: bool
    standardize: bool
    positive: bool

    def with_data(self, x: Any, y: np.ndarray, weights: np.ndarray | None) -> "Problem":
        """The model with data, prepared for the solvers; x may be a `csc_array`.

        Raises:
            TypeError: If the penalty is another one than `penalty_factors` takes.
            ValueError: If a feature must be penalised, but is not.
        """
        l1, l2 = penalty_factors(self.penalty, x.shape[1])
        excluded = np.isinf(l1) | np.isinf(l2)
        if np.any(excluded):
            # A column of zeros has the coefficient 0, whatever its penalty.
            has_l1 = np.any(l1 > 0)
            l1 = np.where(excluded, 1.0 if has_l1 else 0.0, l1)
            l2 = np.where(excluded, 0.0 if has_l1 else 1.0, l2)
            x = without_columns(x, excluded)
        unpenalised = np.flatnonzero((l1 == 0) & (l2 == 0))
        if self.positive and unpenalised.size:
            raise ValueError(
                "positive=True needs a penalty greater than 0 on every feature, but "
                f"features {unpenalised[:5].tolist()} have none. Give them a small one."
            )
        units = units_of(x, y, l1, standardized=self.standardize)
        x, y, l1, l2 = units.scaled(x, y, l1, l2)
        # In a function that JAX traces, constants are tracers too. (This compiles nothing.)
        in_trace = isinstance(jax.device_put(0.0), Tracer)
        with _double_precision(in_trace):
            data = prepare(
                x,
                y,
                weights,
                intercept=self.intercept,
                standardize=self.standardize,
                unpenalised=unpenalised,
            )
            factors = Factors(l1, l2, self.positive)
            return Problem(self, units, data, factors, unpenalised, excluded, in_trace)


class Problem:
    """A model and its prepared data: only penalised features, in the solver's units.

    Attributes:
        factors: Those of the penalty. The columns of unpenalised features are zero here;
            their l1 is 1, which keeps these coefficients at zero.
        samples: The data.
        correlations: Mean products of features and target.
    """

    def __init__(
        self,
        model: LeastSquares,
        units: Units,
        data: Prepared,
        factors: Factors,
        unpenalised: np.ndarray,
        excluded: np.ndarray,
        in_trace: bool,
    ) -> None:
        self.model, self.units, self.data = model, units, data
        self.unpenalised, self.in_trace = unpenalised, in_trace
        self.excluded = np.flatnonzero(excluded)
        l1, l2, positive = factors
        self.has_l1, self.l2 = bool(np.any(l1 > 0)), l2
        l1 = np.array(l1)
        l1[unpenalised] = 1.0
        self.factors = Factors(l1, l2 if np.any(l2 > 0) else None, positive)
        features, samples = data.xt.shape
        self.has_gram = features <= min(max(2 * samples, FEW), MANY)
        sparse = isinstance(data.xt, Projected)
        given = SparseSamples if sparse else Samples
        self.samples: Samples | SparseSamples = given(data.xt, data.y)
        self.correlations = self.samples.correlations

    @functools.cached_property
    def source(self) -> Samples | SparseSamples | Moments:
        """Where a path takes its mean products from."""
        return moments(self.samples) if self.has_gram else self.samples

    @property
    def null_loss(self) -> float:
        """½ · mean square of the projected target; ∞ if float64 cannot hold it."""
        with np.errstate(over="ignore"):
            square = np.mean(np.square(self.data.y))
            return float(np.ldexp(square / 2, 2 * self.units.target))

    @property
    def strength_max(self) -> float:
        """The smallest strength at which all coefficients with `l1` are zero.

        (Where others have `l2` only, this is an upper bound, for these are zero here.)
        """
        l1, has_l1 = self.factors.l1, self.factors.l1 > 0
        magnitude = self.factors.magnitude(self.correlations)
        return float(np.max(magnitude[has_l1] / l1[has_l1], initial=0.0))

    def grid(self, num: int, ratio: float) -> np.ndarray:
        """Strengths from the largest useful one down, as `strength_grid` spaces them.

        Raises:
            TypeError: If `num` is no whole number, or `ratio` no number.
            ValueError: If there is no L1, or a number is out of its range.
        """
        if not self.has_l1:
            raise ValueError("strengths must be given for a penalty without L1.")
        check_concrete("num and ratio", (num, ratio))
        # 0 if no feature with an L1 correlates with the target: any strength will do.
        grid = (self.strength_max or 1.0) * grid_fractions(num, ratio)
        return self.units.given_strengths(grid)

    def solve(self, strengths: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Coefficients, intercepts and gaps at strengths in any order."""
        strengths = self.units.strengths(strengths)
        rising, where = np.unique(-strengths, return_inverse=True)
        falling = -rising
        parts = list[tuple[np.ndarray, np.ndarray]]()
        with _double_precision(self.in_trace):
            if falling[0] > 0:
                parts.append(self._solve_penalised(falling[falling > 0]))
            if falling[-1] == 0:
                parts.append(self._solve_unpenalised())
        w, gaps = parts[0]
        if len(parts) == 2:
            w, gaps = np.append(w, parts[1][0], axis=0), np.append(gaps, parts[1][1])
        return *self.restored(_rows(w, where)), gaps[where]

    def restored(self, w: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Coefficients of the features as given, with the unpenalised; and intercepts."""
        w, others = self.data.restored(w)
        intercept = self.model.intercept
        w[:, self.unpenalised] = others[:, int(intercept) :]
        intercepts = others[:, 0] if intercept else np.zeros(len(w))
        return self.units.restored(w, intercepts)

    def _solve_penalised(self, falling: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Coefficients (strengths, features) and gaps at falling, positive strengths.

        Without L1 they have a closed form.
        """
        source = self.source
        if not self.has_l1 and not self.model.positive:
            # Columns of features without l2 are zero here, so that any l2 will do.
            l2 = np.where(self.l2 > 0, self.l2, 1.0)
            return ridge_path(self.samples, l2, falling)
        every, given = _with_intermediate(falling, self.strength_max)
        if isinstance(source, SparseSamples):
            w, gaps = sparse_path(source, self.factors, every)
        else:
            nothing = np.zeros(0)
            start = Start(every[0], nothing.astype(int), nothing, self.correlations)
            w, gaps = screened_path(source, self.factors, every, start)
        if not np.all(is_certified(gaps, INEXACT)):
            self._mend_inexact(every, w, gaps)
        return _rows(w, given), gaps[given]

    def _mend_inexact(self, falling: np.ndarray, w: np.ndarray, gaps: np.ndarray) -> None:
        """Replace solutions spoilt by rounding by the previous one or zero, if better.

        These gaps come from the samples, as moments lose digits where coefficients cancel.
        """
        for k in np.flatnonzero(~is_certified(gaps, INEXACT)):
            candidates = np.stack([w[k], w[max(k - 1, 0)], np.zeros(w.shape[1])])
            strengths = np.repeat(falling[k], len(candidates))
            found = gaps_of(self.samples, candidates, strengths, self.factors)
            best = np.argmin(np.nan_to_num(np.abs(found), nan=np.inf))
            w[k], gaps[k] = candidates[best], found[best]

    def _solve_unpenalised(self) -> tuple[np.ndarray, np.ndarray]:
        """Least squares: coefficients (1, features), and their gap.

        Raises:
            ValueError: If the solution is not unique, or must not be negative.
        """
        xt, y = dense_rows(self.data.xt), self.data.y
        keep = np.setdiff1d(np.arange(len(xt)), np.union1d(self.unpenalised, self.excluded))
        design = xt[keep].T
        found, _, rank, _ = np.linalg.lstsq(design, y)
        if rank < len(keep) or self.model.positive:
            raise ValueError(
                "Without a penalty the model needs positive=False and linearly independent "
                "features, none of them constant, or the solution is not unique; of "
                f"{len(keep)} features {rank} are independent. Penalise them: give a small "
                "positive number instead of 0."
            )
        correction, *_ = np.linalg.lstsq(design, y - design @ found)
        w = np.zeros((1, len(xt)))
        w[0, keep] = found + correction
        return w, np.array([least_squares_gap(xt, y, w[0])])


def dense_rows(xt: Any) -> np.ndarray:
    """Features as rows, dense.

    Raises:
        ValueError: If they are sparse, and too many to be.
    """
    if not isinstance(xt, Projected):
        return np.asarray(xt)
    if np.prod(xt.shape) > MOST_DENSE:
        raise ValueError(
            "Strength 0 needs dense features, and these are sparse and large, "
            f"{xt.shape[1]} samples of {xt.shape[0]}: give a small positive strength."
        )
    return xt.dense(np.arange(xt.shape[0]))


def least_squares_gap(xt: np.ndarray, y: np.ndarray, w: np.ndarray) -> float:
    """How far least squares are from their minimum, relative to the null model's loss.

    That is the mean square of what the features still explain of the residuals.
    """
    left, *_ = np.linalg.lstsq(xt.T, y - w @ xt)
    return float(np.sum((left @ xt) ** 2)) / max(float(y @ y), np.finfo(float).tiny)


def warn_if_inexact(gaps: np.ndarray) -> None:
    """Warn the caller of a path function if a solution has not converged."""
    if not np.all(is_certified(gaps, INEXACT)):
        warnings.warn(
            "Some models are solved only up to a duality gap of "
            f"{np.max(np.abs(gaps)):.1g} times the null model's loss, because features "
            "depend on each other up to rounding. Penalise them more, or centre features "
            "that are far from zero.",
            RuntimeWarning,
            stacklevel=5,  # The caller of the path function, which `solved_again` wraps.
        )


def _rows(array: np.ndarray, which: np.ndarray) -> np.ndarray:
    """Some rows; all of them without a copy, which may be large."""
    return array if np.array_equal(which, np.arange(len(array))) else array[which]


def _with_intermediate(
    falling: np.ndarray, largest: float
) -> tuple[np.ndarray, np.ndarray]:
    """Strengths with intermediate ones where they are far apart; indices of the given."""
    every, given = list[float](), list[int]()
    now = max(largest, float(falling[0]))
    for strength in map(float, falling):
        low = max(strength, LEAST * largest)
        steps = max(int(np.ceil(np.log(low / now) / np.log(STRIDE))), 1) if low < now else 1
        every.extend(now * (low / now) ** (np.arange(1, steps) / steps))
        given.append(len(every))
        every.append(strength)
        now = strength
    return np.array(every), np.array(given)
