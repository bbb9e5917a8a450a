"""Criteria against scikit-learn, degrees of freedom against derivatives, rules by hand."""

import itertools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from sklearn.datasets import load_diabetes
from sklearn.linear_model import LassoLarsIC, lars_path
from sklearn.preprocessing import StandardScaler

import jaxreg as jr


def centred():
    x, y = map(np.asarray, load_diabetes(return_X_y=True))
    return np.asarray(StandardScaler().fit_transform(x)), y - y.mean()


X, Y = centred()
N, P = X.shape


# Information criteria.


@pytest.mark.parametrize("kind", ["aic", "bic"])
def test_the_criteria_of_scikit_learn(kind):
    theirs: Any = LassoLarsIC(criterion=kind).fit(X, Y)
    with jax.enable_x64(True):
        coefficients = lars_path(X, Y, method="lasso")[2].T
        coefficients[np.abs(coefficients) < 1e-9] = 0.0  # About to enter or just left.

        def criterion(strength, w):
            df = jr.strength.degrees_of_freedom(jr.L1(strength), X, w)
            deviance = jr.strength.gaussian_deviance(
                jnp.sum((X @ w - Y) ** 2),
                n_samples=N,
                noise_variance=theirs.noise_variance_,
            )
            return jr.strength.information_criterion(
                deviance, df=df, n_samples=N, kind=kind
            ), df

        ours, df = jax.vmap(criterion)(theirs.alphas_, coefficients)
    np.testing.assert_allclose(df, np.sum(coefficients != 0, axis=1), atol=1e-6)
    np.testing.assert_allclose(ours, theirs.criterion_, rtol=1e-6)
    chosen = int(np.argmin(ours))
    assert theirs.alphas_[chosen] == theirs.alpha_ == pytest.approx(0.95041, rel=1e-4)
    assert df[chosen] == pytest.approx(7)


def test_ebic_charges_for_the_number_of_models():
    bic = jr.strength.information_criterion(3.0, df=2.0, n_samples=50, kind="bic")
    for gamma in (0.0, 0.5, 1.0):
        ebic = jr.strength.information_criterion(
            3.0, df=2.0, n_samples=50, kind="ebic", features=10, gamma=gamma
        )
        assert ebic - bic == pytest.approx(2 * gamma * np.log(45), abs=1e-5)


def test_criteria_refuse_what_they_do_not_know():
    with pytest.raises(ValueError, match="kind must be 'aic', 'bic' or 'ebic', got 'cic'"):
        jr.strength.information_criterion(1.0, df=1, n_samples=5, kind="cic")  # pyright: ignore[reportArgumentType]
    with pytest.raises(ValueError, match="needs the number of features"):
        jr.strength.information_criterion(1.0, df=1, n_samples=5, kind="ebic")


# Degrees of freedom.

LABELS = np.arange(P) // 2
PENALTIES = {
    "L1": jr.L1(20.0),
    "L2": jr.L2(0.1),
    "elastic net": jr.ElasticNet(5.0, 0.1),
    "groups": jr.GroupLasso(12.0, labels=LABELS),
    "sparse groups": jr.SparseGroupLasso(4.0, 6.0, labels=LABELS),
}


@pytest.mark.sampled(3)
@pytest.mark.parametrize("name", PENALTIES)
def test_degrees_of_freedom_are_how_fits_follow_the_data(name):
    """Stein: Σ ∂fitᵢ/∂yᵢ, by differentiating the solver."""
    penalty = PENALTIES[name]
    with jax.enable_x64(True):
        step = N / np.linalg.norm(X, 2) ** 2

        def solve(y):
            def advance(_, w):
                return penalty.prox(w - step * X.T @ (X @ w - y) / N, step)

            return jax.lax.fori_loop(0, 4000, advance, jnp.zeros(P))

        w = jax.jit(solve)(Y)
        df = jr.strength.degrees_of_freedom(penalty, X, w)
        # Along the left singular vectors alone do fits depend on y.
        vectors = np.linalg.svd(X, full_matrices=False)[0].T

        def along(v):
            return v @ (X @ jax.jvp(solve, (jnp.asarray(Y),), (v,))[1])

        divergence = jnp.sum(jax.jit(jax.vmap(along))(vectors))
    assert df == pytest.approx(float(divergence), rel=1e-6)
    assert name == "L2" or 0 < np.sum(np.asarray(w) == 0) < P


def test_degrees_of_freedom_of_ridge():
    x, y = map(np.asarray, load_diabetes(return_X_y=True))
    x = StandardScaler().fit_transform(x)
    with jax.enable_x64(True):
        df = jr.strength.degrees_of_freedom(jr.L2(50 / (2 * len(y))), x, np.ones(P))
    s = np.linalg.svd(x, compute_uv=False) ** 2
    assert df == pytest.approx(np.sum(s / (s + 50)), rel=1e-9)


