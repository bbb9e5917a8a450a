"""Learning rate and weight decay for another width, batch or length of training.

In decoupled decay, weights are a moving average of updates over 1/(learning_rate ·
weight_decay) steps. What to keep when something else changes is a choice; each rule here
has its source.
"""

from collections.abc import Collection
from typing import Literal, NamedTuple

from jaxreg._checks import Scalar, check_number

Coupling = Literal["learning_rate", "independent"]
"""Whether the decay is multiplied by the learning rate, or by its schedule alone."""


class Rates(NamedTuple):
    """What an optimizer with decay is given.

    Attributes:
        learning_rate: The largest value of its schedule.
        weight_decay: With the coupling that was asked for.
    """

    learning_rate: Scalar
    weight_decay: Scalar


_BY_WIDTH = {"timescale": 1.0, "gain": 0.5, "constant": 0.0}


def width_scaling(
    *,
    learning_rate: Scalar,
    weight_decay: Scalar,
    width: int,
    base_width: int,
    rule: Literal["timescale", "gain", "constant"] = "timescale",
    coupling: Coupling = "learning_rate",
) -> Rates:
    """Learning rate and decay of a hidden matrix when a network is made wider, under μP.

        learning_rate · (base_width/width)        weight_decay · (width/base_width)ᵖ

    for a decay that is multiplied by the learning rate, with the power p by rule:

    | `rule` | p | so that |
    |---|---|---|
    | `"timescale"` | 1 | weights remember as many steps as before |
    | `"gain"` | ½ | the largest singular values do to inputs what they did before |
    | `"constant"` | 0 | the decay is the one that was tuned, as in the paper of μP |

    An independent decay is not multiplied by the learning rate, which has a factor
    base_width/width in it: its power is p − 1, so 0 by `"timescale"`: it stays.

    Args:
        learning_rate: As tuned at the base width.
        weight_decay: As tuned at the base width.
        width: The fan-in of the matrices.
        base_width: Their fan-in in the network that was tuned.
        rule: What stays as it was.
        coupling: Whether the decay is multiplied by the learning rate, or
            `"independent"`, as in `decoupled_weight_decay`.

    Returns:
        The learning rate and the weight decay at `width`.

    Raises:
        ValueError: If a width is not positive, a rate negative, or a rule unknown.

    Example:
        >>> tuned = {"learning_rate": 1e-3, "weight_decay": 0.1}
        >>> width_scaling(**tuned, width=1024, base_width=256)
        Rates(learning_rate=0.00025, weight_decay=0.4)
        >>> width_scaling(**tuned, width=1024, base_width=256, rule="gain")
        Rates(learning_rate=0.00025, weight_decay=0.2)

    References:
        Yang et al., *Tensor programs V* (2021), table 3 (constant); Wang and Aitchison,
        *How to set AdamW's weight decay as you scale model and dataset size* (2024),
        section 4, and Kosson et al., *Weight decay may matter more than μP for learning
        rate transfer in practice* (2025) (timescale, independent decay); Fan et al.,
        *Robust layerwise scaling rules by proper weight decay tuning* (2025) (gain).
    """
    _check(learning_rate, weight_decay, coupling, rule, _BY_WIDTH)
    ratio = _ratio(width=width, base_width=base_width)
    power = _BY_WIDTH[rule] - (coupling == "independent")
    return Rates(learning_rate / ratio, weight_decay * ratio**power)


_BY_BATCH = {"timescale": (0.0, 1.0), "square_root": (0.5, 0.5), "linear": (1.0, 0.0)}


