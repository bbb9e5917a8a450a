"""A sweep is the loop that it replaces: compiled once, spread, interrupted, resumed."""

import errno
import shutil
import signal
import socket
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxreg as jr
from jaxreg.strength import _runs
from jaxreg.strength._saved import Saved
from tests.helpers.processes import outputs, start
from tests.helpers.sweeping import STRENGTHS, X, assert_same, keys, swept, train


@pytest.fixture(scope="module")
def expected():
    return swept()


# What it computes.


def test_it_is_a_loop_over_strengths_and_keys(expected):
    run = jax.jit(train)
    for i, strength in enumerate(STRENGTHS[::4]):
        for j, key in enumerate(keys()):
            alone = run(strength, key, X)
            for name in ("w", "sum", "zeros"):
                found = expected.results[name][4 * i, j]
                np.testing.assert_allclose(found, alone[name], rtol=1e-5, atol=1e-6)
    assert 0 < np.mean(expected.results["w"] == 0) < 1


@pytest.mark.parametrize("chunk", [2, 7, 9, 1000])
def test_chunks_of_any_size_compile_once(chunk, expected, compilations):
    found = swept(chunk=chunk)
    assert len(compilations) <= 1  # Equal layouts have been compiled before.
    assert_same(found, expected)
    swept(chunk=chunk)
    assert len(compilations) <= 1


def test_chunks_fit_into_memory(expected, compilations, monkeypatch):
    whole = expected.results["w"].nbytes
    monkeypatch.setattr(_runs, "_free_bytes", lambda device: whole)
    starts = []
    fetched = _runs._run_block
    monkeypatch.setattr(
        _runs, "_run_block", lambda *args: starts.append(args[-1]) or fetched(*args)
    )
    assert_same(swept(), expected)
    assert 1 < len(starts) < 39
    assert len(compilations) <= 2
    monkeypatch.setattr(_runs, "_free_bytes", lambda device: 1.0)
    starts.clear()
    assert_same(swept(), expected)
    assert len(starts) == 39


def test_the_memory_of_this_machine_is_known():
    free = _runs._free_bytes(jax.devices()[0])
    assert free is None or 2**20 < free < 2**50


def test_penalties_are_swept_with_what_they_share():
    penalty = jr.ElasticNet(l1=jnp.array([0.0, 1.0, 3.0]), l2=0.5)
    found = jr.sweep(lambda penalty: penalty.prox(jnp.array([1.0, 4.0])), penalty)
    for i, l1 in enumerate([0.0, 1.0, 3.0]):
        alone = jr.ElasticNet(l1, 0.5).prox(jnp.array([1.0, 4.0]))
        np.testing.assert_allclose(found.results[i], alone)
    table = found.table()
    assert table["l1"].tolist() == [0, 1, 3]
    assert table["l2"].tolist() == [0.5] * 3


def test_what_diverges_is_reported_and_disturbs_no_other():
    def descend(strength):
        def step(w, _):
            return w - 0.5 * (w - 1 + 2 * strength * w), None

        return {"w": jax.lax.scan(step, jnp.float32(0), length=500)[0], "step": 500}

    found = jr.sweep(descend, [0.0, 1.0, 9.0, 0.5])
    assert found.diverged.tolist() == [False, False, True, False]
    assert repr(found) == "Sweep of 4 runs, 1 diverged"
    np.testing.assert_allclose(found.results["w"][[0, 1, 3]], [1, 1 / 3, 0.5], rtol=1e-6)
    assert found.table()["diverged"].tolist() == found.diverged.tolist()


def test_the_table_has_a_row_for_each_run(expected):
    table = expected.table()
    assert list(table) == ["strength", "key", "half", "sum", "zeros", "diverged"]
    assert all(column.shape == (39,) for column in table.values())
    np.testing.assert_array_equal(table["strength"], STRENGTHS.repeat(3))
    np.testing.assert_array_equal(table["key"], np.tile([0, 1, 2], 13))
    np.testing.assert_array_equal(table["sum"], expected.results["sum"].ravel())
    named = jr.sweep(lambda x: {"strength": 2 * x, "other": x}, [1.0, 2.0]).table()
    assert named["strength"].tolist() == [1, 2]
    assert named["result/strength"].tolist() == [2, 4]
    plain = jr.sweep(lambda x: 3 * x, [1.0, 2.0]).table()
    assert plain["result"].tolist() == [3, 6]


def test_keys_of_both_kinds_and_functions_that_cannot_be_hashed():
    class Model:
        __hash__ = None  # pyright: ignore[reportAssignmentType]

        def __call__(self, strength, key):
            return strength + jax.random.normal(key)

    old = jax.random.split(jax.random.PRNGKey(1), 2)
    new = jax.random.wrap_key_data(old)
    results = [jr.sweep(Model(), [1.0, 2.0], keys=k).results for k in (old, new)]
    np.testing.assert_array_equal(*results)


