"""Least squares with a penalty: which algorithm, and what all of them share."""

import contextlib
import dataclasses
import functools
import warnings
from collections.abc import Generator
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer

from jaxreg.penalties import L1, L2, ElasticNet, Penalty
from jaxreg.penalties.fields import strength_fields
from jaxreg.solve.checks import check_concrete, check_penalty
from jaxreg.solve.gaps import Factors, is_certified, relative_gaps
from jaxreg.solve.lasso._dense import SIZES, dense_path
from jaxreg.solve.lasso._rescale import Units, units_of
from jaxreg.solve.lasso._screened import screened_path
from jaxreg.solve.lasso._sources import Moments, Samples, moments
from jaxreg.solve.lasso.ridge import ridge_path
from jaxreg.solve.standardize import Prepared, prepare, shared
from jaxreg.strength.critical import strength_grid

STRIDE = 0.5
"""Strengths are at most so much smaller than the one before, or others come between."""
LEAST = 1e-8
"""But none comes between that is smaller than this share of the largest."""
INEXACT = 1e-6
"""Gaps larger than this, by the mean square of the target, are warned of."""
FEW, MANY = 64, 1024
"""So many features have a Gram matrix whatever the samples, and at most so many."""


def penalty_factors(penalty: Penalty, features: int) -> tuple[np.ndarray, np.ndarray]:
    """`l1` and `l2` of a penalty, one of each for every feature; infinite ones exclude it.

    Raises:
        TypeError: If it is another penalty.
        ValueError: If there is not one for each.
    """
    if not isinstance(penalty, L1 | L2 | ElasticNet):
        raise TypeError(f"penalty must be an L1, L2 or ElasticNet, got {penalty!r}.")
    # A list of numbers is one array here, where coefficients are one array.
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
    """In float64, and at once: even where JAX traces something around it."""
    # Only there, for calls of compiled programs take longer in it.
    at_once = jax.ensure_compile_time_eval() if in_trace else contextlib.nullcontext()
    with jax.enable_x64(True), at_once:
        yield


class LeastSquares(NamedTuple):
    """A model; `l1` and `l2` are factors of the strength, for each feature."""

    l1: np.ndarray
    l2: np.ndarray
    intercept: bool
    standardize: bool
    positive: bool

    def prepared(
        self, x: np.ndarray, y: np.ndarray, weights: np.ndarray | None
    ) -> "Problem":
        """The model with data."""
        excluded = np.isinf(self.l1) | np.isinf(self.l2)
        l1, l2 = np.where(excluded, 1.0, self.l1), np.where(excluded, 0.0, self.l2)
        if np.any(excluded):
            # A column of zeros has the coefficient 0.
            x = np.where(excluded, 0.0, x)
        free = np.flatnonzero((l1 == 0) & (l2 == 0))
        if self.positive and free.size:
            raise ValueError(
                "positive needs a penalty on every feature, for the others are taken out "
                f"first: features {free[:5].tolist()} have none. Give them a small one."
            )
        units = units_of(x, y, l1, standardized=self.standardize)
        x, y = units.data(x, y)
        l1, l2 = units.factors(l1, l2)
        in_trace = isinstance(jnp.zeros(()), Tracer)
        with _double_precision(in_trace):
            data = prepare(
                x,
                y,
                weights,
                intercept=self.intercept,
                standardize=self.standardize,
                free=free,
            )
            model = self._replace(l1=l1, l2=l2)
            return Problem(model, units, data, free, np.flatnonzero(excluded), in_trace)