def test_degrees_of_freedom_refuse_shapes_that_do_not_fit():
    with pytest.raises(ValueError, match=r"got shapes \(442, 10\) and \(3,\)"):
        jr.strength.degrees_of_freedom(jr.L1(), X, np.ones(3))
    with pytest.raises(TypeError, match="must be a jaxreg penalty"):
        jr.strength.degrees_of_freedom(1.0, X, np.ones(P))  # pyright: ignore[reportArgumentType]


# Rules.

MEANS = np.array([5.0, 3.2, 3.0, 2.9, 3.3])  # standard error 0.2 everywhere


def validation(strengths, means=MEANS, **options):
    return jr.strength.CrossValidation(
        strengths, np.c_[means - 0.2, means + 0.2], **options
    )


def test_rules_go_by_the_size_of_strengths_not_by_their_place():
    falling = np.array([5.0, 4.0, 3.0, 2.0, 1.0])
    rules = jr.select_best, jr.one_standard_error
    assert [rule(validation(falling)) for rule in rules] == [3, 2]
    for order in ([4, 3, 2, 1, 0], [2, 0, 4, 1, 3]):
        found = validation(falling[order], MEANS[order])
        assert [falling[order][rule(found)] for rule in rules] == [2.0, 3.0]
    accuracies = validation(falling, 1 - MEANS, higher_is_better=True)
    assert [rule(accuracies) for rule in rules] == [3, 2]


def test_rules_leave_out_what_has_diverged():
    means = MEANS.copy()
    means[3] = np.nan
    found = validation(np.arange(5.0, 0, -1), means)
    assert (jr.select_best(found), jr.one_standard_error(found)) == (2, 1)
    with pytest.raises(
        ValueError, match=r"none has. On the folds \[0, 1.*for every strength"
    ):
        jr.select_best(validation(np.arange(1.0, 6), means * np.nan))


@pytest.mark.parametrize("rule", [jr.select_best, jr.one_standard_error])
@pytest.mark.parametrize("higher", [False, True])
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_the_order_of_strengths_never_decides(rule, higher, bad):
    strengths, scores = np.array([4.0, 3.0, 2.0, 1.0]), np.full((4, 3), 5.0)
    scores[:, 0] += [0.0, 1.0, 1.0, 0.0]
    scores[[0, 2], 2] = bad  # The largest, and one of the two best.
    chosen = set()
    for order in itertools.permutations(range(4)):
        found = jr.strength.CrossValidation(
            strengths[list(order)], scores[list(order)], higher_is_better=higher
        )
        assert np.isnan(found.mean).sum() == (2 if np.isnan(bad) else 0)
        assert not np.any(found.standard_error < 0)
        chosen.add(float(found.strengths[rule(found)]))
    assert chosen == ({3.0} if higher else {1.0})


def test_a_fold_without_a_score_is_named():
    scores = np.ones((3, 4))
    scores[:, 2] = np.nan  # R² of targets that are all the same.
    with pytest.raises(ValueError, match=r"On the folds \[2\] it is NaN.*R² is not"):
        jr.select_best(
            jr.strength.CrossValidation(np.arange(1.0, 4), scores, higher_is_better=True)
        )
    scores = np.ones((2, 2))
    scores[[0, 1], [0, 1]] = np.inf
    with pytest.raises(ValueError, match="none has. Training has diverged"):
        jr.select_best(jr.strength.CrossValidation(np.arange(1.0, 3), scores))
    with pytest.raises(TypeError, match="result of jaxreg.cross_validate, got ndarray"):
        jr.one_standard_error(scores)  # pyright: ignore[reportArgumentType]
    with pytest.raises(ValueError, match="fraction of zeros is unknown"):
        jr.select_by_sparsity(np.ones(2), np.full(2, np.nan), target=0.5)
    with pytest.raises(ValueError, match="selected must say .* got NaN"):
        jr.strength.stability_selection(np.array([[np.nan, 1.0]]))


def test_among_equals_the_largest_strength():
    assert jr.select_best(validation(np.array([1.0, 3.0, 2.0]), np.ones(3))) == 1


def test_rules_for_penalties():
    grid = np.arange(5.0, 0, -1)
    both = jr.ElasticNet(l1=grid, l2=grid / 2)
    assert jr.one_standard_error(validation(both)) == 2
    assert jr.one_standard_error(validation(jr.ElasticNet(l1=grid, l2=0.5))) == 2
    crossed = jr.ElasticNet(l1=grid, l2=grid[::-1])
    with pytest.raises(ValueError, match="must have an order.*select_best"):
        jr.one_standard_error(validation(crossed))
    # Of equals one is chosen all the same, and not by the order in which they stand.
    equal = np.ones(len(MEANS))
    first = jr.select_best(validation(crossed, equal))
    back = jr.ElasticNet(l1=grid[::-1], l2=grid)
    assert jr.select_best(validation(back, equal)) == len(grid) - 1 - first


def test_one_fold_has_no_standard_error():
    with pytest.raises(ValueError, match="at least two folds"):
        jr.one_standard_error(jr.strength.CrossValidation([1.0], np.ones((1, 1))))


