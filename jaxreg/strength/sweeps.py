"""Many strengths (and seeds) as one batched program."""

import dataclasses
import os
from collections.abc import Callable
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh

from jaxreg._checks import check_count, check_numbers, is_real
from jaxreg._tree import walk
from jaxreg.penalties import Penalty
from jaxreg.strength._runs import run_all


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Sweep:
    """The results of `sweep`: those of every run, in host memory.

    Attributes:
        strengths: The strengths, as they were given.
        results: A pytree like the results of one run, of numpy arrays with axes in front:
            strengths, then keys if there were any.
        diverged: For each run, whether something in its results is NaN or infinite.

    Example:
        >>> found = sweep(lambda strength: {"square": strength**2}, jnp.array([1.0, 3.0]))
        >>> found
        Sweep of 2 runs, none diverged
        >>> found.results
        {'square': array([1., 9.], dtype=float32)}
        >>> found.table()
        {'strength': array([1., 3.], dtype=float32),
         'square': array([1., 9.], dtype=float32), 'diverged': array([False, False])}
    """

    strengths: Any
    results: Any
    diverged: np.ndarray

    def table(self) -> dict[str, np.ndarray]:
        """One row for each run, as columns: `pandas.DataFrame(found.table())`.

        Returns:
            The strengths (by the names of their fields, if they are penalties), the number
            of the key if there were keys, every result that is one number per run, and
            whether the run diverged.
        """
        return table_of(self.strengths, self.results, self.diverged, ("key",))

    def __repr__(self) -> str:
        bad = int(np.sum(self.diverged))
        return f"Sweep of {self.diverged.size} runs, {bad or 'none'} diverged"


def sweep(
    train: Callable[..., Any],
    strengths: Any,
    *,
    keys: Any = None,
    data: Any = None,
    chunk: int | None = None,
    mesh: Mesh | None = None,
    progress: bool = False,
    directory: str | os.PathLike[str] | None = None,
) -> Sweep:
    """Train with every strength, and every key, as one batched and compiled program.

    The runs are a `vmap`, so they must have the same shapes. Otherwise `train` may be
    anything: any model, any optimizer, any result. With the same `train` and shapes,
    another sweep compiles nothing.

    **Memory.** All runs are trained at once if the compiler says that they fit into memory
    (on the CPU, into half of what is free), and otherwise in equal chunks that do, with one
    compilation more. Setting `chunk` skips that memory query, which compiles once more.

    **Devices.** On a mesh, each device trains its part of every chunk, without
    communication: all axes of the mesh are used, `data` is copied to every device, and
    numbers that do not divide are padded. Under `jax.distributed` call it on all
    processes, with a mesh of the devices of all; each gets all results. On a CPU, make
    every core a device, because a batch on one device keeps only part of them busy: set
    `XLA_FLAGS=--xla_force_host_platform_device_count=8` before importing JAX.

    **Interruptions.** With a `directory`, each finished chunk is saved there, and the same
    call continues where a killed one stopped, with at most one chunk run again. A sweep
    with another program, other strengths, keys or data is refused, and so are files that
    are damaged or belong elsewhere. Several runs of one sweep may share the directory. If
    the disk is full, there is a warning, and the sweep goes on in memory.

    A run that diverges is reported in `diverged` and disturbs no other.

    Args:
        train: A pure function of a strength; of a key as well, if there are `keys`; of the
            data as well, if there is `data`: `train(strength, key, data)`. It returns a
            pytree of arrays and numbers.
        strengths: Non-negative numbers, or any pytree of arrays whose first axis numbers
            the runs, such as a penalty: `L1(grid)`. `train` gets one of them. In a pytree,
            plain numbers are the same for all: `ElasticNet(l1=grid, l2=1e-4)`.
        keys: Random keys, as `jax.random.split` makes them, each of them for all strengths.
        data: A pytree of arrays that all runs share. Better than a closure: large arrays
            in a closure are compiled into the program.
        chunk: How many runs at once; by default as many as fit.
        mesh: Devices to spread the runs over, with Auto or Explicit axes.
        progress: Whether to show a bar (needs tqdm).
        directory: Where to save finished chunks; on a file system that all processes share.

    Returns:
        A `Sweep`.

    Raises:
        TypeError: If strengths are no numbers, or `train` returns something else than a
            pytree of arrays.
        ValueError: If a strength is negative or NaN, arrays differ in their first axis,
            `chunk` is less than 1, or `directory` holds another sweep.

    Example:
        Ridge regression at three strengths, with two seeds of noise:

        >>> def train(strength, key, x):
        ...     y = 2 * x + 0.1 * jax.random.normal(key, x.shape)
        ...     return {"w": x @ y / (x @ x + x.size * 2 * strength)}
        >>> keys = jax.random.split(jax.random.key(0), 2)
        >>> strengths = jnp.array([0.0, 0.5, 5.0])
        >>> found = sweep(train, strengths, keys=keys, data=jnp.arange(9.0))
        >>> found.results["w"].shape
        (3, 2)
        >>> found.results["w"].mean(axis=1).round(1)
        array([2. , 1.9, 1.4], dtype=float32)
    """
    axes = [strength_axis(strengths)]
    if keys is not None:
        axes.append(axis_of("keys", keys))
    check_chunk(chunk)
    results = run_all(
        train,
        axes,
        () if data is None else (data,),
        chunk=chunk,
        mesh=mesh,
        progress=progress,
        directory=directory,
    )
    return Sweep(strengths, results, diverged(results, len(axes)))


