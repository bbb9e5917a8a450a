"""Logistic regression for a given strength."""

import warnings
from typing import Any, Self

import numpy as np

from jaxreg.linear._logistic import LogisticModel, ratio_of
from jaxreg.linear._parameters import check_number


class LogisticRegression(LogisticModel):
    """scikit-learn's `LogisticRegression`, exact for every mixture of L1 and L2.

        min  Σ loss  +  1/C · (l1_ratio · Σ |w| + ½ (1 − l1_ratio) · Σ w²)

    or, with `groups`, the penalty 1/C · Σ_g √size_g · ‖w_g‖₂. There is one solver, which
    stops when the duality gap is small. Three classes or more are one multinomial model
    with coefficients for each class.

    All arguments of scikit-learn's class are accepted; those that are not described here
    have no effect, see `jaxreg.linear`.

    Args:
        penalty: The way that scikit-learn before 1.8 says which penalty it is: `"l1"`,
            `"l2"`, `"elasticnet"` (then `l1_ratio` counts) or `None`. Left out, `l1_ratio`
            and `C` say it.
        C: The inverse of the strength, positive; infinity for no penalty.
        l1_ratio: The fraction of L1, between 0 (ridge, the default) and 1 (lasso).
        groups: A label for each feature: features with the same label are one group, zero
            together and for all classes. `l1_ratio` does not matter then.
        tol: The duality gap to reach, as a fraction of the loss of the null model.
        fit_intercept: Whether there is an intercept, which is not penalised.
        intercept_scaling: For `solver="liblinear"`, the value of a constant feature that
            is penalised as all others, and takes the place of the intercept.
        class_weight: A weight for each class, in a dictionary; or `"balanced"`.
        solver: No effect, but for `"liblinear"`: see `intercept_scaling`.
        multi_class: The way that scikit-learn before 1.8 says which model three classes
            have: only `"multinomial"`.

    Attributes:
        classes_: The classes.
        coef_: An array (1, features), or (classes, features) of more than two.
        intercept_: An array (1,) or (classes,).
        dual_gap_: An upper bound on objective − minimum, in units of the objective above.
        n_iter_: The number of Newton steps, an array (1,).
        n_features_in_: The number of features.

    Example:
        >>> x, y = np.array([[0.0], [1.0], [2.0], [3.0]]), ["no", "yes", "no", "yes"]
        >>> model = LogisticRegression(C=2.0, l1_ratio=1.0).fit(x, y)
        >>> print(*model.predict([[0.0], [5.0]]))
        no yes
    """

    def __init__(
        self,
        penalty: str | None = "deprecated",
        *,
        C: float = 1.0,  # noqa: N803
        l1_ratio: float | None = 0.0,
        groups: Any = None,
        dual: bool = False,
        tol: float = 1e-9,
        fit_intercept: bool = True,
        intercept_scaling: float = 1.0,
        class_weight: Any = None,
        random_state: Any = None,
        solver: str | None = "lbfgs",
        max_iter: int | None = 100,
        multi_class: str = "deprecated",
        verbose: int = 0,
        warm_start: bool = False,
        n_jobs: int | None = None,
    ) -> None:
        self.penalty = penalty
        self.C = C
        self.l1_ratio = l1_ratio
        self.groups = groups
        self.dual = dual
        self.tol = tol
        self.fit_intercept = fit_intercept
        self.intercept_scaling = intercept_scaling
        self.class_weight = class_weight
        self.random_state = random_state
        self.solver = solver
        self.max_iter = max_iter
        self.multi_class = multi_class
        self.verbose = verbose
        self.warm_start = warm_start
        self.n_jobs = n_jobs

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> Self:  # noqa: N803
        """Fit the model.

        Args:
            X: Samples, an array (samples, features), dense or sparse.
            y: The class of each.
            sample_weight: Non-negative numbers; `None` for ones.

        Returns:
            The estimator.

        Raises:
            ValueError: If data or parameters are not valid.
        """
        data = self._checked(X, y, sample_weight)
        check_number("C", self.C, above=0.0)
        ratio, c = ratio_of(self.penalty, self.l1_ratio), self.C
        if self.penalty is None:
            if c != 1.0:
                warnings.warn(
                    f"penalty=None leaves nothing for C={c} to scale: leave one out.",
                    UserWarning,
                    stacklevel=2,
                )
            c = np.inf
        path = self._path(data, ratio, np.array([c], float))
        return self._fitted(
            path.coefficients[0].reshape(data[0].shape[1], -1).T,
            np.atleast_1d(path.intercepts[0]),
            dual_gap=float(path.absolute_gaps[0] * data[2].sum()),
            n_iter=np.asarray(path.steps, np.int32),
        )
