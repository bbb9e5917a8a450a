"""Penalties on singular values: against other solvers, and where derivatives are hard."""

import warnings
from typing import Any

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, strategies as st

import jaxreg
from jaxreg import L1, L1Linf, NuclearNorm, Orthogonality, SpectralNorm
from tests.helpers.strategies import arrays, steps

SPECTRAL = [NuclearNorm, SpectralNorm, Orthogonality]
every_prox = pytest.mark.parametrize("cls", [NuclearNorm, SpectralNorm])
every_spectral = pytest.mark.parametrize("cls", SPECTRAL)

prox = jax.jit(lambda penalty, x, step=1.0: penalty.prox(x, step))


def close(actual, expected, rtol=1e-5, atol=1e-6):
    chex.assert_trees_all_close(actual, expected, rtol=rtol, atol=atol)


def draw(*shape: int, seed: int = 0, scale: float = 1.0) -> Any:
    return np.random.default_rng(seed).normal(size=shape, scale=scale).astype(np.float32)


def of_singular_values(sizes, shape, seed=0):
    """A matrix, or a stack of them, with given singular values."""
    u, _, vt = np.linalg.svd(
        np.random.default_rng(seed).normal(size=shape), full_matrices=False
    )
    return (u * np.asarray(sizes)) @ vt


# The formulas.


def test_values_by_hand():
    x = jnp.array([[0.0, 3.0], [-4.0, 0.0], [0.0, 0.0]])
    close(NuclearNorm(2.0)(x), 14.0)
    close(SpectralNorm(2.0)(x), 8.0)
    close(Orthogonality(2.0)(x), 2 * (8.0**2 + 15.0**2))
    close(Orthogonality(2.0)(x.T), Orthogonality(2.0)(x))


@given(x=arrays((4, 3)))
def test_values_are_those_of_the_singular_values(x):
    sizes = np.linalg.svd(np.float64(x), compute_uv=False)
    close(NuclearNorm(0.5)(x), 0.5 * np.sum(sizes), 1e-5, 1e-5)
    close(SpectralNorm(0.5)(x), 0.5 * np.max(sizes), 1e-5, 1e-5)
    close(Orthogonality(0.5)(x), 0.5 * np.sum((sizes**2 - 1) ** 2), 1e-4, 1e-4)


@every_prox
def test_prox_is_what_clarabel_finds(cls):
    cp = pytest.importorskip("cvxpy")
    rng = np.random.default_rng(0)
    tolerances = dict.fromkeys(("tol_gap_abs", "tol_gap_rel", "tol_feas"), 1e-10)
    kept = []
    for step in np.geomspace(1e-2, 20, 5):
        x, z = rng.normal(size=(3, 2), scale=2), cp.Variable((3, 2))
        value = cp.normNuc(z) if cls is NuclearNorm else cp.sigma_max(z)
        problem = cp.Problem(cp.Minimize(0.4 * step * value + 0.5 * cp.sum_squares(z - x)))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            problem.solve(solver=cp.CLARABEL, **tolerances)
        with jax.enable_x64(True):
            moved = np.asarray(prox(cls(0.4), x, step))
            reached = step * float(cls(0.4)(moved)) + 0.5 * np.sum((moved - x) ** 2)
        assert reached <= problem.value + 1e-7 * (1 + problem.value)
        np.testing.assert_allclose(moved, z.value, atol=1e-3)
        kept.append(np.any(moved))
    assert any(kept)
    assert not all(kept)


# Moreau, with conjugates that NumPy projects onto.


def clipped_singular_values(x, radius):
    u, sizes, vt = np.linalg.svd(x)
    return (u[:, : sizes.size] * np.minimum(sizes, radius)) @ vt[: sizes.size]


def nuclear_ball(x, radius):
    u, sizes, vt = np.linalg.svd(x)
    if np.sum(sizes) > radius:
        levels = (np.cumsum(sizes) - radius) / np.arange(1, sizes.size + 1)
        sizes = np.maximum(sizes - levels[np.flatnonzero(sizes > levels)[-1]], 0)
    return (u[:, : sizes.size] * sizes) @ vt[: sizes.size]


@pytest.mark.parametrize(
    ("cls", "project"),
    [(NuclearNorm, clipped_singular_values), (SpectralNorm, nuclear_ball)],
)
@given(x=arrays((4, 3)), step=steps)
def test_moreau(cls, project, x, step):
    removed = np.float64(x) - prox(cls(0.5), x, step)
    slack = 1e-5 * (1 + np.max(np.abs(x)))
    np.testing.assert_allclose(removed, project(np.float64(x), 0.5 * step), atol=slack)


# Special cases.


