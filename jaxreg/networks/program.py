"""The program behind `select_inputs`: a dense fit, then paths from dense to sparse.

For one ridge strength and one start, all folds and the fit on all samples train side by
side, as lanes of one `vmap`. Lanes meet where a choice is made: when to stop the dense fit,
and from which strength of the first path the second one takes its penalty. Both go by the
mean score of the folds, so that the fit on all samples, which nothing is left to judge by,
follows them.

Shapes: l lanes (the folds, then all samples), f folds, t parts of a fold's test samples,
s strengths, n samples, p inputs.
"""

import dataclasses
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax import Array

from jaxreg._arithmetic import times
from jaxreg.masks.selection import as_mask, weights
from jaxreg.penalties import L2, GroupLasso, LassoNet, Penalty, adaptive
from jaxreg.strength.cross_validation import weighted_mean
from jaxreg.strength.paths import path
from jaxreg.transforms import prox_adam

METHODS = ("adaptive group lasso", "group lasso", "adaptive lassonet", "lassonet")
"""What `method` may be."""


def has_skip(method: str) -> bool:
    """Whether a method needs a skip connection."""
    return method.endswith("lassonet")


Loss = Callable[[Any, Any], Any]
"""The loss of each sample, of the network's outputs and the targets."""


class Schedule(NamedTuple):
    """How long to train, and how fast.

    Attributes:
        learning_rate: Of Adam and of `prox_adam`.
        dense_steps: At most so many steps of the dense fit.
        path_steps: Steps at each strength.
        patience: The dense fit stops after so many looks at the score, one every 50 steps,
            without a better one, and the best parameters are kept; `None` to go on to the
            end.
        batch_size: Samples of a step; `None` for all.

    Example:
        >>> Schedule(dense_steps=500)._replace(batch_size=128).path_steps
        40
    """

    learning_rate: float = 5e-3
    dense_steps: int = 2000
    path_steps: int = 40
    patience: int | None = 10
    batch_size: int | None = None


# Steps between two looks at the score of the dense fit.
_CHECK = 50
# Adam's second moments follow the gradients within some hundred steps: a path changes them.
_B2 = 0.99


class Data(NamedTuple):
    """What all runs share.

    Attributes:
        x: Inputs of all samples, a pytree of arrays (n, ...).
        y: Targets, a pytree of arrays (n, ...).
        train: For each lane, the weights of its training samples (l, n).
        test: For each fold, weights of parts of its other samples (f, t, n).
        strengths: The strengths of the path, rising (s,).
    """

    x: Any
    y: Any
    train: Array
    test: Array
    strengths: Array


