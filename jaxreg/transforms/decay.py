"""Weight decay: in the gradient, and beside the optimizer's step.

The two are different quantities, and their strengths have different units:

* **Coupled** (`add_l2_decay`): `weight_decay/2 · Σ w²` is part of the objective. The
  optimizer minimises loss + penalty, whichever it is; a strength has the units of the
  loss, and multiplying the loss by 1000 makes it 1000 times weaker. It is the negative
  logarithm of a Gaussian prior.
* **Decoupled** (`decoupled_weight_decay`): weights shrink by a fraction of themselves in
  every step. Under an optimizer that normalises its gradients (Adam, Lion, Muon) nothing
  changes when the loss is multiplied. What it then optimises is no `loss + penalty`: with
  full batches AdamW, where it converges, minimises the loss over the box
  `|w| ≤ 1/weight_decay`; with noise it comes near a ridge whose strength differs between
  weights, in proportion to the norm of their gradients. Under plain SGD
  the two are the same; under `optax.sgd(momentum=μ)` the coupled one is the decoupled one
  with `weight_decay/(1 − μ)`.

References:
    Loshchilov and Hutter, *Decoupled weight decay regularization* (2019); Xie and Li,
    *Implicit bias of AdamW: ℓ∞-norm constrained optimization* (2024).
"""

from collections.abc import Callable
from typing import Any, Literal, NamedTuple, get_args

import jax.numpy as jnp
import optax
from jax import Array

from jaxreg._checks import Scalar, check_number, is_function
from jaxreg._prefixes import values_at
from jaxreg._tree import Leaf, Params, walk
from jaxreg.masks.selection import Mask, MaskLike, as_mask, chosen, weights
from jaxreg.transforms._arguments import check_arguments
from jaxreg.transforms._lift import Rate, Rates, check_params, map_chosen, transformation
from jaxreg.transforms._nesting import INSIDE_DECAY, check_inside, warn_of_second_decay
from jaxreg.transforms._references import Reference, checked_toward, reference_copies
from jaxreg.transforms._states import TowardState, renamed_beside

Coupling = Literal["learning_rate", "independent", "corrected"]
"""How a decay follows the learning rate."""


def add_l2_decay(
    weight_decay: Rates, mask: MaskLike = weights, *, toward: Reference = None
) -> optax.GradientTransformationExtraArgs:
    """Add the gradient of L2 to the gradients: coupled weight decay.

        g ← g + weight_decay · w

    Place it *before* the optimizer. It then minimises `loss + weight_decay/2 · Σ w²`
    with any optimizer, as if the penalty stood in the loss, at a lower cost. Under Adam
    the objective is still this one, but each weight shrinks at its own speed: the decay
    is divided by √v̂ together with the gradient. It is what `weight_decay` means in
    `torch.optim.SGD` and `torch.optim.Adam`.

    Args:
        weight_decay: Non-negative number, array, pytree prefix of the parameters, or an
            Optax schedule. Twice the strength of `L2`.
        mask: Which leaves; by default `weights`.
        toward: As in `decoupled_weight_decay`.

    Returns:
        A transformation. `update` needs `params`.

    Raises:
        TypeError: If `weight_decay` is no real number or the mask cannot choose leaves.
        ValueError: If a concrete `weight_decay` is negative or NaN; when used, if the
            mask chooses nothing or `params` is missing.

    Example:
        >>> optimizer = optax.chain(add_l2_decay(0.1), optax.sgd(0.5))
        >>> params = {"kernel": jnp.array([2.0, -1.0]), "bias": jnp.array([1.0])}
        >>> zeros = jax.tree.map(jnp.zeros_like, params)
        >>> optimizer.update(zeros, optimizer.init(params), params)[0]["kernel"]
        Array([-0.1 ,  0.05], dtype=float32)

    References:
        Loshchilov and Hutter, *Decoupled weight decay regularization* (2019), section 2.
    """
    check_arguments(add_l2_decay, weight_decay=weight_decay, mask=mask)

    def add(gradient: Array, w: Array, pull: _Pull) -> Array:
        return gradient + pull.rate * pull.away(w)

    return _pulling(add, as_mask(mask), toward, weight_decay=weight_decay)