@given(sizes=arrays((3,)), step=steps, strength=st.floats(0.0, 3.0))
def test_diagonal_matrices_are_vectors(sizes, step, strength):
    x = np.diag(sizes)
    for cls, plain in (
        (NuclearNorm, L1(strength)),
        (SpectralNorm, L1Linf(strength, group_axis=())),
    ):
        close(cls(strength)(x), plain(sizes), 1e-5, 1e-5)
        moved = np.diag(prox(plain, sizes, step))
        close(prox(cls(strength), x, step), moved, 1e-5, 1e-5)
        close(cls(strength).strength_max(x), plain.strength_max(sizes), 1e-5, 1e-5)


@every_prox
def test_a_matrix_is_removed_exactly_at_its_dual_norm(cls):
    x = draw(4, 3)
    critical = float(cls().strength_max(x))
    sizes = np.linalg.svd(x, compute_uv=False)
    close(critical, np.max(sizes) if cls is NuclearNorm else np.sum(sizes))
    removed = np.asarray(cls(critical * (1 + 1e-5)).prox(x))
    assert not np.any(removed)
    assert not np.any(np.signbit(removed))
    assert np.any(cls(critical * (1 - 1e-3)).prox(x))


@every_spectral
def test_leading_axes_number_matrices(cls):
    x, strengths = draw(2, 3, 4, 3), np.float32(np.linspace(0.0, 1.5, 6))
    strengths = strengths.reshape(2, 3, 1, 1)
    each = [cls(float(s)) for s in strengths.ravel()]
    matrices = x.reshape(6, 4, 3)
    close(cls(0.3)(x), sum(cls(0.3)(matrix) for matrix in matrices))
    close(cls(strengths)(x), sum(p(m) for p, m in zip(each, matrices, strict=True)))
    if cls.has_prox:
        moved = [p.prox(m, 0.7) for p, m in zip(each, matrices, strict=True)]
        close(cls(strengths).prox(x, 0.7), jnp.stack(moved).reshape(x.shape))
        # One layer is no matter of the others.
        strongest = max(cls().strength_max(matrix) for matrix in matrices)
        close(cls().strength_max(x), strongest)
    message = "does not fit the array given.*one number for each"
    with pytest.raises(ValueError, match=message):
        cls(np.ones((4, 3)))(x)


@every_spectral
def test_a_convolution_kernel_as_one_matrix(cls):
    kernel = draw(3, 3, 2, 5)
    penalty, matrix = cls(0.3, flatten=True), kernel.reshape(18, 5)
    close(penalty(kernel), cls(0.3)(matrix))
    if cls.has_prox:
        close(penalty.prox(kernel).reshape(18, 5), cls(0.3).prox(matrix))
        close(penalty.strength_max(kernel), cls().strength_max(matrix))


# Derivatives.

HARD = {
    "plain": draw(4, 3).astype(float),
    "wide": draw(3, 4).astype(float),
    "orthogonal": of_singular_values([1, 1, 1], (4, 3)),
    "repeated": of_singular_values([2, 2, 0.5], (4, 3)),
    "deficient": of_singular_values([2, 1, 0], (4, 3)),
    "zero": np.zeros((4, 3)),
    "stack": of_singular_values([3, 1, 1], (2, 4, 3)),
}


def jacobians_of(cls):
    def outcome(x, strength):
        return cls(strength).prox(x, 0.7)

    return [jax.jit(derive(outcome, (0, 1))) for derive in (jax.jacfwd, jax.jacrev)]


JACOBIANS = {cls: jacobians_of(cls) for cls in (NuclearNorm, SpectralNorm)}


@pytest.mark.sampled(3)
@pytest.mark.parametrize("x", HARD.values(), ids=HARD.keys())
@every_prox
def test_derivatives_of_the_prox_are_right_where_those_of_scico_are_nan(cls, x):
    # The level of the spectral norm has a kink where singular values are equal.
    direction = x if cls is SpectralNorm else draw(*x.shape, seed=1).astype(float)
    with jax.enable_x64(True):
        points = [(x + h * direction, 0.4) for h in (1e-6, -1e-6)]
        points += [(x, 0.4 + h) for h in (1e-6, -1e-6)]
        moved = [np.asarray(prox(cls(strength), x, 0.7)) for x, strength in points]
        for jacobians in JACOBIANS[cls]:
            by_x, by_strength = jacobians(x, 0.4)
            slope = np.tensordot(by_x, direction, x.ndim)
            close(slope, (moved[0] - moved[1]) / 2e-6, 1e-5, 1e-6)
            close(by_strength, (moved[2] - moved[3]) / 2e-6, 1e-5, 1e-6)


