"""Strengths and decays, from the words of other libraries and back.

The same regularizer is stated in many ways. With the mean of the loss over samples:

| others | jaxreg |
|---|---|
| Keras `L1(l1)`, `L2(l2)`, `L1L2(l1, l2)` | `L1(l1)`, `L2(l2)`, `ElasticNet(l1, l2)` |
| PyTorch `SGD` and `Adam`: `weight_decay` | `add_l2_decay(weight_decay)` |
| the same, as a term of the loss | `L2.from_weight_decay(weight_decay)` |
| PyTorch and Optax: `AdamW` | `decoupled_weight_decay(weight_decay, rate)` |
| the paper of AdamW | the same with `coupling="independent"` |
| scikit-learn, skglm, celer: `Lasso`, `ElasticNet` | `from_sklearn(alpha, l1_ratio)` ¹ |
| scikit-learn: `SGDRegressor`, `SGDClassifier` | `from_sklearn(alpha, l1_ratio)` ¹ |
| glmnet: `lambda`, `alpha`; x standardised | `from_sklearn(lambda, alpha)` ¹ |
| scikit-learn: `Ridge` | `from_sklearn(alpha / n_samples)` ¹ |
| scikit-learn: `LogisticRegression` | `from_sklearn(alpha_from_c(C, n), l1_ratio)` |

¹ Beside *half* the mean squared error; beside the whole, a strength is twice as large.
"""

import math
from typing import Any

from jaxreg._checks import Scalar, check_number, is_concrete
from jaxreg.convert.scaling import width_scaling
from jaxreg.masks.selection import MaskLike, weights
from jaxreg.penalties import L1, L2, ElasticNet, Penalty


def from_sklearn(
    alpha: Scalar, l1_ratio: Scalar = 0.0, mask: MaskLike = weights
) -> ElasticNet:
    """The penalty that scikit-learn, skglm, celer and glmnet call `alpha` and `l1_ratio`.

        alpha · l1_ratio · Σ |w| + ½ · alpha · (1 − l1_ratio) · Σ w²

    beside half the mean squared error, or the mean log-loss of a classifier.
    glmnet says lambda for `alpha`, and alpha for `l1_ratio`. `Ridge` and
    `LogisticRegression` do not divide by the number of samples: give `alpha / n_samples`
    of the former, `alpha_from_c(C, n_samples)` of the latter.

    Args:
        alpha: Non-negative number.
        l1_ratio: The fraction of L1, between 0 (ridge) and 1 (lasso).
        mask: Which leaves; by default `weights`, which leaves out the intercept.

    Returns:
        An `ElasticNet`.

    Raises:
        TypeError: If a number is none.
        ValueError: If `alpha` is negative or NaN, or `l1_ratio` outside [0, 1].

    Example:
        >>> from_sklearn(0.1, l1_ratio=0.5)
        ElasticNet(l1=0.05, l2=0.025)

    References:
        scikit-learn's user guide, *Linear models*, section on elastic net; Friedman,
        Hastie and Tibshirani, *Regularization paths for generalized linear models via
        coordinate descent* (2010), section 2.
    """
    check_number("alpha", alpha)
    check_number("l1_ratio", l1_ratio)
    if is_concrete(l1_ratio) and l1_ratio > 1:
        raise ValueError(f"l1_ratio must be at most 1, got {l1_ratio:g}.")
    return ElasticNet(alpha * l1_ratio, alpha * (1 - l1_ratio) / 2, mask=mask)