def strength_axis(strengths: Any) -> Any:
    """Strengths with a common first axis, checked."""
    if isinstance(strengths, list | tuple) and all(map(is_real, strengths)):
        strengths = np.asarray(strengths, np.result_type(float, np.float32))
    if not isinstance(strengths, Penalty):  # which has checked its own
        check_numbers("strengths", strengths)
    sizes = {np.shape(x)[0] for x in jax.tree.leaves(strengths) if np.ndim(x) > 0}
    if len(sizes) != 1 or 0 in sizes:
        one = " For a single strength, pass an array of one: jnp.array([0.1])."
        raise ValueError(
            "strengths must hold arrays with a common first axis, which numbers the "
            f"strengths, got lengths {sorted(sizes) or 'of plain numbers only'}."
            f"{'' if sizes else one}"
        )
    (size,) = sizes
    return jax.tree.map(
        lambda x: x if np.ndim(x) > 0 else np.broadcast_to(np.asarray(x), (size,)),
        strengths,
    )


def axis_of(name: str, tree: Any) -> Any:
    """A pytree of arrays with a common first axis, checked."""
    shapes = [np.shape(x) for x in jax.tree.leaves(tree)]
    lengths = {shape[0] if shape else 0 for shape in shapes}
    if len(lengths) != 1 or 0 in lengths:
        more = f" and {len(shapes) - 8} more" if len(shapes) > 8 else ""
        lists = ": turn lists of numbers into arrays" if () in shapes else ""
        raise ValueError(
            f"{name} must be arrays with a common first axis, of length 1 or more, got "
            f"shapes {shapes[:8]}{more}{lists}."
        )
    return tree


def check_chunk(chunk: int | None) -> None:
    """Refuse a `chunk` below 1.

    Raises:
        TypeError: If it is no whole number.
        ValueError: If it is less than 1.
    """
    if chunk is not None:
        check_count("chunk", chunk)


def diverged(results: Any, axes: int) -> np.ndarray:
    """For each run, whether something in its results is NaN or infinite."""
    leaves = jax.tree.leaves(results)
    bad = np.zeros(leaves[0].shape[:axes], bool)
    for leaf in leaves:
        if jax.numpy.issubdtype(leaf.dtype, jax.numpy.inexact):
            rest = tuple(range(axes, leaf.ndim))
            bad |= ~np.all(np.isfinite(leaf), axis=rest)
    return bad


def table_of(
    strengths: Any, results: Any, bad: np.ndarray, axes: tuple[str, ...]
) -> dict[str, np.ndarray]:
    """Columns with one entry for each run; `axes` names those after the strengths."""
    shape = bad.shape
    columns: dict[str, np.ndarray] = {}
    for path, values in _columns(strength_axis(strengths), "strength", 1):
        columns[path] = np.broadcast_to(
            values.reshape(-1, *[1] * (len(shape) - 1)), shape
        ).ravel()
    for axis, name in enumerate(axes[: len(shape) - 1], start=1):
        columns[name] = np.indices(shape)[axis].ravel()
    for path, values in _columns(results, "result", len(shape)):
        columns[path if path not in columns else f"result/{path}"] = values.ravel()
    return {**columns, "diverged": bad.ravel()}


def _columns(tree: Any, name: str, axes: int) -> list[tuple[str, np.ndarray]]:
    """The leaves that are one number for each run, by path."""
    return [
        (leaf.path if leaf.names else name, np.asarray(leaf.value))
        for leaf in walk(tree)
        if not leaf.is_missing and np.ndim(leaf.value) == axes
    ]
