"""The base class of the estimators: data, folds, the path, and what is chosen from it."""

from typing import Any, ClassVar, NamedTuple, Self

import jax
import jax.numpy as jnp
import numpy as np

from jaxreg._checks import check_count, check_number, check_numbers
from jaxreg._progress import shows_bar
from jaxreg.masks.selection import named
from jaxreg.networks._padding import (
    padded_folds,
    padded_inputs,
    padded_rows,
    padded_starts,
    without_padding,
)
from jaxreg.networks._sklearn import (
    BaseEstimator,
    SelectorMixin,
    _check_sample_weight,
    check_is_fitted,
    check_random_state,
    column_or_1d,
    validate_data,
)
from jaxreg.networks.input_path import InputPath
from jaxreg.networks.inputs import check_method, check_schedule
from jaxreg.networks.perceptron import ACTIVATIONS, KERNEL, SKIP_KERNEL, Perceptron
from jaxreg.networks.program import Loss, Program, Schedule, has_skip
from jaxreg.networks.tracing import (
    SPARSEST,
    Folded,
    Options,
    bound_by_skip,
    default_strengths,
    input_penalty,
    relative_pull,
    trace_paths,
)

Matrix = Any
"""What scikit-learn takes for an array (samples, features)."""
Vector = Any
"""What scikit-learn takes for a number for each sample."""

# Of more samples than this, a step sees a batch of `_BATCH`.
_FULL_BATCH = 2048
_BATCH = 512
# The test samples of one split are cut into parts, whose scores have a standard error.
_PARTS = 5


class Units(NamedTuple):
    """Weighted means and standard deviations, to standardize with.

    Attributes:
        mean: For each column.
        scale: For each column; 1 where it is constant.
    """

    mean: Any
    scale: Any

    @classmethod
    def of(cls, values: np.ndarray, weights: np.ndarray) -> Self:
        """Those of the columns of an array of 64-bit floats."""
        mean = np.average(values, axis=0, weights=weights)
        scale = np.sqrt(np.average((values - mean) ** 2, axis=0, weights=weights))
        # The deviation of a constant column is rounding error.
        is_constant = scale <= 1e-10 * np.abs(mean)
        return cls(mean, np.where(is_constant | (scale == 0), 1.0, scale))

    def applied(self, values: np.ndarray) -> np.ndarray:
        """The values with mean 0 and variance 1, as 32-bit floats."""
        return ((values - self.mean) / self.scale).astype(np.float32)