def decoupled_weight_decay(
    weight_decay: Rates,
    *,
    learning_rate: Rate,
    mask: MaskLike = weights,
    coupling: Coupling = "learning_rate",
    peak: Scalar | None = None,
    implicit: bool = False,
    cautious: bool = False,
    toward: Reference = None,
) -> optax.GradientTransformationExtraArgs:
    """Shrink the weights beside the optimizer's step, as AdamW does.

        w ← w + u − rate · w        after the optimizer's update u

    Place it *after* a finished optimizer, whichever it is; the sign is right there
    (`optax.add_decayed_weights` in that place makes weights grow). The decay does not
    pass through the optimizer's preconditioner and momentum. The rate is, by `coupling`:

    | `coupling` | rate | so that |
    |---|---|---|
    | `"learning_rate"` | lr · weight_decay | as in Optax's and PyTorch's AdamW |
    | `"independent"` | lr/peak · weight_decay | a change of the peak does not change it |
    | `"corrected"` | lr · lr/peak · weight_decay | normalised layers keep their norm |

    Independent decay is that of the paper of AdamW. Corrected decay (AdamC) is for the
    layers that are followed by a normalisation, such as batch or layer norm: their norms
    settle where decay balances the steps, and that balance moves as a schedule falls,
    unless the decay falls faster. Leave the others (the last layer, say) to a second
    decay with another mask.

    In bf16 and f16 a decay below the resolution of the dtype is lost, by itself wholly and
    beside small steps in part: `decay_resolution` tells where, and
    `with_kahan_compensation` around
    the optimizer makes it right.

    Args:
        weight_decay: Non-negative number, array, pytree prefix of the parameters, or an
            Optax schedule.
        learning_rate: The optimizer's: a non-negative number or the same schedule.
        mask: Which leaves; by default `weights`.
        coupling: How the decay follows the learning rate, as above.
        peak: For the couplings that use it: the largest value of the learning rate. Only
            for a learning rate that is a Python number may it be left out.
        implicit: Whether to divide, w ← (w + u)/(1 + rate): the proximal step of L2. It
            never overshoots, however large the rate, and differs from the above by less
            than rate².
        cautious: Whether to decay only the entries that u also moves towards zero, or
            does not move. The minimiser of the loss then stays one.
        toward: What to decay toward in place of zero: a pytree with an array for every
            chosen leaf (pretrained weights), or `"start"` for the parameters that `init`
            is given. A copy is kept in the state, sharded like what it was copied from.

    Returns:
        A transformation. `update` needs `params`.

    Raises:
        TypeError: If a rate is no real number, the mask cannot choose leaves, or `toward`
            is no pytree of arrays.
        ValueError: If a concrete rate is negative or NaN; if `coupling` is unknown, or
            `peak` missing or of no use; when used, if the mask chooses nothing or
            `params` is missing.

    Example:
        >>> decay = decoupled_weight_decay(0.1, learning_rate=0.5)
        >>> optimizer = optax.chain(optax.adam(0.5), decay)
        >>> params = {"kernel": jnp.array([2.0, -1.0]), "bias": jnp.array([1.0])}
        >>> zeros = jax.tree.map(jnp.zeros_like, params)
        >>> optimizer.update(zeros, optimizer.init(params), params)[0]["kernel"]
        Array([-0.1 ,  0.05], dtype=float32)

        A decay that is the same whatever the peak of the schedule:

        >>> schedule = optax.cosine_decay_schedule(3e-3, 1000)
        >>> decay = decoupled_weight_decay(
        ...     1e-4, learning_rate=schedule, coupling="independent", peak=3e-3
        ... )

    References:
        Loshchilov and Hutter, *Decoupled weight decay regularization* (2019), algorithm 2
        (independent); Defazio, *Why gradients rapidly increase near the end of training*
        (2025), section 4 (corrected); Zhuang et al., *Understanding AdamW through
        proximal methods and scale-freeness* (2022), section 3 (implicit); Chen et al.,
        *Cautious weight decay* (2025), algorithm 1; Li, Grandvalet and Davoine, *Explicit
        inductive bias for transfer learning* (2018), section 3 (toward).
    """
    check_arguments(
        decoupled_weight_decay,
        weight_decay=weight_decay,
        learning_rate=learning_rate,
        mask=mask,
    )
    peak = _checked_peak(coupling, peak, learning_rate)

    def shrink(update: Array, w: Array, pull: _Pull) -> Array:
        rate, away = pull.rate, pull.away(w)
        if cautious:
            rate = jnp.where(jnp.sign(update) * jnp.sign(away) <= 0, rate, 0.0)
        moved = update - rate * away
        return moved / (1 + rate) if implicit else moved

    def scale(rate: Any) -> Any:
        if coupling == "learning_rate":
            return rate
        return rate / peak if coupling == "independent" else rate * (rate / peak)

    return _pulling(
        shrink,
        as_mask(mask),
        toward,
        scale,
        weight_decay=weight_decay,
        learning_rate=learning_rate,
    )


