"""Every loop of least squares and `minimize` ends, whatever the choices in it."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from sklearn.datasets import load_diabetes

import jaxreg as jr
from jaxreg.solve.general import _accelerated, _implicit
from jaxreg.solve.lasso import _homotopy, _pivots
from jaxreg.solve.lasso._homotopy import EXCHANGE, GUESS, MOVE
from jaxreg.solve.lasso.knots import _Knots

X, Y = map(np.asarray, load_diabetes(return_X_y=True))


@pytest.fixture(autouse=True)
def _compile_anew():
    """Programs with a planted choice are compiled, and used by nobody else."""
    jax.clear_caches()
    yield
    jax.clear_caches()


def wrong_for_ever(problem, basis, w, g, strength):
    """Feature 0 goes in and out."""
    del problem, g, strength
    return jnp.where(jnp.arange(len(w)) == 0, 1.0, 0.0), jnp.asarray(False)


def never_there(problem, basis, stage):
    """A move whose exchanges change nothing."""
    del problem
    zeros = jnp.zeros_like(stage.w)
    return _homotopy._Proposal(
        jnp.asarray(EXCHANGE), zeros, basis.signs, stage, jnp.asarray(False)
    )


def no_progress(problem, basis, stage, way, w, g, worn):
    """A guess or a step of the path that starts over."""
    del way, w, g, worn
    return never_there(problem, basis, stage)


@pytest.mark.parametrize(
    ("name", "plant", "features"),
    [("_move", never_there, 10), ("_guess", no_progress, 10), ("_guess", no_progress, 300)],
)
def test_a_path_ends_with_a_warning(monkeypatch, name, plant, features):
    monkeypatch.setattr(_homotopy, name, plant)
    x = np.random.default_rng(0).standard_normal((40, features))
    with pytest.warns(RuntimeWarning, match="solved only up to a duality gap"):
        found = jr.lasso_path(x, Y[:40], num=3, ratio=0.5)
    assert np.all(np.isfinite(found.gaps))
    assert found.gaps[-1] > 1e-6


def test_a_guess_that_never_settles_is_walked_instead(monkeypatch):
    monkeypatch.setattr(_homotopy, "_wrong", wrong_for_ever)
    found = jr.lasso_path(X, Y, num=3, ratio=0.5)
    assert np.max(np.abs(found.gaps)) <= 1e-12


def test_a_walk_ends_with_a_warning(monkeypatch):
    def guess_is_lost(problem, basis, stage, way, w, g, worn):
        mode = jnp.where(stage.mode == GUESS, _homotopy.WALK, MOVE)
        found = no_progress(problem, basis, stage, way, w, g, worn)
        return found._replace(stage=stage._replace(mode=mode))

    monkeypatch.setattr(_homotopy, "_guess", guess_is_lost)
    monkeypatch.setattr(_homotopy, "_walk", no_progress)
    with pytest.warns(RuntimeWarning, match="solved only up to a duality gap"):
        jr.lasso_path(X, Y, num=3, ratio=0.5)


def test_refinement_takes_few_steps(monkeypatch):
    """Conjugate gradients with a useless preconditioner."""
    calls = []

    def useless(gram, ridge, basis, target, steps):
        calls.append(steps)
        return _pivots_solve(gram, ridge, basis._replace(table=0 * gram), target, steps)

    _pivots_solve = _pivots.solve
    monkeypatch.setattr(_homotopy, "solve", useless)
    with pytest.warns(RuntimeWarning, match="solved only up to a duality gap"):
        jr.lasso_path(X, Y, num=3, ratio=0.5)
    assert calls


@pytest.mark.parametrize("finds", [True, False])
def test_knots_end_with_a_warning(monkeypatch, finds):
    monkeypatch.setattr(_Knots, "find_next", lambda self: finds)
    with pytest.warns(RuntimeWarning, match="The path ends at a strength of"):
        jr.solve.lasso_knots(X, Y)


def test_minimize_ends_with_a_warning(monkeypatch):
    monkeypatch.setattr(_accelerated, "residual_of", lambda *_: jnp.ones(()))
    with pytest.warns(RuntimeWarning, match="after 50 steps"):
        found = jr.minimize(
            jr.losses.Squared(X, Y), jr.L1(1.0), jnp.zeros(10), max_steps=50
        )
    assert found.steps == 50


def test_derivatives_end(monkeypatch):
    """Conjugate gradients that go nowhere."""
    monkeypatch.setattr(_implicit, "dot", lambda a, b: jnp.ones((), jnp.float32))

    def size(strength):
        found = jr.minimize(jr.losses.Squared(X, Y), jr.L1(strength), jnp.zeros(10))
        return jnp.sum(found.params)

    assert jax.grad(size)(1.0).shape == ()