def test_double_precision_is_kept():
    with jax.enable_x64(True):
        found = jr.sweep(lambda x: x / 3, [1.0]).results
    assert found.dtype == np.float64
    assert found[0] == 1 / 3


def test_progress_is_shown(capsys):
    swept(chunk=9, progress=True)
    assert "5/5" in capsys.readouterr().err


def test_says_how_to_install_tqdm(monkeypatch):
    monkeypatch.setitem(sys.modules, "tqdm.auto", None)
    with pytest.raises(ImportError, match=r'pip install "jaxreg\[progress\]"'):
        swept(progress=True)


# On many devices, in many processes.


def script(*arguments, devices=1):
    return start("tests.helpers.sweeping", *arguments, devices=devices)


def finished(*processes):
    assert all(printed.endswith("done\n") for printed in outputs(*processes))


@pytest.mark.exhaustive
@pytest.mark.processes
def test_the_same_on_a_mesh_of_eight_devices():
    finished(script("mesh", devices=8))


@pytest.mark.exhaustive
@pytest.mark.processes
def test_sweeps_and_every_transform_are_the_same_from_two_processes():
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = str(free.getsockname()[1])
    finished(*(script("process", str(rank), port, devices=4) for rank in range(2)))


# Interrupted.


@pytest.mark.processes
def test_a_killed_sweep_goes_on_where_it_was(tmp_path, expected, monkeypatch):
    process = script("killed", str(tmp_path))
    process.communicate(timeout=240)
    assert process.returncode == -signal.SIGKILL
    assert {path.name for path in tmp_path.glob("*.npz")} == {
        "chunk-000000.npz",
        "chunk-000001.npz",
    }
    saved = []
    save = Saved.save
    monkeypatch.setattr(
        Saved, "save", lambda self, *args: saved.append(args[0]) or save(self, *args)
    )
    assert_same(swept(directory=tmp_path, chunk=9), expected)
    assert saved == [2, 3, 4]  # Two chunks of five were kept, one was lost.
    again = swept(directory=tmp_path)
    assert saved == [2, 3, 4]
    assert_same(again, expected)
    assert again.results["half"].dtype == jnp.bfloat16


def test_a_changed_sweep_is_refused(tmp_path):
    def run(strength, key, x):
        return x * strength + jax.random.normal(key)

    def other(strength, key, x):
        return x * strength + 2 * jax.random.normal(key)

    def sweep(run=run, strengths=STRENGTHS, k=0, x=1.0, **options):
        given = jax.random.split(jax.random.key(k), 2)
        data = jnp.float32(x)
        return jr.sweep(
            run, strengths, keys=given, data=data, directory=tmp_path, **options
        )

    first = sweep(chunk=4)
    np.testing.assert_array_equal(first.results, sweep().results)
    for changed, what in {
        "strengths": ({"strengths": STRENGTHS + 1}, "strengths, keys or folds differ"),
        "keys": ({"k": 1}, "strengths, keys or folds differ"),
        "data": ({"x": 2.0}, "it holds another one: data differ"),
        "program": ({"run": other}, "the program of train differ"),
        "results": ({"run": lambda *a: (run(*a), 1)}, "structure of the results differ"),
    }.values():
        with pytest.raises(ValueError, match=what):
            sweep(**changed)  # pyright: ignore[reportArgumentType]
    with pytest.raises(ValueError, match="which chunk=6 would not give.*Leave `chunk` out"):
        sweep(chunk=6)


def test_closed_over_data_is_part_of_the_program(tmp_path):
    def run(data):
        return jr.sweep(lambda x: x * data.sum(), [1.0, 2.0], directory=tmp_path)

    run(np.ones(3, np.float32))
    run(np.ones(3, np.float32))
    with pytest.raises(ValueError, match="the program of train differ"):
        run(np.ones(3, np.float32) * 2)


def doubled(strengths, directory, chunk=2):
    return jr.sweep(lambda x: 2 * x, strengths, directory=directory, chunk=chunk).results


GRID = np.arange(8, dtype=np.float32)


def test_a_directory_without_its_manifest_is_refused(tmp_path):
    doubled(GRID, tmp_path)
    (tmp_path / "sweep.json").unlink()
    for strengths in (GRID, GRID[:-1]):
        with pytest.raises(
            ValueError, match=r"chunk-000000.npz without sweep.json.*delete"
        ):
            doubled(strengths, tmp_path)


