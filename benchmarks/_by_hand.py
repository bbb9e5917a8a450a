"""Steps written by hand, with nothing but what the mathematics needs, to compare ours with.

No checks, no masks, no schedules, no powers of two against overflow; matrices alone are
regularized. Leaves are taken one after the other, as ours are, unless `in_turn` is false.
"""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import optax
from _subjects import LEARNING_RATE, Optimizers

from jaxreg._scheduling import after, finished

STRENGTH, WINDOW, WARMUP = 1e-4, 1000, 100
AT_ONCE = 2**19

Leaf = Callable[..., Sequence[Any]]
"""From w, the count, g and the arrays of the state: the update and the new arrays."""


def adam(
    w: jax.Array, count: jax.Array, g: jax.Array, m: jax.Array, v: jax.Array
) -> tuple[jax.Array, jax.Array, jax.Array, jax.Array]:
    """Adam's update, its new moments and its metric."""
    m, v = 0.9 * m + 0.1 * g, 0.999 * v + 0.001 * g * g
    metric = jnp.sqrt(v / (1 - 0.999**count)) + 1e-8
    return -LEARNING_RATE * (m / (1 - 0.9**count)) / metric, m, v, metric


def dual_averaging(w: Any, count: Any, g: Any, m: Any, v: Any, q: Any) -> Sequence[Any]:
    """Dual averaging with L1: y = d·z/(n·rate) is q inside of [−strength, strength]."""
    update, m, v, metric = adam(w, count, g, m, v)
    n = jnp.minimum(count, WINDOW)
    reach = n * LEARNING_RATE / metric
    # Both arrays that follow need the old ones: XLA on the CPU copies w and q.
    y = (w + update + (1 - 1 / n) * reach * q) / reach
    q = jnp.clip(y, -STRENGTH, STRENGTH)
    return reach * (y - q) - w, m, v, q


def orthant(w: Any, count: Any, g: Any, m: Any, v: Any, mean: Any) -> Sequence[Any]:
    """L1 by orthants."""
    mean = mean + (g - mean) / jnp.minimum(count, WINDOW)
    pull = mean - jnp.clip(mean, -STRENGTH, STRENGTH)
    q = jnp.where(w != 0, g + STRENGTH * jnp.sign(w), pull)
    update, m, v, _ = adam(w, count, q.astype(g.dtype), m, v)
    within = jnp.where((w + update) * w <= 0, -w, update)
    return jnp.where(w != 0, within, jnp.where(update * pull < 0, update, 0)), m, v, mean


def constrained(w: Any, count: Any, g: Any, m: Any, v: Any, row: Any) -> Sequence[Any]:
    """A bound of the mean square; `row` has the bound and the multiplier."""
    update, m, v, _ = adam(w, count, g, m, v)
    reached = w + update
    square = jnp.mean(jnp.square(reached))
    excess = jnp.maximum(0.0, row[1] + square - row[0])
    row = jnp.where(count > WARMUP, jnp.stack([row[0], excess]), jnp.stack([square, 0.0]))
    return reached / (1 + 2 * row[1]) - w, m, v, row


def group_lasso(w: Any, count: Any, g: Any, m: Any, v: Any) -> Sequence[Any]:
    """A group lasso of columns, with one Newton step that nothing checks."""
    update, m, v, metric = adam(w, count, g, m, v)
    x, offset = w + update, LEARNING_RATE * STRENGTH * w.shape[0] ** 0.5 / metric
    square = jnp.sum(jnp.square(x), 0)
    length = jnp.sqrt(square)
    root = length - jnp.sum(jnp.square(x) * offset, 0) / square
    is_zero = jnp.sum(jnp.square(x / offset), 0) <= 1
    rate = 1 / (root + offset)
    part = jnp.square(x * rate)
    total = jnp.sum(part, 0)
    root = root + total * (jnp.sqrt(total) - 1) / jnp.sum(part * rate, 0)
    return jnp.where(is_zero, 0, x * (root / (root + offset))) - w, m, v


def by_hand(
    leaf: Leaf, *extra: Callable[[jax.Array], jax.Array], in_turn: bool = True
) -> optax.GradientTransformation:
    """An optimizer of a step for matrices; vectors get Adam's.

    Args:
        leaf: The step of a matrix.
        *extra: What makes an array of the state, beside the moments, from a parameter.
        in_turn: Whether leaves wait for those before them.
    """

    def init(params: Any) -> Any:
        makers = jnp.zeros_like, jnp.zeros_like, *extra
        return jnp.zeros([], jnp.int32), *(jax.tree.map(make, params) for make in makers)

    def update(updates: Any, state: Any, params: Any = None) -> tuple[Any, Any]:
        count = state[0] + 1
        leaves, structure = jax.tree.flatten(params)
        columns = [structure.flatten_up_to(part) for part in (updates, *state[1:])]
        rows, moved, done = [], [], None
        for w, *row in zip(leaves, *columns, strict=True):
            number = count.astype(jnp.float32)
            args = w, number, *after(done if in_turn else None, row)
            new = leaf(*args) if w.ndim > 1 else (*adam(*args[:5])[:3], *row[3:])
            rows.append(new)
            moved.append(new[0])
            if sum(x.size for x in moved) >= AT_ONCE:
                done, moved = finished(moved), []
        parts = map(structure.unflatten, zip(*rows, strict=True))
        return next(parts), (count, *parts)

    return optax.GradientTransformation(init, update)


def steps_by_hand() -> Optimizers:
    """For rows of `optimizers` and `decays`, the same by hand."""

    def wide(w: jax.Array) -> jax.Array:
        return jnp.zeros_like(w, jnp.float32)

    def row(w: jax.Array) -> jax.Array:
        del w
        return jnp.zeros(2)

    return {
        "by hand: adam": lambda: by_hand(lambda *args: adam(*args)[:3], in_turn=False),
        "by hand: GroupLasso": lambda: by_hand(group_lasso),
        "by hand: constrained": lambda: by_hand(constrained, row),
        "by hand: orthant_wise": lambda: by_hand(orthant, wide, in_turn=False),
        "by hand: dual averaging": lambda: by_hand(dual_averaging, wide),
    }
