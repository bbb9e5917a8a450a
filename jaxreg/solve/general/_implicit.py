"""Derivatives of a minimiser, from the equation that it solves.

A minimiser w is a fixed point of the proximal gradient step of any length t, in any
metric D:

    w = prox(w − t·D⁻¹∇f(w))

Let P be the Jacobian of the prox there and H the Hessian of f. When the inputs of f and the
penalty change, the right-hand side changes by b at fixed w, and the minimiser by dw with

    dw = b + P·(I − t·D⁻¹H)·dw

P is zero off the support (of the lasso, for example), so that only weights on the support
count. D·P is symmetric, as the prox is the gradient of a convex function; so conjugate
gradients solve

    D·P·(I − (I − t·D⁻¹H)·P)·u = D·P·(I − t·D⁻¹H)·b,    and    dw = b + P·u
"""

from collections.abc import Callable
from typing import Any, NamedTuple

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
    """The tangent of a minimiser, given tangents of the data and the strengths.

    Args:
        problem_of: Makes the problem from the inputs.
        inputs: All arrays that the loss and the penalty depend on.
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
    b = _change_of_step(problem_of, inputs, changes, solution, step, metric)
    linear = _linearised(problem_of(inputs), solution, step, metric)
    # JAX transposes a solve only if each leaf of its right-hand side depends on `changes`.
    nothing = 0.0 * sum(jnp.sum(x) for x in jax.tree.leaves(b))
    b = _combined(lambda x: x + nothing, b)
    return jax.lax.custom_linear_solve(
        linear.residual,
        b,
        lambda _, b: linear.solve(b),
        lambda _, b: linear.solve_transposed(b),
    )


def _change_of_step(
    problem_of: Callable[[Any], Problem],
    inputs: Any,
    changes: Any,
    solution: Values,
    step: Array,
    metric: Metric,
) -> Values:
    """b: how a proximal gradient step from a fixed w changes with the inputs."""
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
    return jax.jvp(reached, (primals,), (directions,))[1]


class _Linearised(NamedTuple):
    """The proximal gradient step at a minimiser, linearised in w.

    Attributes:
        hessian: The product with H.
        project: The product with P.
        step: The length t.
        metric: The diagonal D.
    """

    hessian: Callable[[Values], Values]
    project: Callable[[Values], Values]
    step: Array
    metric: Metric

    def residual(self, v: Values) -> Values:
        """The left-hand side of the linear equation, v − P·(I − t·D⁻¹H)·v."""
        return _combined(jnp.subtract, v, self.project(self._descend(v)))

    def solve(self, b: Values) -> Values:
        """The solution dw = b + P·u."""
        u = self._on_support(self._weigh(self.project(self._descend(b))))
        return _combined(jnp.add, b, self.project(u))

    def solve_transposed(self, b: Values) -> Values:
        """The product of b with the transpose of the inverse of `residual`."""
        natural = self._unweigh(b)
        u = self._on_support(self._weigh(self.project(natural)))
        inner = self._descend(self.project(u))
        return self._weigh(_combined(jnp.add, natural, inner))

    def _descend(self, v: Values) -> Values:
        """(I − t·D⁻¹H)·v."""
        t, h = self.step, self.hessian(v)
        return _combined(lambda v, h, d: v - t * h / d, v, h, self.metric)

    def _on_support(self, b: Values) -> Values:
        """The solution u of D·P·(I − (I − t·D⁻¹H)·P)·u = b."""

        def normal(u: Values) -> Values:
            return self._weigh(self.residual(self.project(u)))

        return _conjugate_gradients(normal, b, self._unweigh, self.step.dtype)

    def _weigh(self, v: Values) -> Values:
        return _combined(jnp.multiply, v, self.metric)

    def _unweigh(self, v: Values) -> Values:
        return _combined(jnp.divide, v, self.metric)


def _linearised(
    problem: Problem, solution: Values, step: Array, metric: Metric
) -> _Linearised:
    # Hessians are symmetric, so that their products may be those of the transpose: reverse
    # mode also knows losses with a custom_vjp, forward mode does not.
    gradient, curve = jax.vjp(jax.grad(problem.smooth), solution)
    ahead = _combined(lambda w, g, d: w - step * g / d, solution, gradient, metric)
    project = jax.linearize(lambda x: problem.prox(x, step, metric), ahead)[1]
    return _Linearised(lambda v: curve(v)[0], project, step, metric)


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