@pytest.mark.sampled(3)
@pytest.mark.parametrize("x", HARD.values(), ids=HARD.keys())
def test_gradients_are_subgradients_without_the_null_space(x):
    with jax.enable_x64(True):
        u, sizes, vt = np.linalg.svd(x, full_matrices=False)
        expected = (u * (sizes > 1e-9)[..., None, :]) @ vt
        close(jax.jit(jax.grad(NuclearNorm()))(x), expected, 1e-9, 1e-9)
        slope = jax.grad(SpectralNorm())(x)
        value = SpectralNorm()(x)
        close(np.sum(slope * x), value, 1e-9, 1e-9)
        assert np.all(np.linalg.svd(slope, compute_uv=False).sum(axis=-1) <= 1 + 1e-9)


def test_small_matrices_have_gradients_too():
    for scale in (1e-30, 1e-15, 1e15):
        x = draw(4, 3) * np.float32(scale)
        close(
            jax.jit(jax.grad(NuclearNorm()))(x),
            jax.grad(NuclearNorm())(draw(4, 3)),
            1e-4,
            1e-5,
        )
    rank_one = jnp.ones((4, 3), jnp.float32)
    close(jax.jit(jax.grad(NuclearNorm()))(rank_one), rank_one / np.sqrt(12))


def test_the_curvature_at_an_orthogonal_matrix_is_finite_and_right():
    with jax.enable_x64(True):
        gradient = jax.jit(jax.grad(NuclearNorm()))
        for name in ("orthogonal", "repeated", "plain", "wide"):
            x, direction = HARD[name], draw(*HARD[name].shape, seed=1).astype(float)
            curvature = jax.jit(lambda x, v: jax.jvp(gradient, (x,), (v,))[1])
            difference = gradient(x + 1e-5 * direction) - gradient(x - 1e-5 * direction)
            close(curvature(x, direction), difference / 2e-5, 1e-5, 1e-6)


def test_jax_itself_gives_nan_there():
    """Were it otherwise, the rules for derivatives could go."""

    def thresholded(x):
        u, sizes, vt = jnp.linalg.svd(x, full_matrices=False)
        return jnp.sum((u * jnp.maximum(sizes - 0.5, 0.0)) @ vt)

    assert np.any(np.isnan(jax.grad(thresholded)(jnp.eye(2))))


# Orthogonality.


def test_orthogonal_matrices_are_where_it_is_zero():
    for shape in ((4, 3), (3, 4), (3, 3)):
        x = of_singular_values([1, 1, 1], shape).astype(np.float32)
        close(Orthogonality()(x), 0.0, 0, 1e-10)
        assert np.max(np.abs(jax.grad(Orthogonality())(x))) < 1e-5
    assert Orthogonality(0.5)(jnp.zeros((2, 5))) == 1.0


def test_orthogonal_has_no_prox():
    penalty, x = Orthogonality(0.1), {"kernel": draw(4, 3)}
    for metric in (None, {"kernel": np.ones((4, 3), np.float32)}):
        with pytest.raises(
            ValueError, match=r"Orthogonality has no prox.*Add it to the loss"
        ):
            penalty.prox(x, 1.0, metric)
    optimizer = jaxreg.prox_sgd(0.1, penalty)
    with pytest.raises(ValueError, match=r"Orthogonality has no prox.*Add it to the loss"):
        optimizer.update(x, optimizer.init(x), x)
    assert penalty.strength_max(x) == np.inf


def test_gradient_descent_on_the_loss_makes_columns_orthonormal():
    x = jnp.asarray(draw(6, 3, scale=0.5))
    descend = jax.jit(lambda x: x - 0.05 * jax.grad(Orthogonality())(x))
    for _ in range(300):
        x = descend(x)
    close(x.T @ x, jnp.eye(3), 1e-3, 1e-3)


# Bad input, and how it is compiled.


@every_prox
def test_a_diagonal_metric_is_refused(cls):
    with pytest.raises(ValueError, match=rf"{cls.__name__} has no closed prox.*prox_sgd"):
        cls().prox(draw(3, 2), 1.0, np.ones((3, 2), np.float32))


@every_spectral
def test_mistakes_are_explained(cls):
    with pytest.raises(ValueError, match=rf"{cls.__name__} is for leaves with at least 2"):
        cls()(jnp.ones(3))


@pytest.mark.parametrize(
    "operator", [jaxreg.operators.nuclear_norm, jaxreg.operators.singular_value_threshold]
)
def test_complex_matrices_are_refused(operator):
    rest = (1.0,) if operator is jaxreg.operators.singular_value_threshold else ()
    with pytest.raises(TypeError, match="Singular values are for real arrays"):
        operator(jnp.ones((2, 2), jnp.complex64), *rest)


def test_export_to_all_platforms():
    platforms = ("cpu", "cuda", "tpu")
    for penalty in (NuclearNorm(), SpectralNorm()):
        for function in (prox, jax.jit(jax.grad(lambda p, x: p(x), 1))):
            lower = jax.export.export(function, platforms=platforms)
            assert lower(penalty, jnp.ones((2, 5, 3))).platforms == platforms
