"""Derivatives of a minimiser, from the equation that it solves.

At a minimiser w a proximal gradient step of any length t, in any metric D, goes nowhere:

    w = prox(w − t·D⁻¹∇f(w))

With P the Jacobian of the prox there and H the Hessian of f, whatever f and the strengths
depend on moves w by dw, where b is what it moves the right-hand side by at fixed w:

    dw = b + P·(I − t·D⁻¹H)·dw

P is zero off the support (of the lasso, say), so only the weights on it take part. D·P is
symmetric, as the prox is the gradient of a convex function; so conjugate gradients solve

    D·P·(I − (I − t·D⁻¹H)·P)·u = D·P·(I − t·D⁻¹H)·b,    and    dw = b + P·u
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array
from jax.custom_derivatives import SymbolicZero

from jaxreg.solve.general._problem import Metric, Problem, Values, dot

_MOST_STEPS = 1000


def tangent(
    problem_of: Callable[[Any], Problem],
    inputs: Any,
    changes: Any,
    solution: Values,
    step: Array,
    metric: Metric,
) -> Values:
    """How a minimiser moves with what it depends on.

    Args:
        problem_of: From the inputs to the problem.
        inputs: What loss and penalty depend on, data and strengths.
        changes: Tangents of the inputs.
        solution: The minimiser.
        step: The length t of a proximal gradient step.
        metric: Its metric D.

    Returns:
        The tangent of the minimiser, a linear function of `changes`.

    References:
        Bertrand and others, *Implicit differentiation for fast hyperparameter selection
        in non-smooth convex learning* (2022), section 3.
    """
    leaves, structure = jax.tree.flatten(inputs)
    tangents = jax.tree.leaves(changes, is_leaf=_is_zero)
    moving = [i for i, change in enumerate(tangents) if not _is_zero(change)]

    def reached(moved: list[Array]) -> Values:
        replaced = dict(zip(moving, moved, strict=True))
        filled = [replaced.get(i, leaf) for i, leaf in enumerate(leaves)]
        problem = problem_of(jax.tree.unflatten(structure, filled))
        gradient = jax.grad(problem.smooth)(solution)
        return problem.descend(solution, gradient, step, metric)

    primals, directions = ([xs[i] for i in moving] for xs in (leaves, tangents))
    moved = jax.jvp(reached, (primals,), (directions,))[1]
    problem = problem_of(inputs)
    # Hessians are symmetric, so that their products may be those of the transpose: reverse
    # mode also knows losses with a custom_vjp, forward mode does not.
    gradient, curve = jax.vjp(jax.grad(problem.smooth), solution)
    ahead = _combined(lambda w, g, d: w - step * g / d, solution, gradient, metric)
    project = jax.linearize(lambda x: problem.prox(x, step, metric), ahead)[1]

    def relax(v: Values) -> Values:
        """A gradient step, (I − t·D⁻¹H)·v."""
        return _combined(lambda v, h, d: v - step * h / d, v, curve(v)[0], metric)

    def advance(v: Values) -> Values:
        """What is left over, v − P·(I − t·D⁻¹H)·v."""
        return _combined(jnp.subtract, v, project(relax(v)))

    def weigh(v: Values) -> Values:
        return _combined(jnp.multiply, v, metric)

    def unweigh(v: Values) -> Values:
        return _combined(jnp.divide, v, metric)

    def normal(u: Values) -> Values:
        return weigh(advance(project(u)))

    def on_support(b: Values) -> Values:
        return _conjugate_gradients(normal, weigh(project(b)), unweigh, step.dtype)

    def solve(_: Any, b: Values) -> Values:
        return _combined(jnp.add, b, project(on_support(relax(b))))

    def solve_transposed(_: Any, b: Values) -> Values:
        natural = unweigh(b)
        inner = on_support(natural)
        return weigh(_combined(jnp.add, natural, relax(project(inner))))

    # JAX transposes a solve only if each leaf of its right-hand side depends on `changes`.
    nothing = 0.0 * sum(jnp.sum(b) for b in jax.tree.leaves(moved))
    moved = _combined(lambda b: b + nothing, moved)
    return jax.lax.custom_linear_solve(advance, moved, solve, solve_transposed)


def _conjugate_gradients(
    apply: Callable[[Values], Values],
    b: Values,
    precondition: Callable[[Values], Values],
    dtype: Any,
) -> Values:
    """The solution of a symmetric, positive semidefinite system with b in its range.

    The program has the operator once, unlike that of `jax.scipy.sparse.linalg.cg`.
    """
    least = float(jnp.finfo(dtype).eps) ** 1.5 * dot(b, precondition(b))

    def advance(carry: Any) -> Any:
        count, x, rest, direction, size = carry
        image = apply(direction)
        curvature = dot(direction, image)
        length = jnp.where(curvature > 0, size / curvature, 0.0)
        x = _combined(lambda x, p: x + length * p, x, direction)
        rest = _combined(lambda r, q: r - length * q, rest, image)
        natural = precondition(rest)
        smaller = dot(rest, natural)
        direction = _combined(lambda z, p: z + smaller / size * p, natural, direction)
        return count + 1, x, rest, direction, smaller

    def goes_on(carry: Any) -> Array:
        return (carry[4] > least) & (carry[0] < _MOST_STEPS)

    natural = precondition(b)
    zeros = jax.tree.map(jnp.zeros_like, b)
    first = jnp.zeros((), jnp.int32), zeros, b, natural, dot(b, natural)
    return jax.lax.while_loop(goes_on, advance, first)[1]


def _is_zero(change: Any) -> bool:
    return isinstance(change, SymbolicZero)


def _combined(function: Callable[..., Array], *trees: Any) -> Any:
    """`jax.tree.map`, in the dtypes of the first tree."""
    return jax.tree.map(lambda *xs: function(*xs).astype(xs[0].dtype), *trees)
