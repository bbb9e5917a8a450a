"""A function at every point of a product of axes, as one batched, compiled program.

The axes are strengths, keys and folds. The product is cut into blocks of equal shape, so
that one compilation serves all of them; within a block the runs are nested `vmap`s, so that
what depends on one axis only is computed once for all the others. On a mesh each device
runs a part of every block, without communication.
"""

import functools
import math
import os
import pathlib
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.experimental import multihost_utils
from jax.sharding import Mesh, PartitionSpec

from jaxreg._progress import progress_bar
from jaxreg._tree import walk
from jaxreg.strength._layouts import Layout, Spread, layout_of
from jaxreg.strength._saved import Saved, fingerprint, is_key

# The fraction of a device's free memory that a block may take. On a CPU, other processes
# need some of it.
_FRACTION = {"cpu": 0.5}
_FRACTION_ELSEWHERE = 0.9


def run_all(
    train: Callable[..., Any],
    axes: Sequence[Any],
    data: tuple[Any, ...],
    *,
    chunk: int | None,
    mesh: Mesh | None,
    progress: bool,
    directory: str | os.PathLike[str] | None,
) -> Any:
    """The results of `train` at every combination of points of the axes.

    Args:
        train: Called with a point of each axis, and then with `data`.
        axes: Pytrees of arrays whose first axis numbers the points.
        data: Arrays that all runs share.
        chunk: How many runs at once; `None` for as many as fit into memory.
        mesh: Devices to spread the runs over.
        progress: Whether to show a bar.
        directory: Where to save finished blocks.

    Returns:
        A pytree of numpy arrays like the results of one run, with an axis for each of
        `axes` in front.
    """
    train = _hashable(train)
    sizes = tuple(jax.tree.leaves(axis)[0].shape[0] for axis in axes)
    spread = None if mesh is None else Spread(mesh, int(np.argmax(sizes)))
    saved = None
    if directory is not None:
        saved = Saved(pathlib.Path(directory), fingerprint(train, axes, data))
    operands = tuple(axes), data
    if spread is not None:
        operands = spread.replicated(operands)
    layout = _choose_layout(train, sizes, chunk, spread, operands, saved)
    if saved is not None:
        # Another process may have started the same sweep meanwhile, with other blocks.
        saved.block = tuple(_from_first_process(saved.begin(layout.block)))
        layout = Layout(sizes, saved.block)
    return _run_blocks(train, layout, spread, operands, saved, progress)


def _run_blocks(
    train: Callable[..., Any],
    layout: Layout,
    spread: Spread | None,
    operands: Any,
    saved: Saved | None,
    progress: bool,
) -> Any:
    """The results of all blocks: loaded if they were saved, else run and saved."""
    starts = layout.starts()
    unsaved: list[int] = []
    done = [False] * len(starts)
    if saved is not None:
        done = _from_first_process([saved.has(number) for number in range(len(starts))])
    one = _shapes_of_one_run(train, layout, spread, operands)
    results = jax.tree.map(
        lambda leaf: np.empty((*layout.sizes, *leaf.shape), leaf.dtype), one
    )
    # Load finished blocks first: a damaged file is an error before anything runs.
    order = sorted(range(len(starts)), key=lambda n: not done[n])
    with progress_bar(progress, len(order), "chunk") as tick:
        for number in order:
            window = layout.window(starts[number])
            if saved is not None and done[number]:
                leaves = saved.load(number)
            else:
                block = _run_block(train, layout, spread, operands, starts[number])
                part = tuple(map(slice, layout.extent(starts[number])))
                leaves = [leaf[part] for leaf in jax.tree.leaves(block)]
                if saved is not None and not saved.save(number, leaves):
                    unsaved.append(number)
            for whole, part in zip(jax.tree.leaves(results), leaves, strict=True):
                whole[window] = part.view(whole.dtype)  # npz does not know bfloat16.
            tick()
    if saved is not None:
        for number in unsaved:
            window = layout.window(starts[number])
            saved.save(number, [leaf[window] for leaf in jax.tree.leaves(results)])
    return results


def _hashable(train: Callable[..., Any]) -> Callable[..., Any]:
    try:
        hash(train)
    except TypeError:
        return functools.partial(train)
    return train


def _choose_layout(
    train: Callable[..., Any],
    sizes: tuple[int, ...],
    chunk: int | None,
    spread: Spread | None,
    operands: Any,
    saved: Saved | None,
) -> Layout:
    """The blocks of the directory, or of `chunk`, or as large as memory allows."""
    requested = None if chunk is None else layout_of(sizes, chunk, spread)
    if saved is not None and saved.block is not None:
        known = Layout(sizes, saved.block)
        if requested not in (None, known):
            raise ValueError(
                f"The directory holds a sweep in blocks of {known.block} runs, which "
                f"chunk={chunk} would not give. Leave `chunk` out to continue it, or "
                "choose another directory."
            )
        return known
    if requested is not None:
        return requested
    fitting = _largest_layout(train, sizes, spread, operands)
    return Layout(sizes, tuple(_from_first_process(fitting.block)))


def _from_first_process(values: Sequence[int]) -> list[int]:
    """The values of the first process on all of them, which must run the same programs."""
    if jax.process_count() == 1:
        return list(values)
    agreed = multihost_utils.broadcast_one_to_all(np.asarray(values, np.int32))
    return [int(value) for value in agreed]


