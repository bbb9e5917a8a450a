"""Penalties on the singular values of weight matrices."""

from typing import ClassVar

import jax.numpy as jnp
from jax import Array

from jaxreg._arithmetic import quotient, times, times_square
from jaxreg._checks import Scalar
from jaxreg.operators import abs_zero_subgradient
from jaxreg.operators.matrices import (
    dot,
    nuclear_norm,
    singular_value_threshold,
    singular_values,
)
from jaxreg.penalties._coupled import Coupled
from jaxreg.penalties.fields import ONE, StrengthField, static
from jaxreg.penalties.grouped import L1Linf


class _Spectral(Coupled):
    """A penalty on matrices: the last two axes of a leaf, or a kernel seen as one."""

    takes_metric: ClassVar[bool] = False
    min_ndim: ClassVar[int] = 2

    flatten: bool = static(default=False, kw_only=True)

    def beside(self, ndim: int) -> tuple[int, ...]:
        return () if self.flatten else tuple(range(ndim - 2))

    def matrices(self, x: Array) -> Array:
        """The array as a matrix, or as a stack of them."""
        return jnp.reshape(x, (-1, x.shape[-1])) if self.flatten and x.size else x

    def per_matrix(self, number: Scalar) -> Array:
        """A strength that broadcasts to the array, for each matrix of the stack."""
        number = jnp.asarray(number)
        return jnp.squeeze(number, tuple(range(-min(number.ndim, 2), 0)))


class NuclearNorm(_Spectral):
    """The nuclear norm: makes matrices low in rank.

        strength · Σ σᵢ(W)

    It is to the rank what L1 is to the number of weights: the prox moves all singular
    values towards zero and removes the small ones. Its gradient is U·Vᵀ, and 0 for what
    is already removed; it is finite at repeated singular values, as those of an
    orthogonal initialisation are.

    Matrices are the last two axes of a leaf; axes before them number a stack, as the
    layers of a scanned model are. A sharded matrix is gathered on every device.

    Args:
        strength: Non-negative number, array or pytree prefix. An array gives every matrix
            of a stack its strength, so it has length 1 along the last two axes.
        flatten: Take a leaf as one matrix whose columns are its last axis: a convolution
            kernel (height, width, in, out) as (height·width·in, out).
        mask: Which leaves; by default `weights`. They need two axes.

    Raises:
        TypeError: If `strength` is not a real number or the mask cannot choose leaves.
        ValueError: If a concrete strength is negative or NaN; when used, if a leaf has
            fewer than two axes, or for a prox in a diagonal metric.

    Example:
        >>> NuclearNorm(0.5)(jnp.array([[3.0, 0.0], [0.0, -1.0]]))
        Array(2., dtype=float32)
        >>> NuclearNorm(0.5).prox(jnp.array([[3.0, 0.0], [0.0, 0.25]]))
        Array([[2.5, 0. ],
               [0. , 0. ]], dtype=float32)

    References:
        Fazel, Hindi and Boyd, *A rank minimization heuristic with application to minimum
        order system approximation* (2001); Cai, Candès and Shen, *A singular value
        thresholding algorithm for matrix completion* (2010), section 2.1.
    """

    is_norm: ClassVar[bool] = True

    strength: StrengthField = ONE

    def array_value(self, x: Array) -> Array:
        values = nuclear_norm(self.matrices(x))
        return jnp.sum(times(self.per_matrix(self.strength), values))

    def joint_prox(self, x: Array, step: Scalar, metric: Array | None) -> Array:
        threshold = times(self.strength, step)
        return jnp.reshape(singular_value_threshold(self.matrices(x), threshold), x.shape)

    def joint_critical_scale(self, gradient: Array) -> Array:
        pulls = jnp.max(singular_values(self.matrices(gradient)), axis=-1)
        return quotient(pulls, self.per_matrix(self.strength))


