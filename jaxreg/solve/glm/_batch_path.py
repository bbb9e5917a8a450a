"""Proximal Newton along falling strengths, for many problems at once.

As `_newton_path` does it for one, with two differences. All features are candidates, so
that it is for some hundreds of them. And a Hessian is kept as long as steps with it gain
enough, made at the solution of all data for all folds of a target (see `_batch`): it costs
as much as p/4 gradients. Gradients and certificates are always those of the problem itself.

What does not converge here is left to the path of one problem.

Shapes: B problems, T targets, S strengths, p features.
"""

from typing import NamedTuple

import numpy as np

from jaxreg._dtypes import ROUNDING
from jaxreg._progress import Tick
from jaxreg.solve.glm._batch import Problems, Values
from jaxreg.solve.glm._batch_step import lasso_steps, violations
from jaxreg.solve.glm._candidate_model import allowed_violation

_STEPS = 40
_HALVINGS = 8
# By how much a step with a new Hessian reduces violations.
_NEW_RATE = 0.05


class Null(NamedTuple):
    """The null models: the intercept only.

    Attributes:
        w: Coefficients, an array (B, p).
        values: Losses and gradients there.
        loss: The losses above the least possible ones, an array (B,).
        error: Root mean squares of the slopes, an array (B,).
        is_usual: Whether features have something to explain, bools (B,).
    """

    w: np.ndarray
    values: Values
    loss: np.ndarray
    error: np.ndarray
    is_usual: np.ndarray


class Solutions(NamedTuple):
    """Solutions of all problems.

    Attributes:
        w: Coefficients, an array (B, S, p).
        loss: The mean losses, above the least possible, an array (B, S).
        score: The mean losses on the samples for the score.
        gap: Relative duality gaps.
        violation: Largest violations of the optimality conditions.
        steps: Newton steps.
        failed: Problems that did not converge at some strength, bools (B,).
    """

    w: np.ndarray
    loss: np.ndarray
    score: np.ndarray
    gap: np.ndarray
    violation: np.ndarray
    steps: np.ndarray
    failed: np.ndarray


def null_models(problems: Problems, least: np.ndarray, intercept: bool) -> Null:
    """Fit the intercepts: by Newton's method in one coefficient.

    Args:
        problems: The problems.
        least: Means of the least possible losses, an array (B,).
        intercept: Whether there is one; it is the last coefficient.
    """
    shared, which = problems.shared, np.arange(problems.number)
    w = np.zeros((problems.number, len(shared.rows)))
    if intercept:
        alone = problems._replace(shared=shared._replace(rows=shared.rows[-1:]))
        for _ in range(_STEPS):
            at = alone.evaluate(w[:, -1:], which)
            w[:, -1:] -= at.gradient / at.curvature[:, None]
            if np.all(abs(at.gradient[:, 0]) <= 1e-10 * at.curvature):
                break  # The last step squared what was left.
    values, error = problems.evaluate(w, which), problems.errors(w)
    loss = values.loss - least
    squares = np.repeat(problems.y**2 @ shared.weights, problems.folds)
    is_usual = error > ROUNDING * np.sqrt(np.maximum(squares, 1.0))
    is_usual &= loss > ROUNDING * abs(least)
    if intercept:
        is_usual &= abs(values.gradient[:, -1]) <= 1e-9 * error
    return Null(w, values, loss, error, is_usual)


def strengths_max(problems: Problems, null: Null) -> np.ndarray:
    """The smallest strength without features for each target on all data, (T,)."""
    whole = slice(problems.folds - 1, None, problems.folds)
    l1, gradient = problems.shared.l1[-1], null.values.gradient[whole]
    bound = l1 > 0
    return np.max(abs(gradient[:, bound]) / l1[bound], axis=1, initial=0.0)