class SparseMLP(SelectorMixin, BaseEstimator):
    """What the estimators have in common.

    A subclass has the parameters in `__init__`, and says what the targets are.
    """

    n_features_in_: int
    path_: InputPath
    params_: Any

    hidden: Any
    activation: str
    method: str
    hierarchy: float
    strength: float | None
    n_features_to_select: int | None
    ridge: Any
    n_strengths: int
    groups: Any
    learning_rate: float
    max_iter: int
    path_iter: int
    batch_size: Any
    early_stopping: bool
    n_iter_no_change: int
    n_starts: int
    random_state: Any
    verbose: bool

    _loss: ClassVar[Loss]
    """The loss of each sample."""

    # What a subclass says about its targets and folds.

    def _targets(self, y: np.ndarray, weights: np.ndarray) -> np.ndarray:
        """The targets as the network sees them; sets attributes."""
        raise NotImplementedError

    def _outputs(self) -> int:
        """How many numbers the network returns for each sample."""
        raise NotImplementedError

    def _folded(
        self, x: np.ndarray, y: np.ndarray, weights: np.ndarray, random: Any
    ) -> Folded:
        """Which samples are trained on, and which give the scores."""
        raise NotImplementedError

    # What users call.

    def fit(
        self,
        X: Matrix,  # noqa: N803
        y: Vector,
        sample_weight: Vector | None = None,
    ) -> Self:
        """Find the inputs that the network needs, and train it on them.

        Args:
            X: Samples, an array (samples, features). They are standardized.
            y: The target of each.
            sample_weight: Non-negative weights of the samples; `None` for ones.

        Returns:
            The estimator.

        Raises:
            TypeError: If a parameter is of the wrong type.
            ValueError: If data or parameters are not valid.
        """
        x, y, weights = self._validated(X, y, sample_weight)
        features = x.shape[1]
        self._check_parameters()
        random = check_random_state(self.random_state)
        targets = self._targets(y, weights)
        self._units = Units.of(x, weights)
        skips = has_skip(self.method)
        network = Perceptron(tuple(self.hidden), self.activation, self._outputs(), skips)
        folds = padded_folds(self._folded(x, targets, weights, random))
        keys = jax.random.split(jax.random.key(random.randint(2**31 - 1)), self.n_starts)
        starts = padded_starts(network, keys, features)
        wide = padded_inputs(features)
        data = padded_rows(self._units.applied(x), wide - features), padded_rows(targets)
        first = jax.tree.map(lambda leaf: leaf[0], starts)
        deaf = network(first, jnp.zeros_like(data[0]))
        null = np.average(type(self)._loss(deaf, data[1]), weights=folds.train[-1])
        layers = (KERNEL, SKIP_KERNEL) if skips else (KERNEL,)
        penalty = input_penalty(named(*layers), first, self._labels(features, wide), 0)
        bound = None
        if skips:
            masks = named(KERNEL), named(SKIP_KERNEL)
            bound = bound_by_skip(penalty, *masks, self.hierarchy, first)
        schedule = self._schedule(len(x))
        path = trace_paths(
            Program(network, type(self)._loss, penalty, self.method, schedule, bound),
            self.ridge,
            (starts, keys),
            data,
            folds,
            self._grid(float(null) * relative_pull(bound, first)),
            SPARSEST,
            Options(progress=shows_bar(self.verbose)),
        )
        self._network, self.path_ = network, self._chosen(without_padding(path, features))
        self.params_ = self.path_.params
        self.strength_ = float(self.path_.strengths[self.path_.index])
        self.ridge_ = self.path_.ridge
        self.n_iter_ = self.path_.dense_steps
        self.feature_importances_ = self.path_.importances
        self.selected_features_ = self.path_.chosen
        return self

    def _get_support_mask(self) -> Any:
        check_is_fitted(self)
        return self.path_.used[self.path_.index]

    def _network_outputs(self, X: Matrix) -> np.ndarray:  # noqa: N803
        """What the network returns, an array (samples, outputs)."""
        check_is_fitted(self)
        x = np.asarray(validate_data(self, X, dtype=np.float64, reset=False))
        rows = padded_rows(self._units.applied(x))
        return np.asarray(_outputs_of(self._network, self.params_, rows))[: len(x)]

    # From parameters to arguments of the path.

    def _validated(
        self,
        X: Matrix,  # noqa: N803
        y: Vector,
        sample_weight: Vector | None,
        **checks: Any,
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        checks = {"dtype": np.float64, "ensure_min_samples": 4, **checks}
        x, y = map(np.asarray, validate_data(self, X, y, **checks))
        weights = _check_sample_weight(
            sample_weight, x, dtype=np.float64, ensure_non_negative=True
        )
        return x, column_or_1d(y, warn=True), np.asarray(weights)

    def _check_parameters(self) -> None:
        check_method(self.method)
        if self.activation not in ACTIVATIONS:
            words = ", ".join(map(repr, ACTIVATIONS))
            raise ValueError(f"activation must be one of {words}, got {self.activation!r}.")
        if isinstance(self.hidden, int) or not len(self.hidden):
            raise ValueError(
                "hidden must hold the units of each hidden layer, such as (20,), got "
                f"{self.hidden!r}."
            )
        for units in self.hidden:
            check_count("hidden", units)
        for name in ("n_strengths", "n_starts", "max_iter", "path_iter"):
            check_count(name, getattr(self, name))
        check_numbers("ridge", np.asarray(self.ridge))
        check_number("hierarchy", self.hierarchy, above=0.0)
        if self.strength is not None and self.n_features_to_select is not None:
            raise ValueError(
                "strength and n_features_to_select both choose the network: give one of "
                "them, or neither for the choice by its score."
            )
        if self.strength is not None:
            check_number("strength", self.strength, above=0.0)
        if self.n_features_to_select is not None:
            check_count("n_features_to_select", self.n_features_to_select)

    def _schedule(self, samples: int) -> Schedule:
        size = self.batch_size
        if isinstance(size, str):
            if size != "auto":
                raise ValueError(f"batch_size must be a number or 'auto', got {size!r}.")
            size = None if samples <= _FULL_BATCH else _BATCH
        schedule = Schedule(
            self.learning_rate,
            self.max_iter,
            self.path_iter,
            self.n_iter_no_change if self.early_stopping else None,
            size,
        )
        return check_schedule(schedule)

    def _labels(self, features: int, wide: int) -> tuple[int, ...] | None:
        """The number of each feature's group; those that pad are groups of their own."""
        if self.groups is None:
            return None
        labels = np.asarray(self.groups)
        if labels.shape != (features,):
            raise ValueError(
                f"groups must hold a label for each of the {features} features, got shape "
                f"{labels.shape}."
            )
        numbers = np.unique(labels, return_inverse=True)[1]
        return (*numbers.tolist(), *range(features, wide))

    def _grid(self, null: float) -> np.ndarray:
        grid = default_strengths(null, self.n_strengths)
        return grid if self.strength is None else np.union1d(grid, float(self.strength))

    def _chosen(self, path: InputPath) -> InputPath:
        if self.n_features_to_select is not None:
            return path.with_at_most(self.n_features_to_select)
        if self.strength is not None:
            return path.at(int(np.searchsorted(path.strengths, self.strength)))
        return path


_outputs_of = jax.jit(lambda network, params, x: network(params, x), static_argnums=0)


def one_split(
    strata: np.ndarray, weights: np.ndarray, fraction: Any, random: Any
) -> Folded:
    """One split into samples to train on and parts of samples for the score.

    Args:
        strata: A number for each sample: equal ones are split alike.
        weights: Of the samples; those of weight 0 are in neither part.
        fraction: Which fraction gives the scores.
        random: A random state of NumPy.

    Raises:
        ValueError: If the fraction is not between 0 and 1, or there are too few samples.
    """
    check_number("validation_fraction", fraction, above=0.0)
    order = random.permutation(np.flatnonzero(weights > 0))
    order = order[np.argsort(strata[order], kind="stable")]
    steps = np.floor(fraction * np.arange(len(order) + 1) + 0.5)
    test = order[np.diff(steps) > 0]
    if not (fraction < 1 and 2 <= len(test) < len(order)):
        raise ValueError(
            "validation_fraction must be less than 1 and leave two samples or more for the "
            f"score and one to train on, but {fraction:g} of {len(order)} samples gives "
            f"{len(test)} for the score."
        )
    test = random.permutation(test)
    train = np.ones(len(weights))
    train[test] = 0
    parts = [test[part::_PARTS] for part in range(min(_PARTS, len(test)))]
    masks = np.stack([np.isin(np.arange(len(weights)), part) for part in parts])
    return Folded(np.stack([train, np.ones_like(train)]) * weights, masks[None] * weights)
