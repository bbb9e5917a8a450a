"""Multilayer perceptrons that choose their inputs, as scikit-learn estimators."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import optax
from jax import Array

from jaxreg.networks._base import Matrix, SparseMLP, Units, Vector, one_split
from jaxreg.networks._sklearn import (
    ClassifierMixin,
    KFold,
    RegressorMixin,
    StratifiedKFold,
    check_classification_targets,
    check_cv,
)
from jaxreg.networks.inputs import squared_error
from jaxreg.networks.tracing import Folded, folded


def cross_entropy(outputs: Array, y: Array) -> Array:
    """The cross-entropy of each sample, of scores and the numbers of classes.

    Args:
        outputs: An array (samples, classes).
        y: The class of each sample, from 0.

    Returns:
        An array (samples,).
    """
    return optax.softmax_cross_entropy_with_integer_labels(outputs, y)


class _Regressor(RegressorMixin, SparseMLP):
    """The targets are numbers, which are standardized for the network."""

    _loss = staticmethod(squared_error)

    def _validated(self, X: Matrix, y: Vector, sample_weight: Any, **checks: Any) -> Any:  # noqa: N803
        return super()._validated(X, y, sample_weight, y_numeric=True, **checks)

    def _targets(self, y: np.ndarray, weights: np.ndarray) -> np.ndarray:
        y = y.astype(np.float64)
        self._target_units = Units.of(y, weights)
        if np.ptp(y[weights > 0]) == 0:
            raise ValueError(
                f"y must have two different values or more, but all are {y[0]:g}: no input "
                "is needed to predict it."
            )
        return self._target_units.applied(y)

    def _outputs(self) -> int:
        return 1

    def predict(self, X: Matrix) -> np.ndarray:  # noqa: N803
        """Predictions.

        Args:
            X: Samples, an array (samples, features).

        Returns:
            A number for each sample.
        """
        outputs = self._network_outputs(X)[:, 0].astype(np.float64)
        return outputs * self._target_units.scale + self._target_units.mean


class _Classifier(ClassifierMixin, SparseMLP):
    """The targets are classes, which are numbered for the network."""

    classes_: np.ndarray

    _loss = staticmethod(cross_entropy)

    def _targets(self, y: np.ndarray, weights: np.ndarray) -> np.ndarray:
        check_classification_targets(y)
        self.classes_, numbers = np.unique(y, return_inverse=True)
        if len(self.classes_) < 2:
            raise ValueError(
                "y must have two classes or more, but the data contain only one class: "
                f"{self.classes_[0]!r}."
            )
        return numbers.astype(np.int32)

    def _outputs(self) -> int:
        return len(self.classes_)

    def predict_proba(self, X: Matrix) -> np.ndarray:  # noqa: N803
        """Probabilities of the classes.

        Args:
            X: Samples, an array (samples, features).

        Returns:
            An array (samples, classes), in the order of `classes_`.
        """
        scores = self._network_outputs(X).astype(np.float64)
        powers = np.exp(scores - scores.max(axis=1, keepdims=True))
        return powers / powers.sum(axis=1, keepdims=True)

    def predict(self, X: Matrix) -> np.ndarray:  # noqa: N803
        """The most probable class of each sample.

        Args:
            X: Samples, an array (samples, features).

        Returns:
            An array (samples,).
        """
        best = np.argmax(self.predict_proba(X), axis=1)
        return self.classes_[best]


class _OnOneSplit(SparseMLP):
    """The strength is chosen by the scores of one split of the samples."""

    def __init__(
        self,
        hidden: Sequence[int] = (20,),
        *,
        activation: str = "tanh",
        method: str = "adaptive group lasso",
        hierarchy: float = 10.0,
        strength: float | None = None,
        n_features_to_select: int | None = None,
        ridge: Any = 3e-3,
        n_strengths: int = 50,
        groups: Any = None,
        learning_rate: float = 5e-3,
        max_iter: int = 2000,
        path_iter: int = 40,
        batch_size: int | str = "auto",
        early_stopping: bool = True,
        n_iter_no_change: int = 10,
        validation_fraction: float = 0.2,
        n_starts: int = 1,
        random_state: Any = None,
        verbose: bool = False,
    ) -> None:
        self.hidden = hidden
        self.activation = activation
        self.method = method
        self.hierarchy = hierarchy
        self.strength = strength
        self.n_features_to_select = n_features_to_select
        self.ridge = ridge
        self.n_strengths = n_strengths
        self.groups = groups
        self.learning_rate = learning_rate
        self.max_iter = max_iter
        self.path_iter = path_iter
        self.batch_size = batch_size
        self.early_stopping = early_stopping
        self.n_iter_no_change = n_iter_no_change
        self.validation_fraction = validation_fraction
        self.n_starts = n_starts
        self.random_state = random_state
        self.verbose = verbose

    def _folded(
        self, x: np.ndarray, y: np.ndarray, weights: np.ndarray, random: Any
    ) -> Folded:
        strata = y if isinstance(self, ClassifierMixin) else np.zeros(len(y))
        return one_split(strata, weights, self.validation_fraction, random)


class _CrossValidated(SparseMLP):
    """The strength is chosen by cross-validation."""

    def __init__(
        self,
        hidden: Sequence[int] = (20,),
        *,
        activation: str = "tanh",
        method: str = "adaptive group lasso",
        hierarchy: float = 10.0,
        strength: float | None = None,
        n_features_to_select: int | None = None,
        ridge: Any = 3e-3,
        n_strengths: int = 50,
        groups: Any = None,
        learning_rate: float = 5e-3,
        max_iter: int = 2000,
        path_iter: int = 40,
        batch_size: int | str = "auto",
        early_stopping: bool = True,
        n_iter_no_change: int = 10,
        cv: Any = None,
        n_starts: int = 1,
        random_state: Any = None,
        verbose: bool = False,
    ) -> None:
        self.hidden = hidden
        self.activation = activation
        self.method = method
        self.hierarchy = hierarchy
        self.strength = strength
        self.n_features_to_select = n_features_to_select
        self.ridge = ridge
        self.n_strengths = n_strengths
        self.groups = groups
        self.learning_rate = learning_rate
        self.max_iter = max_iter
        self.path_iter = path_iter
        self.batch_size = batch_size
        self.early_stopping = early_stopping
        self.n_iter_no_change = n_iter_no_change
        self.cv = cv
        self.n_starts = n_starts
        self.random_state = random_state
        self.verbose = verbose

    def _folded(
        self, x: np.ndarray, y: np.ndarray, weights: np.ndarray, random: Any
    ) -> Folded:
        is_classifier = isinstance(self, ClassifierMixin)
        cv: Any = 5 if self.cv is None else self.cv
        if isinstance(cv, int | np.integer):
            kind = StratifiedKFold if is_classifier else KFold
            cv = kind(int(cv), shuffle=True, random_state=random.randint(2**31 - 1))
        splitter: Any = check_cv(cv, y, classifier=is_classifier)
        return folded(list(splitter.split(x, y)), len(x), weights)


class SparseMLPRegressor(_OnOneSplit, _Regressor):
    """A network for numbers that chooses its inputs, by one split of the samples.

        mean squared error + strength · Σ_j c_j · ‖W_j‖₂ + ridge · Σ v²

    where W_j are the weights that read feature j and v all others; see
    `jaxreg.networks.select_inputs`. A part of the samples is held out to choose the
    strength: the largest whose error is within one standard error of the best one. The
    network is then trained on all samples. `SparseMLPRegressorCV` uses folds instead, which
    takes about three times as long and is steadier.

    Features and target are standardized inside, so that strengths are numbers around 1.

    Args:
        hidden: The units of each hidden layer.
        activation: `"tanh"`, `"relu"`, `"gelu"` or `"softplus"`.
        method: `"adaptive group lasso"`, or `"group lasso"`, which keeps more features;
            or `"adaptive lassonet"` or `"lassonet"`, likewise, whose network has a linear
            skip connection that is penalised in the place of the first layer, and bounds
            it.
        hierarchy: For LassoNet, how large a weight of the first layer may be, relative to
            the skip connection of its feature.
        strength: The strength; chosen by its score if `None`.
        n_features_to_select: At most so many features, with the smallest strength for
            that; chosen by the score if `None`.
        ridge: The strength of `L2` on the other weights; several of them to choose from.
        n_strengths: How many strengths the path has.
        groups: A label for each feature; equal ones are chosen together, as the columns of
            a one-hot encoding should be.
        learning_rate: Of Adam.
        max_iter: At most so many steps of the first fit, of all features.
        path_iter: Steps at each strength.
        batch_size: Samples of a step; `"auto"` for all, or 512 if there are more than 2048.
        early_stopping: Whether the first fit ends when its score does not improve.
        n_iter_no_change: After how many looks at the score, one every 50 steps.
        validation_fraction: Which fraction of the samples is held out.
        n_starts: How many networks, of which the best is kept.
        random_state: A seed, or a random state of NumPy.
        verbose: Whether to show a bar (needs tqdm).

    Attributes:
        selected_features_: The numbers of the chosen features.
        feature_importances_: The largest strength at which the network uses each feature;
            0 if at none.
        strength_: The chosen strength.
        ridge_: The chosen `ridge`.
        path_: Networks at all strengths, an `InputPath`: strengths, losses, features.
        params_: The parameters of the chosen network.
        n_iter_: How many steps the first fit took.
        n_features_in_: The number of features.
        feature_names_in_: Their names, if X is a data frame.

    Example:
        >>> x = np.random.default_rng(0).normal(size=(100, 4))
        >>> model = SparseMLPRegressor((4,), max_iter=200, path_iter=10, random_state=0)
        >>> model = model.fit(x, 10 * np.sin(x[:, 2]))
        >>> model.selected_features_, model.transform(x).shape
        (array([2]), (100, 1))

    References:
        Dinh and Ho, *Consistent feature selection for analytic deep neural networks*
        (2020); Lemhadri, Ruan, Abraham and Tibshirani, *LassoNet* (2021), section 3.
    """


class SparseMLPClassifier(_OnOneSplit, _Classifier):
    """A network for classes that chooses its inputs, by one split of the samples.

    As `SparseMLPRegressor`, with the cross-entropy for the squared error.

    Args:
        hidden: As for `SparseMLPRegressor`, like all arguments.
        activation: See there.
        method: See there.
        hierarchy: See there.
        strength: See there.
        n_features_to_select: See there.
        ridge: See there.
        n_strengths: See there.
        groups: See there.
        learning_rate: See there.
        max_iter: See there.
        path_iter: See there.
        batch_size: See there.
        early_stopping: See there.
        n_iter_no_change: See there.
        validation_fraction: See there.
        n_starts: See there.
        random_state: See there.
        verbose: See there.

    Attributes:
        classes_: The classes.
        selected_features_: As for `SparseMLPRegressor`, like all others.

    Example:
        >>> x = np.random.default_rng(0).normal(size=(100, 4))
        >>> model = SparseMLPClassifier((4,), max_iter=200, path_iter=10, random_state=0)
        >>> model = model.fit(x, np.where(x[:, 2] > 0, "yes", "no"))
        >>> model.selected_features_, model.predict([[0.0, 0.0, 3.0, 0.0]])
        (array([2]), array(['yes'], dtype='<U3'))

    References:
        Dinh and Ho, *Consistent feature selection for analytic deep neural networks*
        (2020).
    """


class SparseMLPRegressorCV(_CrossValidated, _Regressor):
    """A network for numbers that chooses its inputs by cross-validation.

    As `SparseMLPRegressor`, with the errors of all folds to choose the strength by. Folds,
    starts and the fit on all samples are one compiled program.

    Args:
        hidden: As for `SparseMLPRegressor`, like all arguments but `cv`.
        activation: See there.
        method: See there.
        hierarchy: See there.
        strength: See there.
        n_features_to_select: See there.
        ridge: See there.
        n_strengths: See there.
        groups: See there.
        learning_rate: See there.
        max_iter: See there.
        path_iter: See there.
        batch_size: See there.
        early_stopping: See there.
        n_iter_no_change: See there.
        cv: Folds: their number (they are shuffled, by default five), a splitter, or pairs
            of indices.
        n_starts: See there.
        random_state: See there.
        verbose: See there.

    Attributes:
        selected_features_: As for `SparseMLPRegressor`, like all others.

    Example:
        >>> x = np.random.default_rng(0).normal(size=(100, 4))
        >>> model = SparseMLPRegressorCV((4,), max_iter=200, path_iter=10, random_state=0)
        >>> model = model.fit(x, 10 * np.sin(x[:, 2]))
        >>> model.selected_features_, model.path_.validation
        (array([2]), CrossValidation of 50 strengths on 5 folds, best mean ... at ...)

    References:
        Dinh and Ho, *Consistent feature selection for analytic deep neural networks*
        (2020).
    """


class SparseMLPClassifierCV(_CrossValidated, _Classifier):
    """A network for classes that chooses its inputs by cross-validation.

    As `SparseMLPRegressorCV`, with the cross-entropy for the squared error.

    Args:
        hidden: As for `SparseMLPRegressor`, like all arguments but `cv`.
        activation: See there.
        method: See there.
        hierarchy: See there.
        strength: See there.
        n_features_to_select: See there.
        ridge: See there.
        n_strengths: See there.
        groups: See there.
        learning_rate: See there.
        max_iter: See there.
        path_iter: See there.
        batch_size: See there.
        early_stopping: See there.
        n_iter_no_change: See there.
        cv: As for `SparseMLPRegressorCV`; by default the folds have all classes alike.
        n_starts: See there.
        random_state: See there.
        verbose: See there.

    Attributes:
        classes_: The classes.
        selected_features_: As for `SparseMLPRegressor`, like all others.

    Example:
        >>> x = np.random.default_rng(0).normal(size=(100, 4))
        >>> model = SparseMLPClassifierCV((4,), max_iter=200, path_iter=10, random_state=0)
        >>> model.fit(x, x[:, 2] > 0).get_support()
        array([False, False,  True, False])

    References:
        Dinh and Ho, *Consistent feature selection for analytic deep neural networks*
        (2020).
    """