def _shapes_of_one_run(
    train: Callable[..., Any], layout: Layout, spread: Spread | None, operands: Any
) -> Any:
    """Shapes and dtypes of the results of one run, which must be arrays of numbers."""
    program, arguments, batched = _program_of(
        train, layout, spread, operands, layout.starts()[0]
    )
    block = jax.eval_shape(program, *arguments)
    leaves = [leaf for leaf in walk(block) if not leaf.is_missing]
    if not leaves:
        raise TypeError("train must return a pytree with at least one array in it.")
    for leaf in leaves:
        if is_key(leaf.value):
            raise TypeError(
                f"train must return arrays of numbers, got keys at {leaf.quoted}: return "
                "jax.random.key_data of them."
            )
    axes = sum(batched)
    return jax.tree.map(
        lambda leaf: jax.ShapeDtypeStruct(leaf.shape[axes:], leaf.dtype), block
    )


def _run_at(
    train: Callable[..., Any], axes: Any, data: tuple[Any, ...], indices: Sequence[Any]
) -> Any:
    """One run, at one index of each axis."""
    points = [
        jax.tree.map(lambda x, index=index: x[index], axis)
        for axis, index in zip(axes, indices, strict=True)
    ]
    return jax.tree.map(_as_array, train(*points, *data))


def _as_array(value: Any) -> Array:
    try:
        return jnp.asarray(value)
    except TypeError:
        raise TypeError(
            f"train must return a pytree of arrays and numbers, got {value!r} in it."
        ) from None


# The same function for equal arguments, so that JAX compiles it once.
@functools.lru_cache(maxsize=8)
def _program(
    train: Callable[..., Any], batched: tuple[bool, ...], spread: Spread | None
) -> Any:
    """The compiled function from indices on the axes, axes and data to a block."""

    def block(indices: tuple[Any, ...], axes: Any, data: Any) -> Any:
        def run(*indices: Any) -> Any:
            return _run_at(train, axes, data, indices)

        for axis in reversed(range(len(batched))):
            if batched[axis]:
                in_axes = [0 if other == axis else None for other in range(len(batched))]
                run = jax.vmap(run, in_axes)
        return run(*indices)

    if spread is None:
        return jax.jit(block)
    names, none = spread.mesh.axis_names, PartitionSpec()
    indices = tuple(
        PartitionSpec(names) if axis == spread.axis else none
        for axis in range(len(batched))
    )
    before = sum(batched[: spread.axis])
    return jax.jit(
        jax.shard_map(
            block,
            mesh=spread.mesh,
            in_specs=(indices, none, none),
            out_specs=PartitionSpec(*[None] * before, names),
            # The check would refuse a scan whose carry starts equal on all devices and
            # then differs.
            check_vma=False,
        )
    )


def _program_of(
    train: Callable[..., Any],
    layout: Layout,
    spread: Spread | None,
    operands: Any,
    start: tuple[int, ...],
) -> tuple[Any, tuple[Any, ...], tuple[bool, ...]]:
    """The program of a block, its arguments, and which axes are batched in its results."""
    indices: list[Any] = []
    batched: list[bool] = []
    for axis, (n, step, at) in enumerate(zip(*layout, start, strict=True)):
        is_sharded = spread is not None and axis == spread.axis
        length = spread.padded(step) if spread is not None and is_sharded else step
        # The last block repeats its last point, to have the shape of the others.
        index = np.minimum(at + np.arange(length, dtype=np.int32), n - 1)
        batched.append(is_sharded or length > 1)
        if spread is not None and is_sharded:
            indices.append(spread.sharded(index))
        else:
            index = index if batched[-1] else index[0]
            indices.append(index if spread is None else spread.replicated(index))
    program = _program(train, tuple(batched), spread)
    return program, (tuple(indices), *operands), tuple(batched)


def _run_block(
    train: Callable[..., Any],
    layout: Layout,
    spread: Spread | None,
    operands: Any,
    start: tuple[int, ...],
) -> Any:
    """The results of one block, on every process, with all axes in front."""
    program, arguments, batched = _program_of(train, layout, spread, operands, start)
    single = tuple(axis for axis, is_batched in enumerate(batched) if not is_batched)

    def fetched(array: Array) -> np.ndarray:
        if not array.is_fully_addressable:
            array = multihost_utils.process_allgather(array, tiled=True)
        return np.expand_dims(np.asarray(array), single)

    return jax.tree.map(fetched, program(*arguments))


def _largest_layout(
    train: Callable[..., Any], sizes: tuple[int, ...], spread: Spread | None, operands: Any
) -> Layout:
    """Blocks as large as memory allows, by the compiler's memory analysis."""
    whole = layout_of(sizes, math.prod(sizes), spread)
    devices = jax.local_devices() if spread is None else spread.mesh.local_devices
    free = _free_bytes(devices[0])
    if free is None:
        return whole
    program, arguments, _ = _program_of(train, whole, spread, operands, (0,) * len(sizes))
    needs = program.lower(*arguments).compile().memory_analysis()
    if needs is None:
        return whole
    needed = needs.temp_size_in_bytes + needs.output_size_in_bytes
    if needed <= free:
        return whole
    fitting = math.floor(math.prod(sizes) * free / needed)
    return layout_of(sizes, max(1, fitting), spread)


def _free_bytes(device: Any) -> float | None:
    """The memory that a block may take on a device; `None` if unknown."""
    stats = device.memory_stats()
    if stats and "bytes_limit" in stats:
        free = stats["bytes_limit"] - stats.get("bytes_in_use", 0)
        return _FRACTION.get(device.platform, _FRACTION_ELSEWHERE) * free
    try:
        free = os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError):  # not on this operating system
        return None
    return _FRACTION.get(device.platform, _FRACTION_ELSEWHERE) * free
