"""Least squares with L1, or with L1 and L2, for a given strength."""

from typing import Any, Self

from scipy import sparse
from sklearn.base import MultiOutputMixin
from sklearn.utils.metadata_routing import UNUSED

from jaxreg.convert.conventions import from_sklearn
from jaxreg.linear._base import LinearRegressor, Matrix, Vector
from jaxreg.linear._parameters import check_alpha, check_ratio
from jaxreg.solve.lasso.path import elastic_net_path
from jaxreg.solve.targets import TargetPaths


class ElasticNet(MultiOutputMixin, LinearRegressor):
    """Least squares with the elastic net, as `sklearn.linear_model.ElasticNet`, but exact.

        ½ · mean (y − X·w − b)² + alpha · l1_ratio · Σ|w| + ½ · alpha · (1 − l1_ratio) · Σw²

    All arguments of scikit-learn's class are accepted; those that are not described here
    have no effect, see `jaxreg.linear`.

    Args:
        alpha: A non-negative number. 0 is least squares, and an error where that has more
            than one solution.
        l1_ratio: The fraction of L1, from 0 (ridge) to 1 (lasso).
        fit_intercept: Whether there is a b.
        positive: Whether coefficients must not be negative.

    Attributes:
        coef_: The w, one for each feature; of several targets an array (targets, features).
        sparse_coef_: The same as a sparse matrix.
        intercept_: The b, one for each target.
        dual_gap_: An upper bound on how far the objective above is from its minimum.
        n_iter_: 1.
        n_features_in_: The number of features.

    Example:
        >>> model = ElasticNet(alpha=1.0, l1_ratio=0.5)
        >>> model.fit(np.array([[0.0], [2.0]]), np.array([0.0, 4.0])).coef_
        array([1.])

    References:
        Zou and Hastie, *Regularization and variable selection via the elastic net* (2005).
    """

    __metadata_request__fit = {"check_input": UNUSED}
    _takes_sparse = True

    def __init__(
        self,
        alpha: float = 1.0,
        *,
        l1_ratio: float = 0.5,
        fit_intercept: bool = True,
        precompute: Any = False,
        max_iter: int | None = 1000,
        copy_X: bool = True,  # noqa: N803
        tol: float = 1e-4,
        warm_start: bool = False,
        positive: bool = False,
        random_state: Any = None,
        selection: str = "cyclic",
    ) -> None:
        self.alpha = alpha
        self.l1_ratio = l1_ratio
        self.fit_intercept = fit_intercept
        self.precompute = precompute
        self.max_iter = max_iter
        self.copy_X = copy_X
        self.tol = tol
        self.warm_start = warm_start
        self.positive = positive
        self.random_state = random_state
        self.selection = selection

    def fit(
        self,
        X: Matrix,  # noqa: N803
        y: Vector,
        sample_weight: Vector | None = None,
        check_input: bool = True,
    ) -> Self:
        """Fit the model.

        Args:
            X: Samples, an array (samples, features), dense or sparse.
            y: A number for each sample; or several, an array (samples, targets).
            sample_weight: Non-negative weights for the mean.
            check_input: No effect.

        Returns:
            The fitted estimator.

        Raises:
            ValueError: If data or parameters are not valid.
        """
        check_alpha(self.alpha)
        penalty = from_sklearn(1.0, check_ratio(self.l1_ratio))
        x, y, weights = self._validated(X, y, sample_weight, multi_output=True)
        found: Any = elastic_net_path(
            x,
            y,
            [self.alpha],
            penalty=penalty,
            intercept=self.fit_intercept,
            positive=self.positive,
            sample_weight=weights,
        )
        paths = list(found) if isinstance(found, TargetPaths) else [found]
        return self._fitted_at(paths, [0] * len(paths), y)

    @property
    def sparse_coef_(self) -> Any:
        """The coefficients as a sparse matrix."""
        return sparse.csr_matrix(self.coef_)


class Lasso(ElasticNet):
    """The lasso, as `sklearn.linear_model.Lasso`, but exact.

        ½ · mean (y − X·w − b)² + alpha · Σ|w|

    All arguments of scikit-learn's class are accepted; those that are not described here
    have no effect, see `jaxreg.linear`.

    Args:
        alpha: As for `ElasticNet`.
        fit_intercept: As for `ElasticNet`.
        positive: As for `ElasticNet`.

    Attributes:
        coef_: As for `ElasticNet`; so are all others.

    Example:
        >>> model = Lasso(alpha=0.5).fit(np.array([[0.0], [2.0]]), np.array([0.0, 4.0]))
        >>> model.coef_.round(3), model.intercept_.round(3)
        (array([1.5]), np.float64(0.5))

    References:
        Tibshirani, *Regression shrinkage and selection via the lasso* (1996).
    """

    l1_ratio: float = 1.0

    def __init__(
        self,
        alpha: float = 1.0,
        *,
        fit_intercept: bool = True,
        precompute: Any = False,
        copy_X: bool = True,  # noqa: N803
        max_iter: int | None = 1000,
        tol: float = 1e-4,
        warm_start: bool = False,
        positive: bool = False,
        random_state: Any = None,
        selection: str = "cyclic",
    ) -> None:
        self.alpha = alpha
        self.fit_intercept = fit_intercept
        self.precompute = precompute
        self.copy_X = copy_X
        self.max_iter = max_iter
        self.tol = tol
        self.warm_start = warm_start
        self.positive = positive
        self.random_state = random_state
        self.selection = selection
