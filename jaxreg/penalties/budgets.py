"""Constraints that are not convex: at most so many non-zeros, or so high a rank."""

from typing import Any, ClassVar

import jax.numpy as jnp
from jax import Array

from jaxreg._checks import Scalar
from jaxreg._groups import Entries, Groups
from jaxreg._tree import Leaf, Params
from jaxreg.operators.counts import (
    check_blocks,
    check_n_of_m,
    inside_count,
    inside_n_of_m,
    keep_largest,
    keep_n_of_m,
)
from jaxreg.operators.matrices import has_rank, truncated
from jaxreg.penalties._constraint import (
    Constraint,
    GroupConstraint,
    RoundedConstraint,
    zero_if,
)
from jaxreg.penalties._grouped import Axes
from jaxreg.penalties.fields import StrengthField, constant, static


class Cardinality(GroupConstraint):
    """At most `count` non-zeros in each group: the largest weights are kept.

        0 if all #{w_g ≠ 0} ≤ count · scale_g, and else ∞

    Best-subset selection, or magnitude pruning as a constraint: in `prox_sgd` it is
    iterative hard thresholding. By default every leaf has its budget; `together=""` makes
    one budget for all of them, `group_axis` and `labels` one for each group. The prox keeps
    the entries of largest d·w², of equal ones the first: exact in any diagonal metric. The
    count is traced, so it may change during training without compiling anew.

    Args:
        count: Non-negative number, array or pytree prefix, one number for each group.
        group_axis: The axis, or axes, that number the groups; see `GroupLasso`.
        scale: A factor for each group: `"none"`, a number or an array.
        labels: An integer for each index along `group_axis`; equal labels make one group.
        together: A regular expression that joins leaves; see `GroupLasso`.
        mask: Which leaves; by default `weights`.

    Raises:
        TypeError: If an argument is of the wrong type.
        ValueError: If a concrete count is negative or NaN; when used, if a leaf does not
            have the axis, or counts differ within a group.

    Example:
        >>> Cardinality(2).prox(jnp.array([3.0, -2.0, 0.5]))
        Array([ 3., -2.,  0.], dtype=float32)

    References:
        Blumensath and Davies, *Iterative thresholding for sparse approximations* (2008),
        section 3.
    """

    is_convex: ClassVar[bool] = False

    count: StrengthField = constant(default=1)
    group_axis: Axes = static(default=(), kw_only=True)

    def inside(self, x: Entries, groups: Groups) -> Array:
        return inside_count(groups, x, self.per_group(groups, self.count))

    def project(self, x: Entries, groups: Groups, metric: Entries | None) -> Entries:
        return keep_largest(groups, x, self.per_group(groups, self.count), metric)