def to_sklearn(penalty: Penalty) -> tuple[Scalar, Scalar]:
    """The `alpha` and `l1_ratio` of scikit-learn's `ElasticNet`: undoes `from_sklearn`.

    Args:
        penalty: An `L1`, `L2` or `ElasticNet` whose strengths are numbers.

    Returns:
        `alpha` and `l1_ratio`; a penalty of strength 0 has the ratio 0.

    Raises:
        TypeError: If it is another penalty, or a strength is no number.

    Example:
        >>> to_sklearn(ElasticNet(l1=0.05, l2=0.025))
        (0.1, 0.5)
    """
    if isinstance(penalty, ElasticNet):
        l1, l2 = penalty.l1, penalty.l2
    elif isinstance(penalty, L1):
        l1, l2 = penalty.strength, 0.0
    elif isinstance(penalty, L2):
        l1, l2 = 0.0, penalty.strength
    else:
        raise TypeError(f"penalty must be an L1, L2 or ElasticNet, got {penalty!r}.")
    for name, value in {"l1": l1, "l2": l2}.items():
        check_number(name, value)
    alpha = l1 + 2 * l2
    return alpha, 0.0 if alpha == 0 else l1 / alpha


def alpha_from_c(c: Scalar, *, n_samples: int) -> Scalar:
    """The `alpha` of a `C`, which multiplies the *sum* of the losses: 1/(n_samples · C).

    `LogisticRegression(C)` and `LinearSVC(C)` minimise `½‖w‖² + C · Σ loss`, so that a
    larger C regularizes less, and the same C less with more samples. The function is its
    own inverse: it also gives the `C` of an `alpha`.

    Args:
        c: A positive number.
        n_samples: Number of samples.

    Returns:
        The `alpha` for `from_sklearn`.

    Raises:
        ValueError: If a number is not positive.

    Example:
        >>> alpha_from_c(2.0, n_samples=50)
        0.01
        >>> from_sklearn(alpha_from_c(2.0, n_samples=50))
        ElasticNet(l1=0.0, l2=0.005)
    """
    _check_positive(c=c, n_samples=n_samples)
    return 1 / (n_samples * c)


def coupled_weight_decay(independent: Any, *, peak: Scalar) -> Any:
    """The decay coupled to the learning rate that equals an independent one.

        independent / peak

    The paper of AdamW multiplies its decay by the schedule alone, Optax and PyTorch by the
    learning rate, schedule times peak. The same step needs a decay 1/peak times as large.

    Args:
        independent: The decay of the paper.
        peak: The largest value of the learning rate, positive.

    Returns:
        The `weight_decay` of `decoupled_weight_decay`, `optax.adamw`, `torch.optim.AdamW`.

    Raises:
        ValueError: If `peak` is not positive.

    Example:
        >>> coupled_weight_decay(1e-4, peak=1e-3)
        0.1

    References:
        Loshchilov and Hutter, *Decoupled weight decay regularization* (2019), algorithm 2.
    """
    _check_positive(peak=peak)
    return independent / peak


def independent_weight_decay(coupled: Any, *, peak: Scalar) -> Any:
    """The independent decay that equals one coupled to the learning rate: coupled · peak.

    Args:
        coupled: The `weight_decay` of `optax.adamw` or `torch.optim.AdamW`.
        peak: The largest value of the learning rate, positive.

    Returns:
        The `weight_decay` of `decoupled_weight_decay(..., coupling="independent")`.

    Raises:
        ValueError: If `peak` is not positive.

    Example:
        >>> independent_weight_decay(0.1, peak=1e-3)
        0.0001
    """
    _check_positive(peak=peak)
    return coupled * peak


def normalized_weight_decay(
    strength: Scalar, *, batch_size: int, n_samples: int, epochs: Scalar
) -> Any:
    """A decay that need not be tuned again for another batch size or length of training.

        strength · √(batch_size / (n_samples · epochs))

    that is, strength/√(number of steps).

    Args:
        strength: The normalised decay: 0.025 to 0.05 in the paper's experiments.
        batch_size: Samples in a step.
        n_samples: Samples in the training set.
        epochs: How often training goes through them.

    Returns:
        An *independent* decay: for `coupling="independent"`, or `coupled_weight_decay`.

    Raises:
        ValueError: If a number is not positive.

    Example:
        >>> normalized_weight_decay(0.05, batch_size=128, n_samples=51_200, epochs=25)
        0.0005

    References:
        Loshchilov and Hutter, *Decoupled weight decay regularization* (2019), appendix B.1.
    """
    check_number("strength", strength)
    _check_positive(batch_size=batch_size, n_samples=n_samples, epochs=epochs)
    return strength * math.sqrt(batch_size / (n_samples * epochs))


