"""Finished blocks of runs on disk, so that an interrupted sweep can continue.

One npz file for each block, and a json manifest that identifies the sweep. Any NumPy reads
them, and each file appears as a whole or not at all, because it is written under another
name and then renamed.
"""

import hashlib
import json
import os
import pathlib
import re
import uuid
import warnings
import zipfile
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

Fingerprint = dict[str, str]
"""Digests of the parts of a sweep, by name, which identify it."""


def fingerprint(
    train: Callable[..., Any], axes: Sequence[Any], data: tuple[Any, ...]
) -> Fingerprint:
    """The digests of a sweep's program, points, data and shapes of results."""
    points = [jax.tree.map(lambda x: x[0], axis) for axis in axes]
    program, results = jax.make_jaxpr(train, return_shape=True)(*points, *data)
    # Addresses of functions, which differ between processes, are left out.
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
    """Whether something is an array of random keys."""
    dtype = getattr(value, "dtype", None)
    return dtype is not None and jnp.issubdtype(dtype, jax.dtypes.prng_key)


_REMEDY = "Delete this file, and the same call computes the chunk again."


class Saved:
    """The directory of one sweep.

    With several processes all of them read and the first one writes, so they must share
    the file system. Independent runs of the same sweep may share the directory, because
    each file appears as a whole.

    Attributes:
        block: The shape of the blocks; `None` if nothing has been saved yet.
    """

    def __init__(self, directory: pathlib.Path, identity: Fingerprint) -> None:
        self._directory = directory
        self._identity = identity
        self._manifest = directory / "sweep.json"
        self.block: tuple[int, ...] | None = None
        if self._manifest.exists():
            self.block = self._read_manifest()
        elif found := sorted(directory.glob("chunk-*.npz")):
            raise ValueError(
                f"{directory} must be empty or hold the beginning of this sweep, but it "
                f"holds {found[0].name} without {self._manifest.name}, which says what the "
                "chunks belong to. Put that file back, choose another directory or delete "
                "this one."
            )

    def _read_manifest(self) -> tuple[int, ...]:
        """The shape of the blocks, if the manifest is that of this sweep."""
        try:
            found = json.loads(self._manifest.read_text())
            identity, block = dict(found["identity"]), tuple(map(int, found["block"]))
        except (ValueError, KeyError, TypeError) as error:
            raise ValueError(
                f"{self._manifest} must say what its directory holds, but it cannot be "
                f"read: it is damaged ({error!r}). Choose another directory, or delete "
                f"{self._directory} to start again."
            ) from error
        changed = [
            part for part in self._identity if identity.get(part) != self._identity[part]
        ]
        if changed:
            raise ValueError(
                f"{self._directory} must be empty or hold the beginning of this sweep, but "
                f"it holds another one: {', '.join(changed)} differ. Choose another "
                "directory or delete this one."
            )
        return block

    def begin(self, block: tuple[int, ...]) -> tuple[int, ...]:
        """Write the manifest, before the first block.

        Returns:
            The shape of the blocks: the given one, unless another run has just written its
            manifest.
        """
        if self.block is not None or jax.process_index() != 0:
            return block
        self._directory.mkdir(parents=True, exist_ok=True)
        text = json.dumps({"identity": self._identity, "block": block}, indent=1).encode()
        _write(self._manifest, lambda file: file.write(text), replace=False)
        return self._read_manifest()

    def has(self, number: int) -> bool:
        """Whether a block has been finished."""
        return self._path(number).exists()

    def load(self, number: int) -> list[np.ndarray]:
        """The arrays of a finished block.

        Raises:
            ValueError: If the file is damaged, or is not that block of this sweep.
        """
        path = self._path(number)
        try:
            with path.open("rb") as file, np.load(file) as arrays:
                tag = str(arrays["tag"])
                leaves = [arrays[f"arr_{i}"] for i in range(len(arrays.files) - 1)]
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
            raise ValueError(
                f"{path} must hold a finished chunk, but it cannot be read: it is damaged "
                f"({error!r}). {_REMEDY}"
            ) from error
        if tag != self._tag(number):
            raise ValueError(
                f"{path} must hold chunk {number} of this sweep, but it holds another "
                f"chunk, or one of another sweep. {_REMEDY}"
            )
        return leaves

    def save(self, number: int, leaves: Sequence[np.ndarray]) -> bool:
        """Keep the arrays of a block.

        Returns:
            Whether that was possible. If not, there is a warning.
        """
        if jax.process_index() != 0:
            return True
        path, tag = self._path(number), np.asarray(self._tag(number))
        try:
            _write(path, lambda file: np.savez(file, *leaves, tag=tag))
        except OSError as error:
            warnings.warn(
                f"A finished chunk cannot be saved as {path} ({error}). The sweep goes on, "
                "tries again at the end, and returns all results; but if it is interrupted "
                "before, this chunk must be computed again.",
                RuntimeWarning,
                stacklevel=2,
            )
            return False
        return True

    def _tag(self, number: int) -> str:
        """A digest that identifies a chunk of this sweep."""
        return _digest(json.dumps([self._identity, self.block, number]))

    def _path(self, number: int) -> pathlib.Path:
        return self._directory / f"chunk-{number:06}.npz"


def _write(path: pathlib.Path, fill: Callable[[Any], Any], *, replace: bool = True) -> None:
    """Write a file such that it appears as a whole, or not at all.

    Args:
        path: The file.
        fill: Writes its contents to an open file.
        replace: Whether to replace an existing file, or to keep it.
    """
    # A unique name, because other runs may be writing the same file.
    unfinished = path.with_name(f"{path.stem}-{uuid.uuid4().hex}.unfinished")
    try:
        with unfinished.open("xb") as file:
            fill(file)
            file.flush()
            os.fsync(file.fileno())
        if replace:
            unfinished.replace(path)
        else:
            _rename_if_new(unfinished, path)
    finally:
        unfinished.unlink(missing_ok=True)


def _rename_if_new(unfinished: pathlib.Path, path: pathlib.Path) -> None:
    """Rename a file unless the new name exists already."""
    try:
        path.hardlink_to(unfinished)
    except FileExistsError:
        return
    except OSError:  # A file system without links: the last writer wins.
        unfinished.replace(path)
