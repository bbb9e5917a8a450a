"""Every loop of least squares and `minimize` ends, whatever the choices in it."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from sklearn.datasets import load_diabetes

import jaxreg as jr
from jaxreg.solve.general import _accelerated, _implicit
from jaxreg.solve.lasso import _guesses, _homotopy, _screened, _swept
from jaxreg.solve.lasso._homotopy import EXCHANGE, GUESS, MOVE
from jaxreg.solve.lasso.knots import _Knots

X, Y = map(np.asarray, load_diabetes(return_X_y=True))


@pytest.fixture
def _homotopy_only(monkeypatch):
    """Programs with a planted choice are compiled, and used by nobody else."""
    monkeypatch.setattr(_screened, "SOLVERS", _screened.SOLVERS[1:])
    jax.clear_caches()
    yield
    jax.clear_caches()


def violated_for_ever(this):
    """Feature 0 goes in and out."""
    return jnp.where(jnp.arange(len(this.w)) == 0, 1.0, 0.0), jnp.asarray(False)


def no_progress(this):
    """A round whose exchanges change nothing."""
    zeros = jnp.zeros_like(this.w)
    return _homotopy.Decision(
        jnp.asarray(EXCHANGE), zeros, this.current.signs, this.state, jnp.asarray(False)
    )


@pytest.mark.usefixtures("_homotopy_only")
@pytest.mark.parametrize(
    ("name", "features"), [("_move", 10), ("_guess", 10), ("_guess", 300)]
)
def test_a_path_ends_with_a_warning(monkeypatch, name, features):
    monkeypatch.setattr(_homotopy, name, no_progress)
    x = np.random.default_rng(0).standard_normal((40, features))
    with pytest.warns(RuntimeWarning, match="solved only up to a duality gap"):
        found = jr.lasso_path(x, Y[:40], num=3, ratio=0.5)
    assert np.all(np.isfinite(found.gaps))
    assert found.gaps[-1] > 1e-6


@pytest.mark.usefixtures("_homotopy_only")
def test_guesses_that_never_settle_give_way_to_the_homotopy(monkeypatch):
    monkeypatch.setattr(_homotopy, "_violations", violated_for_ever)
    found = jr.lasso_path(X, Y, num=3, ratio=0.5)
    assert np.max(np.abs(found.gaps)) <= 1e-12


def test_guesses_give_way_to_the_homotopy(monkeypatch):
    """From the second block on, which no guess settles."""
    expected = jr.lasso_path(X, Y, num=30)
    settled, calls = _guesses.Guesses.settled, []

    def sometimes(self, strength, *others):
        calls.append(strength)
        found = settled(self, strength, *others)
        return found if strength >= expected.strengths[20] else None

    monkeypatch.setattr(_guesses.Guesses, "settled", sometimes)
    found = jr.lasso_path(X, Y, num=30)
    assert min(calls) < expected.strengths[20]
    assert len(calls) < 60
    np.testing.assert_allclose(found.coefficients, expected.coefficients, atol=1e-9)
    assert np.max(np.abs(found.gaps)) <= 1e-12


def test_guesses_of_long_steps_take_short_ones(monkeypatch):
    expected = jr.lasso_path(X, Y, num=4)
    settled, calls = _guesses.Guesses.settled, []

    def of_short_steps(self, strength, now, before):
        calls.append(strength)
        is_short = strength > 0.8 * now.strength
        return settled(self, strength, now, before) if is_short else None

    monkeypatch.setattr(_guesses.Guesses, "settled", of_short_steps)
    monkeypatch.setattr(_screened, "SOLVERS", _screened.SOLVERS[:1])
    found = jr.lasso_path(X, Y, num=4)
    assert len(calls) > 30
    np.testing.assert_allclose(found.coefficients, expected.coefficients, atol=1e-9)


def test_guesses_end(monkeypatch):
    """Features go in, and out because of their signs."""
    calls = []

    def solved(self, ridge, target, signs):
        calls.append(signs)
        assert len(calls) < 300
        return -signs, target + self.source.gram @ signs

    monkeypatch.setattr(_guesses.Guesses, "solved", solved)
    found = jr.lasso_path(X, Y, num=3, ratio=0.5)
    assert np.max(np.abs(found.gaps)) <= 1e-12
    assert calls


@pytest.mark.usefixtures("_homotopy_only")
def test_the_homotopy_ends_with_a_warning(monkeypatch):
    def failed_guess(this):
        mode = jnp.where(this.state.mode == GUESS, _homotopy.STEP, MOVE)
        return no_progress(this)._replace(state=this.state._replace(mode=mode))

    monkeypatch.setattr(_homotopy, "_guess", failed_guess)
    monkeypatch.setattr(_homotopy, "_step", no_progress)
    with pytest.warns(RuntimeWarning, match="solved only up to a duality gap"):
        jr.lasso_path(X, Y, num=3, ratio=0.5)


@pytest.mark.usefixtures("_homotopy_only")
def test_refinement_takes_few_steps(monkeypatch):
    """Conjugate gradients with a useless preconditioner."""
    calls = []

    def useless(gram, ridge, current, target, steps):
        calls.append(steps)
        current = current._replace(swept=0 * gram)
        return _swept.solve(gram, ridge, current, target, steps)

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