@dataclasses.dataclass(frozen=True)
class Program:
    """A training function for `sweep`; equal ones are compiled once.

    Attributes:
        fn: The network, `fn(params, x)`.
        loss: The loss of each sample, `loss(outputs, y)`.
        unit: The group lasso with a strength of 1, whose groups are the inputs: of all
            weights that read them.
        method: One of `METHODS`.
        schedule: How long to train.
        bound: The penalty of LassoNet with a strength of 1, for methods with it.
    """

    fn: Callable[[Any, Any], Any]
    loss: Loss
    unit: GroupLasso
    method: str
    schedule: Schedule
    bound: LassoNet | None = None

    def __call__(self, ridge: Array, start: tuple[Any, Array], data: Data) -> Any:
        """Train with one ridge strength from one start.

        Args:
            ridge: The strength of `L2` on the other weights.
            start: Parameters, and a random key for minibatches.
            data: The data.

        Returns:
            `scores` (s, f, t), `used` (s, p) and `params` (s, ...) of the last path, the
            last two of the fit on all samples; and `dense_steps`, a number.
        """
        params, key = start
        lanes = data.train.shape[0]
        wide = jax.tree.map(lambda x: jnp.broadcast_to(x, (lanes, *jnp.shape(x))), params)
        dense, checks = self._dense(wide, ridge, key, data)

        def stage(carry: Any, number: Array) -> tuple[Any, Any]:
            params, factors = carry
            own = jax.random.fold_in(key, number)
            found, best = self._path(params, factors, ridge, own, data)
            return (best, jax.vmap(self._factors)(best)), found

        ones = jax.tree.map(jnp.ones_like, jax.vmap(self._factors)(dense))
        stages = 2 if self.method.startswith("adaptive") else 1
        _, found = jax.lax.scan(stage, (dense, ones), jnp.arange(stages) - stages)
        last = jax.tree.map(lambda x: x[-1], found)
        return {**last, "dense_steps": checks * _CHECK}

    def _dense(self, params: Any, ridge: Array, key: Array, data: Data) -> Any:
        """The fit of all inputs: the parameters with the best mean score of the folds.

        Returns:
            The parameters, and how many times the score was looked at.
        """
        optimizer = optax.adam(self.schedule.learning_rate, b2=_B2)
        checks = max(1, self.schedule.dense_steps // _CHECK)
        patience = self.schedule.patience or checks
        penalty = L2(ridge)

        def objective(params: Any, batch: Any) -> Array:
            return self._mean_loss(params, batch) + penalty(params)

        def is_open(state: Any) -> Array:
            count, _, best_at, _, _ = state
            return (count < checks) & (count - best_at < patience)

        def step(state: Any) -> Any:
            count, carry, best_at, best_score, best = state
            carry = self._train(
                lambda _: optimizer,
                objective,
                None,
                carry,
                jax.random.fold_in(key, count),
                _CHECK,
                data,
            )
            best_score, best, is_better = _better(
                self._scores(carry[0], data), carry[0], best_score, best
            )
            return count + 1, carry, jnp.where(is_better, count, best_at), best_score, best

        carry = params, jax.vmap(optimizer.init)(params)
        zero = jnp.zeros((), jnp.int32)
        end = jax.lax.while_loop(is_open, step, (zero, carry, zero, _WORST, params))
        best = end[1][0] if self.schedule.patience is None else end[-1]
        return best, end[0]

    def _path(
        self, params: Any, factors: Any, ridge: Array, key: Array, data: Data
    ) -> tuple[Any, Any]:
        """All strengths in turn, each from the parameters of the one before.

        Returns:
            The results, and the parameters of all lanes with the best mean score.
        """

        def penalty_of(strength: Array, factors: Any) -> Penalty:
            scaled = jax.tree.map(lambda factor: times(strength, factor), factors)
            others = L2(ridge, mask=weights & ~as_mask(self.unit.mask))
            return (self.bound or self.unit).replace(strength=scaled) + others

        def optimizer_of(penalty: Any) -> Any:
            return prox_adam(self.schedule.learning_rate, penalty, b2=_B2)

        def train(strength: Array, carry: Any) -> tuple[Any, Any]:
            lanes, count, best_score, best = carry
            penalties = jax.vmap(penalty_of, (None, 0))(strength, factors)
            lanes = self._train(
                optimizer_of,
                self._mean_loss,
                penalties,
                lanes,
                jax.random.fold_in(key, count),
                self.schedule.path_steps,
                data,
            )
            scores = self._scores(lanes[0], data)
            best_score, best, _ = _better(scores, lanes[0], best_score, best)
            own = jax.tree.map(lambda x: x[-1], lanes[0])
            results = {"scores": scores, "used": self._used(own), "params": own}
            return (lanes, count + 1, best_score, best), (results, best)

        def begin(params: Any, factors: Any) -> Any:
            return optimizer_of(penalty_of(jnp.ones(()), factors)).init(params)

        lanes = params, jax.vmap(begin)(params, factors)
        start = lanes, jnp.zeros((), jnp.int32), _WORST, params
        results, best = path(train, data.strengths, start)
        return results, jax.tree.map(lambda x: x[-1], best)

    def _train(
        self,
        optimizer_of: Callable[[Any], Any],
        objective: Callable[[Any, Any], Array],
        penalties: Any,
        lanes: Any,
        key: Array,
        steps: int,
        data: Data,
    ) -> Any:
        """Some steps of all lanes, which see the same samples, with their own weights."""
        samples = data.train.shape[1]
        size = self.schedule.batch_size or samples
        is_whole = size >= samples

        def step(lanes: Any, key: Any) -> tuple[Any, None]:
            x, y, train = data.x, data.y, data.train
            if not is_whole:
                index = jax.random.randint(key, (size,), 0, samples)
                x, y = jax.tree.map(lambda values: values[index], (x, y))
                train = train[:, index]

            def one(lane: Any, penalty: Any, weights: Array) -> Any:
                params, state = lane
                gradients = jax.grad(objective)(params, (x, y, weights))
                updates, state = optimizer_of(penalty).update(gradients, state, params)
                return optax.apply_updates(params, updates), state

            return jax.vmap(one)(lanes, penalties, train), None

        # Random numbers that nobody needs would still be compiled.
        keys = None if is_whole else jax.random.split(key, steps)
        return jax.lax.scan(step, lanes, keys, steps)[0]

    def _mean_loss(self, params: Any, batch: Any) -> Array:
        x, y, weights = batch
        # A batch may have no sample of a fold: it then teaches nothing.
        is_empty = jnp.sum(weights) == 0
        safe = jnp.where(is_empty, 1.0, weights)
        mean = weighted_mean(self.loss(self.fn(params, x), y), safe)
        return jnp.where(is_empty, 0.0, mean)

    def _scores(self, params: Any, data: Data) -> Array:
        """The mean losses of the parts of each fold's test samples (f, t)."""
        folds = data.test.shape[0]

        def of_fold(params: Any, parts: Array) -> Array:
            losses = self.loss(self.fn(params, data.x), data.y)
            return jax.vmap(lambda part: weighted_mean(losses, part))(parts)

        return jax.vmap(of_fold)(jax.tree.map(lambda x: x[:folds], params), data.test)

    def _factors(self, params: Any) -> Any:
        """The adaptive strengths of the inputs, 1 for the one with the largest norm.

        Where an input has left they are infinite. Networks of any scale then need the same
        strengths.
        """
        strengths: Any = adaptive(self.unit, params).strength
        least = jnp.min(jnp.stack([jnp.min(x) for x in jax.tree.leaves(strengths)]))
        return jax.tree.map(
            lambda x: jnp.where(jnp.isinf(x), x, x / jnp.where(jnp.isinf(least), 1, least)),
            strengths,
        )

    def _used(self, params: Any) -> Array:
        """For each input, whether it is in use (p,)."""
        strengths = jax.tree.leaves(adaptive(self.unit, params).strength)
        return jnp.isfinite(strengths[0]).ravel()


_WORST = jnp.finfo(jnp.float32).max  # Finite: a path refuses parameters that are not.


def _better(
    scores: Array, params: Any, best_score: Any, best: Any
) -> tuple[Any, Any, Array]:
    """The better of two fits by their mean scores, and whether it is the new one."""
    score = jnp.mean(scores)
    is_better = score < best_score  # Never of NaN.
    kept = jax.tree.map(lambda new, old: jnp.where(is_better, new, old), params, best)
    return jnp.where(is_better, score, best_score), kept, is_better