class Problem:
    """A model and data in the given units, without the features that are not penalised."""

    def __init__(
        self,
        model: LeastSquares,
        units: Units,
        data: Prepared,
        free: np.ndarray,
        excluded: np.ndarray,
        in_trace: bool,
    ) -> None:
        self.model, self.units, self.data = model, units, data
        self.free, self.excluded, self.in_trace = free, excluded, in_trace
        # What is free is zero in the data now; a price keeps it zero.
        l1, l2 = np.array(model.l1), model.l2 if np.any(model.l2 > 0) else None
        l1[free] = 1.0
        self.factors = Factors(l1, l2, model.positive)
        features, samples = data.xt.shape
        self.has_gram = features <= min(max(2 * samples, FEW), MANY)
        self.samples = Samples(data.xt, data.y)
        if not self.has_gram:
            self.samples = Samples(shared(data.xt), jnp.asarray(data.y))
        self.correlations = np.asarray(self.samples.correlations)

    @functools.cached_property
    def source(self) -> Samples | Moments:
        """Where the products of a path come from."""
        return moments(self.samples) if self.has_gram else self.samples

    @property
    def largest(self) -> float:
        """The smallest strength at which all coefficients with `l1` are zero.

        (If some have `l2` only: with these zero too.)
        """
        l1, _, _ = self.factors
        pull, paid = self.factors.pull(self.correlations, np), l1 > 0
        return float(np.max(pull[paid] / l1[paid], initial=0.0))

    def grid(self, num: int, ratio: float) -> np.ndarray:
        """Strengths from the largest useful one down, evenly spaced in their logarithms.

        Raises:
            TypeError: If `num` is no whole number, or `ratio` no number.
            ValueError: If there is no L1, or a number is out of its range.
        """
        if not np.any(self.model.l1 > 0):
            raise ValueError("strengths must be given for a penalty without L1.")
        check_concrete("num and ratio", (num, ratio))
        with _double_precision(self.in_trace):
            grid = np.asarray(strength_grid(self.largest or 1.0, num, ratio))
        return self.units.given_strengths(grid)

    def solve(self, strengths: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Coefficients, intercepts and gaps at strengths in any order."""
        strengths = self.units.strengths(strengths)
        falling, where = np.unique(-strengths, return_inverse=True)
        with _double_precision(self.in_trace):
            w, gaps = self._at(-falling)
        if not np.all(is_certified(gaps, INEXACT)):
            warnings.warn(
                "Some models are solved only up to a duality gap of "
                f"{np.max(np.abs(gaps)):.1g} times the mean square of the target: features "
                "depend on each other up to rounding. A stronger penalty, or more L2, "
                "helps; so does centring features far from zero.",
                RuntimeWarning,
                stacklevel=4,
            )
        return *self.finished(_taken(w, where)), gaps[where]

    def finished(self, w: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Coefficients of the features as given, unpenalised ones too; intercepts."""
        w, others = self.data.back(w)
        intercept = self.model.intercept
        w[:, self.free] = others[:, int(intercept) :]
        intercepts = others[:, 0] if intercept else np.zeros(len(w))
        return self.units.coefficients(w), self.units.intercepts(intercepts)

    def _at(self, falling: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        paid = falling[falling > 0]
        parts = [self._paid(paid)] if paid.size else []
        if len(paid) < len(falling):
            w, gap = self._unpaid()
            parts.append((w[None], np.array([gap])))
        if len(parts) == 1:
            return parts[0]
        w, gaps = map(np.concatenate, zip(*parts, strict=True))
        return w, gaps

    def _paid(self, falling: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        model, data = self.model, self.data
        penalised = np.delete(model.l1, self.free)
        if not np.any(penalised > 0) and not model.positive:
            l2 = np.where(model.l2 > 0, model.l2, 1.0)
            return ridge_path(data.xt, data.y, l2, falling)
        all_of_them, asked = _with_stops(falling, self.largest)
        if isinstance(self.source, Moments) and len(self.correlations) <= SIZES[-1]:
            w, gaps = dense_path(self.source, self.factors, all_of_them)
        else:
            w, gaps = screened_path(
                self.source, self.factors, all_of_them, self.correlations
            )
        self._keep_the_better(all_of_them, w, gaps)
        return _taken(w, asked), gaps[asked]

    def _keep_the_better(
        self, falling: np.ndarray, w: np.ndarray, gaps: np.ndarray
    ) -> None:
        """Where rounding has spoilt a solution, the one before or zero may be better.

        These gaps come from the samples: moments lose digits where coefficients cancel.
        """
        for k in np.flatnonzero(~is_certified(gaps, INEXACT)):
            candidates = np.stack([w[k], w[max(k - 1, 0)], np.zeros(w.shape[1])])
            strengths = np.repeat(falling[k], len(candidates))
            found = relative_gaps(self.samples, candidates, strengths, self.factors)
            best = np.argmin(np.nan_to_num(np.abs(found), nan=np.inf))
            w[k], gaps[k] = candidates[best], found[best]

    def _unpaid(self) -> tuple[np.ndarray, float]:
        """Least squares, and how far it is from the minimum."""
        xt, y = np.asarray(self.data.xt), self.data.y
        keep = np.setdiff1d(np.arange(len(xt)), np.union1d(self.free, self.excluded))
        design = xt[keep].T
        found, _, rank, _ = np.linalg.lstsq(design, y)
        if rank < len(keep) or self.model.positive:
            raise ValueError(
                "Without a penalty coefficients must be of any sign, and no feature may "
                "depend on others (or be constant): the solution is not unique, of "
                f"{len(keep)} features {rank} are independent. Penalise them: give a small "
                "positive number instead of 0."
            )
        more, *_ = np.linalg.lstsq(design, y - design @ found)
        w = np.zeros(len(xt))
        w[keep] = found + more
        return w, unpaid_gap(xt, y, w)


def unpaid_gap(xt: np.ndarray, y: np.ndarray, w: np.ndarray) -> float:
    """How far least squares are from their minimum, by the mean square of the target.

    That is half of what the features still explain of the residuals.
    """
    left, *_ = np.linalg.lstsq(xt.T, y - w @ xt)
    return float(np.sum((left @ xt) ** 2)) / 2 / max(float(y @ y), np.finfo(float).tiny)


def _taken(rows: np.ndarray, which: np.ndarray) -> np.ndarray:
    """Some rows, or all: these are not copied, for there may be a lot of them."""
    return rows if np.array_equal(which, np.arange(len(rows))) else rows[which]


def _with_stops(falling: np.ndarray, largest: float) -> tuple[np.ndarray, np.ndarray]:
    """Strengths with others between them where they are far apart; which were given."""
    stops: list[float] = []
    asked: list[int] = []
    now = max(largest, float(falling[0]))
    for strength in falling:
        low = max(float(strength), LEAST * largest)
        steps = max(int(np.ceil(np.log(low / now) / np.log(STRIDE))), 1) if low < now else 1
        stops += [now * (low / now) ** (i / steps) for i in range(1, steps)]
        asked.append(len(stops))
        stops.append(float(strength))
        now = float(strength)
    return np.array(stops), np.array(asked)