def batch_scaling(
    *,
    learning_rate: Scalar,
    weight_decay: Scalar,
    batch_size: int,
    base_batch_size: int,
    rule: Literal["timescale", "square_root", "linear"] = "square_root",
    coupling: Coupling = "learning_rate",
) -> Rates:
    """Learning rate and decay for another batch size, at as many samples in all.

    With b = batch_size/base_batch_size:

    | `rule` | learning rate | decay | for |
    |---|---|---|---|
    | `"timescale"` | as it was | · b | Adam near the largest stable learning rate |
    | `"square_root"` | · √b | · √b | Adam where noise dominates |
    | `"linear"` | · b | as it was | SGD |

    By each of them the weights remember as many *samples* as before; an independent decay
    is multiplied by b, by each. The square root rule also wants 1 − b1 and 1 − b2
    multiplied by b, and eps divided by √b.

    Args:
        learning_rate: As tuned at the base batch size.
        weight_decay: As tuned there.
        batch_size: Samples in a step.
        base_batch_size: Those with which it was tuned.
        rule: As above.
        coupling: Whether the decay is multiplied by the learning rate.

    Returns:
        The learning rate and the weight decay at `batch_size`.

    Raises:
        ValueError: If a size is not positive, a rate negative, or a rule unknown.

    Example:
        >>> tuned = {"learning_rate": 1e-3, "weight_decay": 0.1}
        >>> batch_scaling(**tuned, batch_size=1024, base_batch_size=256)
        Rates(learning_rate=0.002, weight_decay=0.2)

    References:
        Bergsma et al., *Power lines: scaling laws for weight decay and batch size in LLM
        pre-training* (2025) (timescale); Malladi et al., *On the SDEs and scaling rules for
        adaptive gradient algorithms* (2022) (square root); Goyal et al., *Accurate, large
        minibatch SGD* (2017) (linear).
    """
    _check(learning_rate, weight_decay, coupling, rule, _BY_BATCH)
    ratio = _ratio(batch_size=batch_size, base_batch_size=base_batch_size)
    rate, decay = _BY_BATCH[rule]
    decay += rate * (coupling == "independent")
    return Rates(learning_rate * ratio**rate, weight_decay * ratio**decay)


_BY_HORIZON = {"steps": 0.0, "fraction": 1.0, "power": 0.473}


def horizon_scaling(
    weight_decay: Scalar,
    *,
    steps: int,
    base_steps: int,
    rule: Literal["steps", "fraction", "power"] = "power",
) -> Scalar:
    """The weight decay for a longer or shorter training, at the same learning rate.

        weight_decay · (base_steps/steps)ᵖ

    | `rule` | p | so that weights remember |
    |---|---|---|
    | `"steps"` | 0 | as many steps as before |
    | `"fraction"` | 1 | the same fraction of the training |
    | `"power"` | 0.473 | a fraction that falls as steps^−0.527, as fitted to LLMs |

    With more epochs of the same data, the number of epochs that weights remember should
    stay: that is `"steps"`. With more data in one epoch it is one of the others.

    Args:
        weight_decay: As tuned for the base number of steps, coupled or independent.
        steps: Number of steps, each of as many samples.
        base_steps: Those for which it was tuned.
        rule: As above.

    Returns:
        The weight decay for `steps`.

    Raises:
        ValueError: If a number of steps is not positive, the decay negative, or the rule
            unknown.

    Example:
        >>> horizon_scaling(0.1, steps=40_000, base_steps=10_000, rule="fraction")
        0.025
        >>> round(horizon_scaling(0.1, steps=40_000, base_steps=10_000), 4)
        0.0519

    References:
        Wang and Aitchison, *How to set AdamW's weight decay as you scale model and dataset
        size* (2024), section 3; Bergsma et al., *Power lines: scaling laws for weight decay
        and batch size in LLM pre-training* (2025), whose fit of the fraction has the
        exponent −0.527 in the tokens per parameter.
    """
    _check(0.0, weight_decay, "independent", rule, _BY_HORIZON)
    ratio = _ratio(steps=steps, base_steps=base_steps)
    return weight_decay / ratio ** _BY_HORIZON[rule]


def _ratio(**sizes: Scalar) -> float:
    """The first of two positive numbers over the second."""
    for name, size in sizes.items():
        check_number(name, size, above=0.0)
    first, second = sizes.values()
    return float(first / second)


def _check(
    learning_rate: Scalar,
    weight_decay: Scalar,
    coupling: str,
    rule: str,
    rules: Collection[str],
) -> None:
    check_number("learning_rate", learning_rate)
    check_number("weight_decay", weight_decay)
    for name, value, known in (
        ("coupling", coupling, ("learning_rate", "independent")),
        ("rule", rule, rules),
    ):
        if value not in known:
            listed = ", ".join(map(repr, known))
            raise ValueError(f"{name} must be one of {listed}, got {value!r}.")
