"""Linear models, exactly: a path, cross-validation and the features that it selects.

Diabetes: the lasso, its knots, and the elastic net, by functions and by estimators that
take the place of scikit-learn's; then a strength for each feature, by the gradient of the
validation error through the solution. Breast cancer: logistic regression with L1. Prints a
table, and saves figures into examples/output.
"""

import argparse
import pathlib
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from matplotlib.figure import Figure
from sklearn.datasets import load_breast_cancer, load_diabetes
from sklearn.preprocessing import StandardScaler

import jaxreg as jr
from jaxreg import plot
from jaxreg.linear import ElasticNetCV, LassoCV, LogisticRegressionCV, RidgeCV

OUTPUT = pathlib.Path(__file__).parent / "output"


def rules(found: jr.strength.CrossValidation) -> dict[str, int]:
    """Where the best mean score is, and the sparsest model that is about as good."""
    return {
        "best mean": jr.select_best(found),
        "one standard error": jr.one_standard_error(found),
    }


def selected(path: Any, found: jr.strength.CrossValidation, names: list[str]) -> list[str]:
    """Lines of the table: for each rule the strength, its score, the features in use."""
    lines = list[str]()
    for rule, index in rules(found).items():
        used = [name for name, w in zip(names, path.coefficients[index], strict=True) if w]
        lines.append(
            f"{rule:<20}{path.strengths[index]:8.4f}{found.mean[index]:10.3f}  "
            f"{len(used)} of {len(names)}: {', '.join(used)}"
        )
    return lines


def pictures(
    path: Any, found: jr.strength.CrossValidation, names: list[str], title: str
) -> Figure:
    """The path, and its cross-validation beside it."""
    figure = Figure((11, 4), layout="constrained")
    left, right = figure.subplots(1, 2)
    plot.path(path.strengths, path.coefficients, left, names=names, chosen=rules(found))
    left.set_title(title)
    plot.cross_validation(found, right).set_title(f"{found.scores.shape[1]} folds")
    return figure


def diabetes() -> tuple[list[str], Figure]:
    """Lines of the table, and pictures of the path and of its cross-validation."""
    data: Any = load_diabetes()
    x, y, names = data.data, data.target, list(data.feature_names)
    path = jr.lasso_path(x, y, folds=10)
    found = path.validation
    assert found is not None
    knots = jr.solve.lasso_knots(x, y)
    lines = [f"{path}", f"knots: {np.round(knots.strengths, 3)}"]
    lines += selected(path, found, names)
    models = {
        "LassoCV": LassoCV(cv=10),
        "ElasticNetCV": ElasticNetCV(l1_ratio=[0.5, 0.9, 0.99], cv=10),
        "RidgeCV": RidgeCV(alphas=np.geomspace(1e-3, 1.0, 20)),
    }
    for name, model in models.items():
        model.fit(x, y)
        lines.append(f"{name:<20}{model.alpha_:8.4f}  R² {model.score(x, y):.3f}")
    return lines, pictures(path, found, names, "diabetes, lasso")


def strength_of_each_feature() -> list[str]:
    """Strengths by gradient descent on the error of samples that are held out."""
    data: Any = load_diabetes()
    x, y = map(jnp.asarray, (data.data * len(data.data) ** 0.5, data.target))
    train, valid = jr.losses.Squared(x[:300], y[:300]), jr.losses.Squared(x[300:], y[300:])
    start = {"kernel": jnp.zeros(x.shape[1]), "bias": jnp.mean(y[:300])}

    @jax.jit
    @jax.value_and_grad
    def error(log_strengths: jax.Array) -> jax.Array:
        penalty = jr.L1(jnp.exp(log_strengths))
        return valid(jr.minimize(train, penalty, start).params)

    log_strengths = jnp.full(x.shape[1], jnp.log(3.0))
    errors = list[jax.Array]()
    for _ in range(40):
        found, slope = error(log_strengths)
        errors.append(found)
        log_strengths -= 0.02 * slope
    return [
        f"one strength, 3.0    validation error {errors[0]:.1f}",
        f"one for each feature validation error {errors[-1]:.1f}: "
        + ", ".join(f"{s:.1f}" for s in jnp.exp(log_strengths)),
    ]


def breast_cancer() -> tuple[list[str], Figure]:
    """Lines of the table, and pictures of the path and of its cross-validation."""
    data: Any = load_breast_cancer()
    x, y = StandardScaler().fit_transform(data.data), data.target
    names = [name.replace(" ", "_") for name in data.feature_names]
    path = jr.logistic_path(x, y, folds=5, ratio=1e-3)
    found = path.validation
    assert found is not None
    lines = [f"largest gap of {len(path.strengths)} models {np.max(path.gaps):.0e}"]
    lines += selected(path, found, names)
    model: Any = LogisticRegressionCV(Cs=10, cv=5, l1_ratios=(1.0,), scoring="accuracy")
    model.fit(x, y)
    lines.append(f"LogisticRegressionCV C {model.C_:.3f} accuracy {model.score(x, y):.3f}")
    return lines, pictures(path, found, names, "breast cancer, logistic regression, L1")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", type=pathlib.Path, default=OUTPUT)
    options = parser.parse_args()
    options.output.mkdir(parents=True, exist_ok=True)
    for problem in (diabetes, breast_cancer):
        lines, figure = problem()
        print("\n".join([f"== {problem.__name__}", *lines]))
        figure.savefig(options.output / f"linear_{problem.__name__}.png", dpi=150)
    with jax.enable_x64(True):
        print("\n".join(["== hypergradients", *strength_of_each_feature()]))


if __name__ == "__main__":
    main()