def follow_all(
    problems: Problems,
    null: Null,
    least: tuple[np.ndarray, np.ndarray],
    strengths: np.ndarray,
    tol: float,
    tick: Tick,
) -> Solutions:
    """Solutions at falling strengths.

    Args:
        problems: The problems.
        null: Their null models.
        least: Means of the least possible losses on the samples for training, and on those
            for the score, arrays (B,).
        strengths: An array (T, S).
        tol: The relative duality gap to reach.
        tick: Called for each problem and strength.
    """
    search = _Search(problems, null, tol)
    each = []
    for column in strengths.T:
        w, loss, gap, violation, steps = search.solve(np.repeat(column, problems.folds))
        score = problems.scores(w) - least[1]
        for _ in gap:
            tick()
        each.append((w, loss - least[0], score, gap, violation, steps))
    parts = (np.stack(part, axis=1) for part in zip(*each, strict=True))
    return Solutions(*parts, failed=search.failed)


class _Search:
    """The position of all problems, and their Hessians.

    Attributes:
        w: Coefficients, an array (B, p).
        values: Losses and gradients there.
        h: Hessians near them, an array (B, p, p).
        stale: Whether a target needs new Hessians, bools (T,).
        failed: Problems that did not converge, bools (B,).
    """

    def __init__(self, problems: Problems, null: Null, tol: float) -> None:
        self.problems, self.null, self.tol = problems, null, tol
        self.w, self.values = null.w.copy(), Values(*(v.copy() for v in null.values))
        features = self.w.shape[1]
        self.h = np.zeros((problems.number, features, features))
        self.stale = np.ones(len(problems.y), bool)
        self.failed = ~null.is_usual
        self.allowed = allowed_violation(tol / 2, 1.0) * null.error
        fold = np.arange(problems.number) % problems.folds
        self.factors = problems.shared.l1[fold], problems.shared.l2[fold]

    def solve(self, strength: np.ndarray) -> tuple[np.ndarray, ...]:
        """Coefficients, losses, gaps, violations and steps at strengths (B,)."""
        self.l1, self.l2 = (strength[:, None] * part for part in self.factors)
        gap, violation = np.full((2, len(strength)), np.nan)
        steps = np.zeros(len(strength), int)
        left = np.flatnonzero(~self.failed)
        for _ in range(_STEPS):
            there = self.violation(left)
            ends = left[there <= self.allowed[left]]
            gap[ends], violation[ends] = self.certificates(ends)
            goes_on = ~(gap[left] <= self.tol)
            left, there = left[goes_on], there[goes_on]
            if not left.size:
                break
            self.refresh(left)
            length = self.move(left, there)
            steps[left] += 1
            rate = self.violation(left) / there
            self.judge(left, np.where(length < 1, 1.0, rate))
        self.failed[left] = True
        return self.w.copy(), self.values.loss.copy(), gap, violation, steps

    def violation(self, which: np.ndarray) -> np.ndarray:
        """The largest violations of the optimality conditions, an array (B,)."""
        w = self.w[which]
        gradient = self.values.gradient[which] + self.l2[which] * w
        return violations(w, gradient, self.l1[which])

    def penalty(self, w: np.ndarray, which: np.ndarray) -> np.ndarray:
        """Σ l1 · |w| + ½ Σ l2 · w², an array (B,); coefficients with l1 = ∞ are zero."""
        l1 = np.where(np.isinf(self.l1[which]), 0.0, self.l1[which])
        return np.sum(l1 * abs(w) + self.l2[which] * w**2 / 2, axis=1)

    def refresh(self, left: np.ndarray) -> None:
        """Make the Hessians that are needed, at the coefficients for all data."""
        folds = self.problems.folds
        for target in np.unique(left // folds):
            if self.stale[target]:
                last = (target + 1) * folds
                made = self.problems.hessians(self.w[last - 1], target)
                self.h[target * folds : last] = made
                self.stale[target] = False

    def judge(self, left: np.ndarray, rate: np.ndarray) -> None:
        """Decide which targets need new Hessians.

        It pays if it saves more steps than it costs. Corrected ones are hardly worse, so
        that one for each target is often enough.
        """
        there = self.violation(left)
        off = np.maximum(np.log(np.maximum(there, 1e-300) / self.allowed[left]), 0.0)
        with_old = off / -np.log(np.clip(rate, 1e-6, 0.99))
        saved = np.where(off > 0, with_old - off / -np.log(_NEW_RATE), 0.0)
        target = left // self.problems.folds
        gain = np.bincount(target, saved, minlength=len(self.stale))
        self.stale |= gain > self.w.shape[1] / 2

    def move(self, left: np.ndarray, there: np.ndarray) -> np.ndarray:
        """Newton steps, halved until the objective falls enough: their lengths (B,)."""
        w, before, l1, l2 = self.w[left], self.values.at(left), self.l1[left], self.l2[left]
        rounded = 1e-12 * np.max(abs(before.gradient), axis=1)
        tol = np.maximum(1e-3 * there, rounded)
        z = lasso_steps(self.h[left], before.gradient, w, l1, l2, tol)
        start = self.penalty(w, left)
        rise = self.penalty(z, left) - start
        expected = np.einsum("bi,bi->b", before.gradient, z - w) + rise
        rounding = 1e-14 * (abs(before.loss + start) + self.null.loss[left])
        length, tried = np.ones(len(left)), np.arange(len(left))
        for _ in range(_HALVINGS):
            which = left[tried]
            ends = w[tried] + length[tried, None] * (z[tried] - w[tried])
            # Not w + (z − w), which leaves rounding errors in the place of zeros.
            ends = np.where(length[tried, None] == 1, z[tried], ends)
            found = self.problems.evaluate(ends, which)
            after = found.loss + self.penalty(ends, which)
            bound = before.loss + start + rounding
            bound = bound[tried] + 1e-4 * length[tried] * expected[tried]
            falls = after <= bound
            self.w[which[falls]] = ends[falls]
            self.values.put(which[falls], found.at(falls))
            tried = tried[~falls]
            length[tried] /= 2
            if not tried.size:
                break
        self.learn(left, self.w[left] - w, self.values.gradient[left] - before.gradient)
        return length

    def learn(self, left: np.ndarray, moved: np.ndarray, change: np.ndarray) -> None:
        """Correct Hessians by how gradients changed along the last step (BFGS).

        Args:
            left: The problems.
            moved: The change of their coefficients, an array (B, p).
            change: The change of their gradients, an array (B, p).
        """
        along = np.einsum("bi,bi->b", moved, change)
        sizes = np.linalg.norm(moved, axis=1) * np.linalg.norm(change, axis=1)
        clear = np.flatnonzero(along > 1e-6 * sizes)
        left, moved, change, along = (v[clear] for v in (left, moved, change, along))
        product = np.matmul(self.h[left], moved[..., None])[..., 0]
        before = np.einsum("bi,bi->b", moved, product)
        up, down = change / np.sqrt(along)[:, None], product / np.sqrt(before)[:, None]
        pair = np.stack([up, down], axis=2)
        signed = np.stack([up, -down], axis=1)
        self.h[left] += pair @ signed

    def certificates(self, which: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Relative duality gaps, and violations at the dual points, arrays (B,).

        As `_candidate_model.duality_gap`, where l2 relaxes the bound on the gradients.
        """
        w, l1, l2 = self.w[which], self.l1[which], self.l2[which]
        values, ones = self.values.at(which), np.ones(len(which))
        # The slopes of an intercept must add up to zero.
        free = l1[:, -1] + l2[:, -1] == 0
        shift = np.where(free, values.gradient[:, -1] / values.curvature, 0.0)
        gradient, total = self.problems.dual(w, which, shift, ones)
        violation = violations(w, gradient + l2 * w, l1)
        hard = (l1 > 0) & (l2 == 0)
        ratio = np.max(np.where(hard, abs(gradient) / np.where(hard, l1, 1), 0), axis=1)
        scale = 1 / np.maximum(ratio, 1.0)
        again = np.flatnonzero(scale < 1)
        if again.size:
            _, total[again] = self.problems.dual(
                w[again], which[again], shift[again], scale[again]
            )
        excess = np.maximum(scale[:, None] * abs(gradient) - l1, 0.0)
        excess = np.where(l2 > 0, excess, 0.0)
        conjugate = np.sum(excess**2 / np.where(l2 > 0, 2 * l2, 1.0), axis=1)
        primal = values.loss + self.penalty(w, which)
        gap = (primal + total + conjugate) / self.null.loss[which]
        return np.where(np.isnan(gap), np.inf, gap), violation