def with_decay(
    optimizer: optax.GradientTransformation,
    weight_decay: Rates,
    *,
    learning_rate: Rate,
    mask: MaskLike = weights,
    coupling: Coupling = "learning_rate",
    peak: Scalar | None = None,
    implicit: bool = False,
    cautious: bool = False,
    toward: Reference = None,
) -> optax.GradientTransformationExtraArgs:
    """Any finished optimizer, with decoupled weight decay beside its steps.

    For optimizers that have no `weight_decay` (`optax.sgd`, `optax.rmsprop`,
    `optax.adagrad`, ...), no mask (`optax.novograd`, ...), or another coupling than you
    want (`optax.adafactor` does not multiply by the learning rate, `optax.adadelta`
    decays the gradient): it means the same around each of them. Turn the optimizer's own
    decay off; some have one by default, such as `optax.adamw` and `optax.lion`. `init`
    warns where it finds one.

    The updates are those of `optax.chain(optimizer, decoupled_weight_decay(...))`. What
    keeps parameters of its own inside, such as `optax.contrib.schedule_free` and
    `optax.lookahead`, goes *around* it; so do
    `with_kahan_compensation`, `monitor` and `orthant_wise`,
    which are refused inside. Optimizers with a proximal step have a `weight_decay=` of
    their own.

    Args:
        optimizer: Any finished Optax optimizer.
        weight_decay: Non-negative number, array, pytree prefix of the parameters, or an
            Optax schedule.
        learning_rate: The optimizer's: a non-negative number or the same schedule.
        mask: Which leaves; by default `weights`.
        coupling: As in `decoupled_weight_decay`, like the options that follow.
        peak: The largest value of the learning rate, where the coupling uses it.
        implicit: Whether to divide by 1 + rate.
        cautious: Whether to decay only what the optimizer also moves towards zero.
        toward: What to decay toward in place of zero.

    Returns:
        An optimizer. `update` needs `params`.

    Raises:
        TypeError: If `optimizer` is no finished optimizer, or as for
            `decoupled_weight_decay`.
        ValueError: As for `decoupled_weight_decay`; when used, if a transform is inside
            that must go around it.

    Warns:
        UserWarning: If the optimizer decays weights of the mask by itself.

    Example:
        >>> optimizer = with_decay(optax.rmsprop(0.5), 0.1, learning_rate=0.5)
        >>> params = {"kernel": jnp.array([2.0, -1.0]), "bias": jnp.array([1.0])}
        >>> zeros = jax.tree.map(jnp.zeros_like, params)
        >>> optimizer.update(zeros, optimizer.init(params), params)[0]["kernel"]
        Array([-0.1 ,  0.05], dtype=float32)

    References:
        Loshchilov and Hutter, *Decoupled weight decay regularization* (2019), section 2.
    """
    check_arguments(
        with_decay,
        optimizer=optimizer,
        weight_decay=weight_decay,
        learning_rate=learning_rate,
        mask=mask,
    )
    decay = decoupled_weight_decay(
        weight_decay,
        learning_rate=learning_rate,
        mask=mask,
        coupling=coupling,
        peak=peak,
        implicit=implicit,
        cautious=cautious,
        toward=toward,
    )
    inner = optax.with_extra_args_support(optimizer)
    mask = as_mask(mask)

    def init(params: Params) -> tuple[optax.OptState, optax.OptState]:
        state = inner.init(params)
        check_inside("with_decay", state, INSIDE_DECAY)
        own = renamed_beside(state, decay.init(params))
        tree = list(walk(params))
        first = zip(tree, chosen(mask, tree, params), strict=True)
        leaf = next((leaf for leaf, is_chosen in first if is_chosen), None)
        if leaf is not None:
            warn_of_second_decay(inner, leaf)
        return state, own

    def update(
        updates: Params, state: Any, params: Params | None = None, **extra_args: Any
    ) -> tuple[Params, tuple[optax.OptState, optax.OptState]]:
        params = check_params(params, updates)
        moved, inner_state = inner.update(updates, state[0], params, **extra_args)
        moved, own = decay.update(moved, state[1], params)
        return moved, (inner_state, own)

    return optax.GradientTransformationExtraArgs(init, update)