def test_at_sparsity_takes_the_smallest_strength_that_will_do():
    strengths, zeros = np.array([3.0, 1.0, 2.0]), np.array([0.9, 0.1, 0.6])
    assert jr.select_by_sparsity(strengths, zeros, target=0.5) == 2
    assert jr.select_by_sparsity(strengths, zeros, target=0.61) == 0
    assert jr.select_by_sparsity(strengths, np.array([np.nan, 0.1, 0.6]), target=0.5) == 2
    with pytest.raises(ValueError, match="largest fraction of zeros is 0.9, not 0.95"):
        jr.select_by_sparsity(strengths, zeros, target=0.95)


# Stability selection.


def test_halves_are_disjoint_and_random():
    halves = np.asarray(
        jr.strength.complementary_pairs(jax.random.key(0), n_samples=7, pairs=40)
    )
    np.testing.assert_array_equal(halves.sum(axis=1), 3)
    pairs = halves.reshape(40, 2, 7).sum(axis=1)
    assert np.all(np.isin(pairs, [0, 1]))
    assert len(np.unique(halves, axis=0)) > 20
    assert np.all(np.abs(halves.mean(axis=0) - 3 / 7) < 0.2)
    for samples, pairs in ((1, 1), (4, 0)):
        with pytest.raises(ValueError, match="at least 2 samples and 1 pair"):
            jr.strength.complementary_pairs(jax.random.key(0), samples, pairs)


def test_stability_counts_and_bounds():
    runs = np.zeros((4, 2, 5), bool)
    runs[:, 0, 0] = True
    runs[:3, 1, 1] = True
    runs[0, :, 2] = True
    found = jr.strength.stability_selection(runs, threshold=0.7)
    np.testing.assert_allclose(found.probabilities, [1, 0.75, 0.25, 0, 0])
    assert found.chosen.tolist() == [True, True, False, False, False]
    assert found.expected_false == pytest.approx(2**2 / (0.4 * 5))
    np.testing.assert_allclose(
        jr.strength.stability_selection(runs[:, 1]).probabilities, [0, 0.75, 0.25, 0, 0]
    )


def test_stability_selection_keeps_its_word():
    """Noise features among the chosen, against the bound, on twenty data sets."""

    def false_and_missed(key):
        keys = jax.random.split(key, 3)
        x = jax.random.normal(keys[0], (60, 30))
        y = 2 * x[:, 0] - 2 * x[:, 1] + jax.random.normal(keys[1], (60,))

        def selected(weights):
            pull = jr.strength.weighted_mean(x * y[:, None], weights)
            return jnp.abs(pull) >= jnp.sort(jnp.abs(pull))[-4]

        return jax.vmap(selected)(jr.strength.complementary_pairs(keys[2], 60, 25))

    all_runs = jax.jit(jax.vmap(false_and_missed))(jax.random.split(jax.random.key(0), 20))
    found = [
        jr.strength.stability_selection(runs, threshold=0.9)
        for runs in np.asarray(all_runs)
    ]
    assert all(np.all(stable.chosen[:2]) for stable in found)
    noise = np.mean([np.sum(stable.chosen[2:]) for stable in found])
    assert noise <= found[0].expected_false == pytest.approx(16 / (0.8 * 30))


def test_stability_refuses_what_makes_no_sense():
    for threshold in (0.5, 1.1):
        with pytest.raises(ValueError, match="above 0.5 and at most 1"):
            jr.strength.stability_selection(np.ones((2, 3)), threshold)
    with pytest.raises(ValueError, match=r"got shape \(3,\)"):
        jr.strength.stability_selection(np.ones(3))


# By gradient descent.


def test_strengths_are_differentiable_through_training():
    """The derivative along log strength of a loss on other samples, against theory."""
    x, y, other_x, other_y = X[:200], Y[:200], X[200:], Y[200:]
    with jax.enable_x64(True):
        step = float(200 / np.linalg.norm(x, 2) ** 2)

        def solve(log_strength):
            penalty = jr.L1(jnp.exp(log_strength))

            def advance(w, _):
                return penalty.prox(w - step * x.T @ (x @ w - y) / 200, step), None

            return jax.lax.scan(advance, jnp.zeros(P), length=20_000)[0]

        def validation(log_strength):
            return jnp.mean((other_x @ solve(log_strength) - other_y) ** 2) / 2

        at = jnp.log(8.0)
        slope = float(jax.jit(jax.grad(validation))(at))
        w = np.asarray(jax.jit(solve)(at))
    kept = w != 0
    assert 0 < kept.sum() < P
    moves = -np.linalg.solve(x[:, kept].T @ x[:, kept] / 200, np.sign(w[kept]))
    pulls = other_x[:, kept].T @ (other_x @ w - other_y) / len(other_y)
    assert slope == pytest.approx(8.0 * (pulls @ moves).item(), rel=1e-6)