def test_a_chunk_in_the_place_of_another_is_refused(tmp_path):
    doubled(GRID, tmp_path)
    first, second = (tmp_path / f"chunk-00000{i}.npz" for i in (0, 1))
    shutil.copy(first, second)
    with pytest.raises(
        ValueError, match=r"chunk-000001.npz must hold chunk 1.*another.*Del"
    ):
        doubled(GRID, tmp_path)
    doubled(GRID + 1, tmp_path / "other")
    shutil.copy(tmp_path / "other" / second.name, second)
    with pytest.raises(
        ValueError, match=r"chunk-000001.npz must hold chunk 1.*other sweep"
    ):
        doubled(GRID, tmp_path)
    second.unlink()
    np.testing.assert_array_equal(doubled(GRID, tmp_path), 2 * GRID)


@pytest.mark.parametrize("kept", [0, 7, 300])
def test_damaged_files_are_named(tmp_path, kept):
    doubled(GRID, tmp_path)
    for name, cure in {
        "chunk-000002.npz": "Delete this file, and the same call computes the chunk again",
        "sweep.json": "Choose another directory, or delete",
    }.items():
        path = tmp_path / name
        whole = path.read_bytes()
        path.write_bytes(whole[:kept])
        with pytest.raises(ValueError, match=rf"{name} must.*damaged.*{cure}"):
            doubled(GRID, tmp_path)
        path.write_bytes(whole)
    (tmp_path / "sweep.json").write_text('{"block": [2]}')
    with pytest.raises(ValueError, match=r"sweep.json must.*damaged.*KeyError"):
        doubled(GRID, tmp_path)


@pytest.mark.parametrize("always", [True, False])
def test_a_full_disk_loses_nothing_that_has_been_computed(tmp_path, monkeypatch, always):
    write, calls = np.savez, []

    def savez(file, *leaves, **named):
        calls.append(file)
        if always or len(calls) == 2:
            file.write(b"half a file")
            raise OSError(errno.ENOSPC, "No space left on device")
        write(file, *leaves, **named)

    monkeypatch.setattr(np, "savez", savez)
    with pytest.warns(RuntimeWarning, match=r"cannot be saved as .*npz.*No space left"):
        found = doubled(GRID, tmp_path)
    np.testing.assert_array_equal(found, 2 * GRID)
    chunks = [] if always else [f"chunk-00000{i}.npz" for i in range(4)]
    assert sorted(p.name for p in tmp_path.iterdir()) == [*chunks, "sweep.json"]


def test_of_two_runs_that_begin_at_once_the_first_says_what_the_directory_is_for(tmp_path):
    first, second, other = (Saved(tmp_path, {"data": d}) for d in ("a", "a", "b"))
    assert first.begin((2, 3)) == (2, 3)
    assert second.begin((4, 3)) == (2, 3)
    with pytest.raises(ValueError, match="another one: data differ"):
        other.begin((2, 3))


@pytest.mark.exhaustive
@pytest.mark.processes
def test_two_processes_may_share_a_directory(tmp_path):
    finished(*(script("together", str(tmp_path)) for _ in range(2)))
    names = sorted(path.name for path in tmp_path.iterdir())
    assert names == [*(f"chunk-0000{i:02}.npz" for i in range(26)), "sweep.json"]


# Mistakes.


@pytest.mark.parametrize(
    ("kind", "mistake", "message"),
    [
        (ValueError, lambda: jr.sweep(abs, [0.1, -0.2]), "strengths must be non-neg.*-0.2"),
        (ValueError, lambda: jr.sweep(abs, [np.nan]), "strengths must be non-neg.*nan"),
        (TypeError, lambda: jr.sweep(abs, "strong"), "strengths must be a real number"),
        (ValueError, lambda: jr.sweep(abs, 0.1), "plain numbers only. For a single"),
        (ValueError, lambda: jr.sweep(abs, jnp.float32(1)), "numbers only. For a single"),
        (ValueError, lambda: jr.sweep(abs, []), "with a common first axis"),
        (ValueError, lambda: jr.sweep(abs, jr.L1(0.1)), "lengths of plain numbers only"),
        (
            ValueError,
            lambda: jr.sweep(abs, jr.ElasticNet(np.ones(2), np.ones(3))),
            r"common first axis.*got lengths \[2, 3\]",
        ),
        (ValueError, lambda: jr.sweep(abs, [1.0], chunk=0), "chunk must be at least 1"),
        (
            ValueError,
            lambda: jr.sweep(max, [1.0], keys=jax.random.key(0)),
            r"keys must be arrays with a common first axis.*\[\(\)\]",
        ),
        (TypeError, lambda: jr.sweep(lambda x: "done", [1.0]), "numbers, got 'done' in it"),
        (TypeError, lambda: jr.sweep(lambda x: None, [1.0]), "at least one array in it"),
        (
            TypeError,
            lambda: jr.sweep(lambda x: {"k": jax.random.key(0)}, [1.0]),
            "got keys at 'k': return jax.random.key_data",
        ),
    ],
)
def test_mistakes_are_named(kind, mistake, message):
    with pytest.raises(kind, match=message):
        mistake()