def decay_timescale(
    learning_rate: Scalar, weight_decay: Scalar, steps_per_epoch: Scalar = 1
) -> Scalar:
    """How long a decayed optimizer remembers: 1/(learning_rate · weight_decay) steps.

    Under AdamW the weights are an exponential moving average of past updates, over this
    many steps. In epochs, its best value changes little with the size of model and data,
    and lies between one and their number in training.

    Args:
        learning_rate: A positive number; for independent decay 1.
        weight_decay: A positive number.
        steps_per_epoch: To count in epochs; 1 to count in steps.

    Returns:
        Number of epochs, or of steps.

    Raises:
        ValueError: If a number is not positive.

    Example:
        >>> decay_timescale(1e-3, 0.1)
        10000.0
        >>> decay_timescale(1e-3, 0.1, steps_per_epoch=500)
        20.0

    References:
        Wang and Aitchison, *How to set AdamW's weight decay as you scale model and dataset
        size* (2024), section 3.
    """
    _check_positive(
        learning_rate=learning_rate,
        weight_decay=weight_decay,
        steps_per_epoch=steps_per_epoch,
    )
    return 1 / (learning_rate * weight_decay * steps_per_epoch)


def weight_decay_of_timescale(
    timescale: Scalar, learning_rate: Scalar, steps_per_epoch: Scalar = 1
) -> Scalar:
    """The weight decay with a given timescale: undoes `decay_timescale`.

    Args:
        timescale: Number of epochs, or of steps.
        learning_rate: A positive number; for independent decay 1.
        steps_per_epoch: If the timescale is in epochs; 1 if it is in steps.

    Returns:
        The `weight_decay` that is multiplied by the learning rate.

    Raises:
        ValueError: If a number is not positive.

    Example:
        >>> weight_decay_of_timescale(20.0, 1e-3, steps_per_epoch=500)
        0.1
    """
    _check_positive(timescale=timescale)
    return decay_timescale(learning_rate, timescale, steps_per_epoch)


def mup_scaling(
    *, learning_rate: Scalar, weight_decay: Scalar, width: int, base_width: int
) -> tuple[Scalar, Scalar]:
    """Learning rate and decay of a hidden matrix when a network is made wider, under μP.

        learning_rate · base_width/width        weight_decay · width/base_width

    Under μP, Adam's learning rate of matrices falls as 1/width. A coupled decay must grow
    with the width, for their product, and with it the timescale, to stay the same. Other
    rules, and independent decay, are in `width_scaling`.

    Args:
        learning_rate: As tuned at the base width.
        weight_decay: As tuned at the base width, coupled to the learning rate.
        width: The fan-in of the matrices.
        base_width: Their fan-in in the network that was tuned.

    Returns:
        The learning rate and the weight decay at `width`.

    Raises:
        ValueError: If a width is not positive, or a rate negative.

    Example:
        >>> mup_scaling(learning_rate=1e-3, weight_decay=0.1, width=1024, base_width=256)
        (0.00025, 0.4)

    References:
        Wang and Aitchison, *How to set AdamW's weight decay as you scale model and dataset
        size* (2024), section 4; Yang et al., *Tensor programs V* (2021), table 3.
    """
    scaled = width_scaling(
        learning_rate=learning_rate,
        weight_decay=weight_decay,
        width=width,
        base_width=base_width,
    )
    return scaled.learning_rate, scaled.weight_decay


def _check_positive(**values: Any) -> None:
    for name, value in values.items():
        check_number(name, value, above=0.0)
