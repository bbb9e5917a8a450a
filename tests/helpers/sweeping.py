"""A small training run to sweep over, and what other processes do with it.

`python -m tests.helpers.sweeping mesh`, `... killed DIRECTORY`, `... together DIRECTORY`,
`... process RANK PORT`.
"""

import os
import signal
import sys

import jax
import jax.numpy as jnp
import numpy as np

import jaxreg as jr
from jaxreg.strength._saved import Saved

STRENGTHS = np.linspace(0.0, 2.0, 13, dtype=np.float32)
X = np.sin(np.arange(36.0)).reshape(9, 4).astype(np.float32)


def keys():
    return jax.random.split(jax.random.key(0), 3)


def train(strength, key, x):
    start = jax.random.normal(key, (4,))
    penalty = jr.L1(strength)

    def step(w, _):
        w = penalty.prox(w - 0.3 * x.T @ (x @ w - 1) / len(x), 0.3)
        return w, jnp.sum(w)

    w, sums = jax.lax.scan(step, start, length=20)
    return {"w": w, "sum": sums[-1], "zeros": jnp.sum(w == 0), "half": jnp.bfloat16(w[0])}


def swept(**options):
    return jr.sweep(train, STRENGTHS, keys=keys(), data=X, **options)


def assert_same(found, expected):
    for path, value in jax.tree.leaves_with_path(expected.results):
        other = found.results[path[0].key]
        assert (other.dtype, other.shape) == (value.dtype, value.shape)
        tolerance = 1e-2 if path[0].key == "half" else 1e-6
        np.testing.assert_allclose(
            other.astype(np.float32), value.astype(np.float32), rtol=1e-5, atol=tolerance
        )


def meshes(*shape):
    names = "abc"[: len(shape)]
    for kind in (jax.sharding.AxisType.Auto, jax.sharding.AxisType.Explicit):
        yield jax.make_mesh(shape, tuple(names), axis_types=(kind,) * len(shape))


def on_a_mesh():
    """All runs on 8 devices, in chunks that divide and that do not."""
    assert jax.device_count() == 8
    expected = swept()
    for mesh in meshes(4, 2):
        for chunk in (None, 5, 24):
            assert_same(swept(mesh=mesh, chunk=chunk), expected)
    one = jr.sweep(lambda x: {"double": 2 * x}, [3.0], mesh=next(meshes(8)))
    assert one.results["double"].tolist() == [6.0]


def killed(directory):
    """A sweep in five chunks that is killed when the third has run but is not saved."""
    save = Saved.save

    def save_or_die(self, number, leaves):
        if number == 2:
            (self._directory / "chunk-000002.unfinished").write_bytes(b"half a file")
            os.kill(os.getpid(), signal.SIGKILL)
        return save(self, number, leaves)

    Saved.save = save_or_die
    swept(directory=directory, chunk=9)


def together(directory):
    """A sweep in twenty chunks, beside another one in the same directory."""
    assert_same(swept(directory=directory, chunk=2), swept())


def one_of_two(rank, port):
    """Half of the devices of a sweep, and of training with every transform."""
    # Not at the top: the other processes do without it.
    from tests.helpers.sharding import in_two_processes
    from tests.helpers.transforms import CONSTANT, SCHEDULED

    jax.distributed.initialize(f"localhost:{port}", 2, rank)
    assert jax.device_count() == 8
    assert jax.local_device_count() == 4
    expected = swept()
    for mesh in meshes(8):
        assert_same(swept(mesh=mesh, chunk=24), expected)
    checked = in_two_processes()
    assert len(checked) > len(CONSTANT + SCHEDULED)
    assert not any(checked.values()), checked


def main(what, *arguments):
    if what == "mesh":
        on_a_mesh()
    elif what == "killed":
        killed(*arguments)
    elif what == "together":
        together(*arguments)
    else:
        one_of_two(*map(int, arguments))
    sys.stdout.write("done\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