class SpectralNorm(_Spectral):
    """The largest singular value: bounds how much a layer can amplify.

        strength · max σᵢ(W)

    The prox lowers the largest singular values to a common level and leaves the others,
    so layers come to amplify all directions alike. It removes a matrix altogether if
    `step · strength` is at least its nuclear norm. A sharded matrix is gathered on every
    device.

    Args:
        strength: Non-negative number, array or pytree prefix; one number for each matrix,
            as in `NuclearNorm`.
        flatten: Take a leaf as one matrix whose columns are its last axis; see
            `NuclearNorm`.
        mask: Which leaves; by default `weights`. They need two axes.

    Raises:
        TypeError: If `strength` is not a real number or the mask cannot choose leaves.
        ValueError: If a concrete strength is negative or NaN; when used, if a leaf has
            fewer than two axes, or for a prox in a diagonal metric.

    Example:
        >>> SpectralNorm(0.5)(jnp.array([[3.0, 0.0], [0.0, -1.0]]))
        Array(1.5, dtype=float32)
        >>> SpectralNorm(0.5).prox(jnp.array([[3.0, 0.0], [0.0, 1.0]]))
        Array([[2.5, 0. ],
               [0. , 1. ]], dtype=float32)

    References:
        Yoshida and Miyato, *Spectral norm regularization for improving the
        generalizability of deep learning* (2017), section 3, there squared; Parikh and
        Boyd, *Proximal Algorithms* (2014), section 6.7.3.
    """

    is_norm: ClassVar[bool] = True

    strength: StrengthField = ONE

    def array_value(self, x: Array) -> Array:
        values = abs_zero_subgradient(singular_values(self.matrices(x)))
        largest = jnp.max(values, axis=-1, initial=0.0)
        return jnp.sum(times(self.per_matrix(self.strength), largest))

    def joint_prox(self, x: Array, step: Scalar, metric: Array | None) -> Array:
        stack = self.matrices(x)
        values = singular_values(stack)
        # What singular values are lowered to: the prox of the largest entry of each row.
        rows = L1Linf()._with(
            strength=self.per_matrix(self.strength)[..., None],
            group_axis=tuple(range(values.ndim - 1)),
        )
        level = jnp.max(rows.array_prox(values, step, None), axis=-1)[..., None, None]
        lowered = stack - singular_value_threshold(stack, level)
        return jnp.reshape(jnp.where(level == 0, 0.0, lowered), x.shape)

    def joint_critical_scale(self, gradient: Array) -> Array:
        pulls = jnp.sum(singular_values(self.matrices(gradient)), axis=-1)
        return quotient(pulls, self.per_matrix(self.strength))


class Orthogonality(_Spectral):
    """Distance from orthogonality: pulls singular values to 1, not to 0.

        strength · ‖WᵀW − I‖²       (squared Frobenius norm, no half)

    of the smaller of the two products, WWᵀ for a matrix with more columns than rows: the
    columns, or the rows, are to be orthonormal. In singular values that is
    Σ (σᵢ² − 1)².

    It is smooth and belongs into the loss: `loss + penalty(params)`. It has no prox in
    closed form, it is not convex, and it is not zero at zero. A sharded matrix is gathered
    on every device.

    Args:
        strength: Non-negative number, array or pytree prefix; one number for each matrix,
            as in `NuclearNorm`.
        flatten: Take a leaf as one matrix whose columns are its last axis; see
            `NuclearNorm`.
        mask: Which leaves; by default `weights`. They need two axes.

    Raises:
        TypeError: If `strength` is not a real number or the mask cannot choose leaves.
        ValueError: If a concrete strength is negative or NaN; when used, if a leaf has
            fewer than two axes, or for a prox.

    Example:
        >>> Orthogonality(0.5)(jnp.array([[2.0, 0.0], [0.0, 1.0], [0.0, 0.0]]))
        Array(4.5, dtype=float32)

    References:
        Brock, Lim, Ritchie and Weston, *Neural photo editing with introspective
        adversarial networks* (2017), section 3.3; Bansal, Chen and Wang, *Can we gain
        more from orthogonality regularizations in training deep networks?* (2018),
        section 3.1.
    """

    is_convex: ClassVar[bool] = False
    has_prox: ClassVar[bool] = False
    is_zero_at_zero: ClassVar[bool] = False

    strength: StrengthField = ONE

    def array_value(self, x: Array) -> Array:
        x = self.matrices(x)
        short = x if x.shape[-2] <= x.shape[-1] else x.mT
        excess = dot(short, short.mT) - jnp.eye(short.shape[-2], dtype=x.dtype)
        strength = self.per_matrix(self.strength)[..., None, None]
        return jnp.sum(times_square(strength, excess))

    def joint_prox(self, x: Array, step: Scalar, metric: Array | None) -> Array:
        raise AssertionError("check_prox refuses this")

    def joint_critical_scale(self, gradient: Array) -> Array:
        return quotient(jnp.max(jnp.abs(gradient)), 0.0)