class _Pull(NamedTuple):
    """What draws one leaf: the fraction of its way in a step, and where to."""

    rate: Any
    reference: Any

    def away(self, w: Array) -> Array:
        return w if self.reference is None else w - self.reference


def _pulling(
    formula: Callable[[Array, Array, _Pull], Array],
    mask: Mask,
    toward: Reference,
    scale: Callable[[Any], Any] = lambda rate: rate,
    *,
    weight_decay: Rates,
    learning_rate: Rate = 1.0,
) -> optax.GradientTransformationExtraArgs:
    """`formula(update, w, pull)` on each chosen leaf, pulled by scale(lr)·weight_decay."""

    def pulls_at(
        reference: Params | None, params: Params, decay: Any, rate: Any
    ) -> tuple[list[Leaf], list[_Pull | None]]:
        tree = list(walk(params))
        is_chosen = chosen(mask, tree, params)
        decays = values_at(decay, tree, is_chosen, "weight_decay", by_pattern=True)
        where: list[Any] = [None] * len(tree)
        if reference is not None:
            where = values_at(reference, tree, is_chosen, "toward")
        scaled = scale(rate)
        return tree, [
            None if decay is None else _Pull(scaled * decay, origin)
            for decay, origin in zip(decays, where, strict=True)
        ]

    def decay_toward(reference: Params | None) -> optax.GradientTransformationExtraArgs:
        def rule(updates: Params, params: Params, decay: Any, rate: Any) -> Params:
            pulls = pulls_at(reference, params, decay, rate)
            return map_chosen(formula, updates, params, *pulls)

        def check(params: Params) -> None:
            pulls_at(
                reference, params, 0.0 if is_function(weight_decay) else weight_decay, 1.0
            )

        rates = {"weight_decay": weight_decay, "learning_rate": learning_rate}
        return transformation(rule, check, **rates)

    if toward is None:
        return decay_toward(None)
    source = checked_toward(toward)

    def init(params: Params) -> TowardState:
        tree = list(walk(params))
        reference = reference_copies(source, tree, chosen(mask, tree, params), params)
        return TowardState(reference, decay_toward(reference).init(params))

    def update(
        updates: Params, state: Any, params: Params | None = None, **extra_args: Any
    ) -> tuple[Params, TowardState]:
        decay = decay_toward(state.reference)
        updates, inner = decay.update(updates, state.inner, params, **extra_args)
        return updates, TowardState(state.reference, inner)

    return optax.GradientTransformationExtraArgs(init, update)


def _checked_peak(coupling: Any, peak: Any, learning_rate: Any) -> Any:
    """The peak that a coupling compares the learning rate with; `None` if it needs none."""
    if coupling not in get_args(Coupling):
        known = ", ".join(map(repr, get_args(Coupling)))
        raise ValueError(f"coupling must be one of {known}, got {coupling!r}.")
    if coupling == "learning_rate":
        if peak is not None:
            raise ValueError(
                "peak must be left out with coupling='learning_rate', which does not use "
                f"it; got {peak!r}. Did you mean coupling='independent'?"
            )
        return None
    if peak is None:
        if not isinstance(learning_rate, float | int):
            raise ValueError(
                f"coupling={coupling!r} compares the learning rate with its largest "
                "value, which cannot be read off a schedule or an array: give it as peak="
            )
        peak = learning_rate
    check_number("peak", peak, above=0.0)
    return peak