class NOfM(Constraint):
    """At most `n` non-zeros in each block of `m` consecutive weights: 2:4 sparsity.

        0 if all #{w_b ≠ 0} ≤ n, and else ∞

    Nvidia's sparse tensor cores multiply by such matrices at twice the speed, with 2 of 4
    along the inputs of each unit: the axis −2 of the kernels of Dense, (inputs, units),
    and Conv, (height, width, channels, units). PyTorch stores (units, inputs), and has
    blocks along its last axis. The prox keeps the n entries of largest d·w² in each
    block, of equal ones the first: exact in any diagonal metric.

    Every leaf must be divisible into blocks. What is not, such as the first convolution
    with its three channels, is left out by a mask.

    Where the axis is sharded, nothing moves between devices that have whole blocks each;
    otherwise it is gathered on every device.

    Args:
        n: How many entries of a block may be non-zero.
        m: The length of a block.
        axis: The axis along which blocks lie.
        mask: Which leaves; by default `weights`.

    Raises:
        TypeError: If `n` or `m` is not an int.
        ValueError: If not 0 ≤ n ≤ m; when used, if a leaf has fewer than two axes or is
            not divisible into blocks.

    Example:
        >>> kernel = jnp.array([[0.1, 5.0], [-3.0, 4.0], [2.0, 3.0], [1.0, -9.0]])
        >>> NOfM(2, 4).prox(kernel)
        Array([[ 0.,  5.],
               [-3.,  0.],
               [ 2.,  0.],
               [ 0., -9.]], dtype=float32)

    References:
        Mishra and others, *Accelerating sparse deep neural networks* (2021), section 3;
        Zhou and others, *Learning N:M fine-grained structured sparse neural networks from
        scratch* (2021), section 3.
    """

    is_convex: ClassVar[bool] = False
    min_ndim: ClassVar[int] = 2

    n: int = static(default=2)
    m: int = static(default=4)
    axis: int = static(default=-2)

    def whole_axes(self, ndim: int) -> tuple[int, ...]:
        return ()

    def array_value(self, x: Array) -> Array:
        return zero_if(jnp.all(inside_n_of_m(x, self.n, self.m, self.axis)), x.dtype)

    def array_prox(self, x: Array, step: Scalar, metric: Array | None) -> Array:
        return keep_n_of_m(x, self.n, self.m, self.axis, metric)

    def at_leaves(self, tree: list[Leaf], params: Params) -> list[Any]:
        terms = super().at_leaves(tree, params)
        for leaf, term in zip(tree, terms, strict=True):
            if term is not None:
                self._check_leaf(leaf)
        return terms

    def _check_leaf(self, leaf: Leaf) -> None:
        try:
            check_blocks(leaf.value.shape, self.m, self.axis)
        except ValueError as error:
            raise ValueError(
                f"NOfM does not fit {leaf.described}: {error}. Choose other leaves "
                "with its mask."
            ) from None

    def __post_init__(self) -> None:
        super().__post_init__()
        check_n_of_m(self.n, self.m, "NOfM.")


class Rank(RoundedConstraint):
    """Matrices of a rank no higher than `rank`: small singular values become zero.

        0 if all matrices w have rank(w) ≤ rank, and else ∞

    Matrices are the last two axes; leading axes number them, as in stacked layers. The
    prox is the truncated singular value decomposition. Nothing like it is known in a
    diagonal metric, so this is for `prox_sgd`. Decompositions of large matrices are slow
    on accelerators. A sharded matrix is gathered on every device.

    Args:
        rank: Non-negative number or pytree prefix.
        tolerance: Singular values that are smaller than this count as zero, relative to
            the norm of the matrix; by default the rounding of the dtype.
        mask: Which leaves; by default `weights`.

    Raises:
        TypeError: If `rank` is not a real number, or the mask cannot choose leaves.
        ValueError: If a concrete rank is negative or NaN; when used, if a leaf has fewer
            than two axes, or for a prox in a diagonal metric.

    Example:
        >>> Rank(1).prox(jnp.array([[3.0, 0.0], [0.0, 2.0]]))
        Array([[3., 0.],
               [0., 0.]], dtype=float32)

    References:
        Eckart and Young, *The approximation of one matrix by another of lower rank*
        (1936); Jain, Meka and Dhillon, *Guaranteed rank minimization via singular value
        projection* (2010), section 2.
    """

    is_convex: ClassVar[bool] = False
    takes_metric: ClassVar[bool] = False
    min_ndim: ClassVar[int] = 2

    rank: StrengthField = constant(default=1)

    def whole_axes(self, ndim: int) -> tuple[int, ...]:
        return ndim - 2, ndim - 1

    def array_value(self, x: Array) -> Array:
        return zero_if(jnp.all(has_rank(x, self.rank, self.slack)), x.dtype)

    def array_prox(self, x: Array, step: Scalar, metric: Array | None) -> Array:
        return truncated(x, self.rank, self.slack)

    def check_prox(self, *, in_metric: bool) -> None:
        if in_metric:
            raise ValueError(
                "The nearest matrix of low rank is known in a uniform metric only, which "
                "that of prox_adam is not. Use Rank with prox_sgd, or with "
                "proximal(...) after an optimizer as a projection without guarantee."
            )
