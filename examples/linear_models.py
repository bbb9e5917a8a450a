"""Linear models, exactly: a path, cross-validation and the features that it selects.

Diabetes: the lasso, its knots, and the elastic net, by functions and by estimators that
take the place of scikit-learn's. Prints a table, and saves figures into examples/output.
"""

import argparse
import pathlib
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from sklearn.datasets import load_diabetes

import jaxreg as jr
from jaxreg import plot
from jaxreg.linear import ElasticNetCV, LassoCV, RidgeCV

OUTPUT = pathlib.Path(__file__).parent / "output"


def diabetes() -> tuple[list[str], Figure]:
    """Lines of the table, and pictures of the path and of its cross-validation."""
    data: Any = load_diabetes()
    x, y, names = data.data, data.target, list(data.feature_names)
    path = jr.lasso_path(x, y)
    found = jr.lasso_cv(x, y, path.strengths, folds=10)
    chosen = {
        "best mean": jr.best_mean(found),
        "one standard error": jr.one_standard_error(found),
    }
    knots = jr.lasso_knots(x, y)
    lines = [f"{path}", f"knots: {np.round(knots.strengths, 3)}"]
    for rule, index in chosen.items():
        used = [name for name, w in zip(names, path.coefficients[index], strict=True) if w]
        lines.append(
            f"{rule:<20}{path.strengths[index]:8.4f}{found.mean[index]:9.1f}  "
            f"{len(used)} of {len(names)}: {', '.join(used)}"
        )
    models = {
        "LassoCV": LassoCV(cv=10),
        "ElasticNetCV": ElasticNetCV(l1_ratio=[0.5, 0.9, 0.99], cv=10),
        "RidgeCV": RidgeCV(alphas=np.geomspace(1e-3, 1.0, 20)),
    }
    for name, model in models.items():
        model.fit(x, y)
        lines.append(f"{name:<20}{model.alpha_:8.4f}  R² {model.score(x, y):.3f}")
    figure = Figure((11, 4), layout="constrained")
    left, right = figure.subplots(1, 2)
    plot.path(path.strengths, path.coefficients, left, names=names, chosen=chosen)
    left.set_title("diabetes, lasso")
    plot.cross_validation(found, right).set_title(f"{found.scores.shape[1]} folds")
    return lines, figure


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", type=pathlib.Path, default=OUTPUT)
    options = parser.parse_args()
    lines, figure = diabetes()
    print("\n".join(lines))
    options.output.mkdir(parents=True, exist_ok=True)
    figure.savefig(options.output / "linear_models.png", dpi=150)


if __name__ == "__main__":
    main()
