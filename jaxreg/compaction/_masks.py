"""Arrays of what is known about another array's entries, small where they repeat.

Such an array has the rank of the one that it is about; along an axis it has either its
length, or length 1 where all indices are alike. What is known about the activations of a
batch is alike for all of its samples, so nothing here grows with the batch.
"""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

Shape = Sequence[int]


def uniform(ndim: int, value: Any) -> np.ndarray:
    """What is the same everywhere."""
    return np.full((1,) * ndim, value)


def broadcast(arrays: Sequence[np.ndarray], ndim: int) -> list[np.ndarray]:
    """Arrays of one common shape, where those of rank 0 are the same everywhere."""
    raised = [x.reshape((1,) * ndim) if x.ndim == 0 else x for x in arrays]
    shape = np.broadcast_shapes(*(x.shape for x in raised))
    return [np.broadcast_to(x, shape) for x in raised]


def expand(x: np.ndarray, axis: int, length: int) -> np.ndarray:
    """Have an axis in its length."""
    return np.broadcast_to(x, (*x.shape[:axis], length, *x.shape[axis + 1 :]))


def either(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Where one of two masks of one rank is true."""
    parts = broadcast([x, y], x.ndim)
    return parts[0] | parts[1]


def both(x: np.ndarray, y: np.ndarray, ndim: int) -> np.ndarray:
    """Where two masks are true."""
    parts = broadcast([x, y], ndim)
    return parts[0] & parts[1]


def any_along(x: np.ndarray, axes: Sequence[int]) -> np.ndarray:
    """Whether any index of the axes has it, which then have length 1."""
    return np.asarray(x.any(axis=tuple(axes), keepdims=True)) if axes else x


def is_same(x: np.ndarray, y: np.ndarray) -> bool:
    """Whether two masks of one rank say the same."""
    one, other = broadcast([x, y], x.ndim)
    return np.array_equal(one, other)


def any_but(x: np.ndarray, axis: int) -> np.ndarray:
    """For each index of an axis, whether any entry has it."""
    return np.asarray(x.any(axis=tuple(i for i in range(x.ndim) if i != axis)))


def all_but(x: np.ndarray, axis: int) -> np.ndarray:
    """For each index of an axis, whether all entries have it."""
    return np.asarray(x.all(axis=tuple(i for i in range(x.ndim) if i != axis)))


def along_axis(x: np.ndarray, axis: int, length: int) -> np.ndarray:
    """For each index of an axis, whether any entry has it: a vector."""
    return np.broadcast_to(any_but(x, axis), (length,))


def joined_dims(old: Shape, new: Shape) -> list[tuple[list[int], list[int]]] | None:
    """How a reshape joins and splits axes.

    Args:
        old: The shape before.
        new: The shape after.

    Returns:
        Pairs of axes before and after that hold the same entries, as few axes in each as
        can be; axes of length 1 are in none. `None` for arrays without entries.
    """
    if 0 in old or 0 in new:
        return None
    before = [i for i, n in enumerate(old) if n != 1]
    after = [i for i, n in enumerate(new) if n != 1]
    pairs: list[tuple[list[int], list[int]]] = []
    while before or after:  # Each round takes axes out of both.
        left, right = [before.pop(0)], [after.pop(0)]
        while (a := math.prod(old[i] for i in left)) != (
            b := math.prod(new[i] for i in right)
        ):
            if a < b:
                left.append(before.pop(0))
            else:
                right.append(after.pop(0))
        pairs.append((left, right))
    return pairs


def reshape(x: np.ndarray, old: Shape, new: Shape) -> np.ndarray:
    """What is known about an array after a reshape."""
    pairs = joined_dims(old, new)
    if pairs is None:
        return uniform(len(new), bool(x.any()) if x.dtype == bool else 0)
    shape = [1] * len(new)
    for left, right in pairs:
        if any(x.shape[i] > 1 for i in left):
            for i in left:
                x = expand(x, i, old[i])
            for i in right:
                shape[i] = new[i]
    return x.reshape(shape)


def any_product(
    x: np.ndarray, x_names: str, y: np.ndarray, y_names: str, out: str
) -> np.ndarray:
    """Whether any product is not zero: an `einsum` of 0 and 1, for masks.

    Args:
        x: A mask.
        x_names: A letter for each of its axes.
        y: Another.
        y_names: Likewise.
        out: The letters of the result; those of neither have length 1.

    Returns:
        The mask.
    """
    x_only = [i for i, name in enumerate(x_names) if name not in y_names + out]
    y_only = [i for i, name in enumerate(y_names) if name not in x_names + out]
    return sum_product(
        any_along(x, x_only), x_names, any_along(y, y_only), y_names, out, masks=True
    )


def sum_product(
    x: np.ndarray,
    x_names: str,
    y: np.ndarray,
    y_names: str,
    out: str,
    *,
    masks: bool = False,
) -> np.ndarray:
    """An `einsum` of two arrays, whose axes may have length 1 in one of them."""
    sizes = {
        name: max(n, m)
        for name, n, m in zip(
            x_names + y_names,
            x.shape + y.shape,
            [_size(name, y_names, y) for name in x_names]
            + [_size(name, x_names, x) for name in y_names],
            strict=True,
        )
    }
    both = [name for name in x_names if name in y_names]
    batch = [name for name in both if name in out]
    inner = [name for name in both if name not in out]
    rows = [name for name in x_names if name not in y_names]
    columns = [name for name in y_names if name not in x_names]
    left = _matrices(x, x_names, (batch, rows, inner), sizes, masks=masks)
    right = _matrices(y, y_names, (batch, inner, columns), sizes, masks=masks)
    product = np.matmul(left, right)
    order = [*batch, *rows, *columns]
    result = product.reshape([sizes[name] for name in order])
    dropped = tuple(i for i, name in enumerate(order) if name not in out)
    if dropped:  # of length 1, after `any_product`
        result = result.sum(axis=dropped)
    order = [name for name in order if name in out]
    result = result.transpose([order.index(name) for name in out if name in order])
    result = result.reshape([sizes.get(name, 1) for name in out])
    return result > 0 if masks else result


def _size(name: str, names: str, x: np.ndarray) -> int:
    return x.shape[names.index(name)] if name in names else 1


def _matrices(
    x: np.ndarray,
    names: str,
    parts: tuple[list[str], list[str], list[str]],
    sizes: dict[str, int],
    *,
    masks: bool,
) -> np.ndarray:
    order = [name for part in parts for name in part]
    x = x.transpose([names.index(name) for name in order])
    shape = [sizes[name] for name in order]
    dtype = np.float32 if masks else np.result_type(x.dtype, np.float32)
    x = np.broadcast_to(x, shape).astype(dtype)
    lengths = [int(np.prod([sizes[name] for name in part])) for part in parts]
    return x.reshape(lengths)
