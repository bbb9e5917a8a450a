"""Finished blocks of runs on disk, so that a killed sweep can go on.

Plain npz files, one for each block, and a small json that says what they belong to. They
need no further package, any numpy can read them, and a rename makes each of them appear
whole or not at all.
"""

import hashlib
import json
import os
import pathlib
import re
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

Fingerprint = dict[str, str]
"""What identifies a sweep: digests of its parts, by name."""


def fingerprint(
    train: Callable[..., Any], axes: Sequence[Any], data: tuple[Any, ...]
) -> Fingerprint:
    """What a sweep is: its program, its points, its data, the shapes of its results."""
    points = [jax.tree.map(lambda x: x[0], axis) for axis in axes]
    program, results = jax.make_jaxpr(train, return_shape=True)(*points, *data)
    # Functions are printed with their addresses, which differ from process to process.
    text = re.sub(r"0x[0-9a-f]+", "", str(program.jaxpr))
    return {
        "the program of train": _digest(text, program.consts),
        "strengths, keys or folds": _digest(*axes),
        "data": _digest(data),
        "the structure of the results": _digest(str(results)),
    }


def _digest(*parts: Any) -> str:
    leaves, structure = jax.tree.flatten(parts)
    digest = hashlib.sha256(str(structure).encode())
    for leaf in leaves:
        if isinstance(leaf, str):
            digest.update(leaf.encode())
        elif isinstance(leaf, jax.Array) and not leaf.is_fully_addressable:
            digest.update(str(leaf.aval).encode())
        else:
            values = np.asarray(jax.random.key_data(leaf) if is_key(leaf) else leaf)
            digest.update(f"{values.dtype}{values.shape}".encode())
            digest.update(np.ascontiguousarray(values).tobytes())
    return digest.hexdigest()


def is_key(value: Any) -> bool:
    """Whether something is an array of random keys, which are no numbers."""
    dtype = getattr(value, "dtype", None)
    return dtype is not None and jnp.issubdtype(dtype, jax.dtypes.prng_key)


class Saved:
    """The directory of one sweep.

    Under several processes all of them read, and the first one writes: the file system
    must be a shared one.

    Attributes:
        block: The shape of its blocks, `None` if nothing has been saved yet.
    """

    def __init__(self, directory: pathlib.Path, identity: Fingerprint) -> None:
        self._directory = directory
        self._identity = identity
        self._manifest = directory / "sweep.json"
        self.block: tuple[int, ...] | None = None
        if self._manifest.exists():
            found = json.loads(self._manifest.read_text())
            changed = [
                part for part in identity if found["identity"].get(part) != identity[part]
            ]
            if changed:
                raise ValueError(
                    f"{directory} must be empty or hold the beginning of this sweep, but "
                    f"it holds another one: {', '.join(changed)} differ. Choose another "
                    "directory or delete this one."
                )
            self.block = tuple(found["block"])

    def begin(self, block: tuple[int, ...]) -> None:
        """Say what the directory is for, before the first block."""
        if self.block is None and jax.process_index() == 0:
            self._directory.mkdir(parents=True, exist_ok=True)
            manifest = {"identity": self._identity, "block": block}
            text = json.dumps(manifest, indent=1).encode()
            _write(self._manifest, lambda file: file.write(text))

    def has(self, number: int) -> bool:
        """Whether a block has been finished."""
        return self._path(number).exists()

    def load(self, number: int) -> list[np.ndarray]:
        """The arrays of a finished block."""
        with np.load(self._path(number)) as arrays:
            return [arrays[f"arr_{i}"] for i in range(len(arrays.files))]

    def save(self, number: int, leaves: Sequence[np.ndarray]) -> None:
        """Keep the arrays of a block."""
        if jax.process_index() == 0:
            _write(self._path(number), lambda file: np.savez(file, *leaves))

    def _path(self, number: int) -> pathlib.Path:
        return self._directory / f"chunk-{number:06}.npz"


def _write(path: pathlib.Path, fill: Callable[[Any], Any]) -> None:
    """Make a file appear at once and whole, or not at all."""
    unfinished = path.with_suffix(".unfinished")
    with unfinished.open("wb") as file:
        fill(file)
        file.flush()
        os.fsync(file.fileno())
    unfinished.replace(path)
