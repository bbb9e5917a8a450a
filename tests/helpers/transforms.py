"""Every public transform, found by its return annotation and built from its signature.

A new transform joins the contract of `test_contract.py` by being public. If it requires
an argument of a new name, `ARGUMENTS` needs a value for it.
"""

import collections.abc
import dataclasses
import inspect
from collections.abc import Callable, Iterator
from typing import Any, Literal, get_args, get_origin, get_type_hints

import jax.numpy as jnp
import optax

import jaxreg
from tests.helpers.public import PUBLIC

Shrinks = Literal["entries", "norms", "nothing"]

# A value for every argument that a transform may require, by name.
ARGUMENTS: dict[str, Any] = {
    "bound": 0.2,
    "learning_rate": 0.05,
    "optimizer": optax.sgd(0.05),
    "penalty": jaxreg.L1(0.3),
    "scaler": optax.scale_by_adam,
    "strength": 0.3,
    "warmup_steps": 0,
    "target": 0.3,
    "weight_decay": 0.1,
}

# Options with which a transform joins the contract in the place of its defaults.
OPTIONS: dict[str, dict[str, Any]] = {
    "with_kahan_compensation": {"optimizer": jaxreg.prox_sgd(0.05, jaxreg.L1(0.3))},
    "constrained_parameter_regularization": {"bound": 0.5},
    "monitor": {"optimizer": jaxreg.prox_sgd(0.05, jaxreg.L1(0.3)), "every": 2},
    # Uphill, so that from the second step on gradients oppose where weights have gone.
    "selective_projection_decay": {"optimizer": optax.scale(0.05)},
    "lora_decay": {"factors": ("kernel", "right_kernel")},
    "with_fixed_norm": {"radius": 0.3, "matrix_axes": (-2, -1)},
    "spectral_clip": {"matrix_axes": (-2, -1)},
    "spectral_decay": {"matrix_axes": (-2, -1)},
    "with_decay": {"coupling": "independent", "peak": 0.1, "implicit": True},
}

# What becomes smaller without gradients: by default, each entry of a weight.
SHRINKS: dict[str, Shrinks] = {
    "lora_decay": "norms",
    "selective_projection_decay": "nothing",  # It answers steps that gradients oppose.
    "spectral_clip": "norms",
    "spectral_decay": "norms",
}

# Values that make a transform remember something for each parameter.
MEMORY: dict[str, Any] = {"toward": "start", "window": 5}


@dataclasses.dataclass(frozen=True)
class Recipe:
    """A public transform and how to build it.

    Attributes:
        factory: The function that makes it.
        scheduled: Whether the rates that it requires are schedules here, not numbers.
        memory: An argument that has its value of `MEMORY`, if any.
    """

    factory: Callable[..., optax.GradientTransformationExtraArgs]
    scheduled: bool = False
    memory: str = ""

    def __call__(self, **overrides: Any) -> optax.GradientTransformationExtraArgs:
        """The transform, from the arguments it requires and those given here."""
        return self.factory(**{**self.arguments, **overrides})

    def __str__(self) -> str:
        memory = f"-{self.memory}" if self.memory else ""
        return self.factory.__name__ + "-scheduled" * self.scheduled + memory

    @property
    def arguments(self) -> dict[str, Any]:
        """The arguments it requires."""
        values = {name: self.value(name) for name in self._required()}
        values |= OPTIONS.get(self.factory.__name__, {})
        if self.memory:
            values[self.memory] = MEMORY[self.memory]
        if self.scheduled:
            values |= {name: halving(values[name]) for name in self.rates if name in values}
        return values

    @property
    def numbers(self) -> list[str]:
        """All arguments that may be numbers, also those with a default other than none."""
        parameters = inspect.signature(self.factory).parameters
        return [
            name
            for name, hint in self._hints().items()
            if float in hint and parameters[name].default is not None
        ]

    @property
    def rates(self) -> list[str]:
        """All arguments that may be numbers or schedules."""
        hints = self._hints()
        return [name for name in self.numbers if any(map(_is_function, hints[name]))]

    def value(self, name: str) -> Any:
        """A sensible value for an argument."""
        default = inspect.signature(self.factory).parameters[name].default
        value = ARGUMENTS.get(name, default)
        if value is inspect.Parameter.empty:
            raise LookupError(
                f"{self.factory.__name__} requires the argument {name!r}, which no test "
                "knows: add a value for it to ARGUMENTS in tests/helpers/transforms.py."
            )
        return value

    def of(
        self, strength: Any, mask: Any = jaxreg.weights
    ) -> optax.GradientTransformationExtraArgs:
        """The transform that regularizes the leaves of `mask` that strongly."""
        takes = inspect.signature(self.factory).parameters
        penalty = jaxreg.L1(strength, mask=mask)
        if "penalty" in self._required():
            return self(penalty=penalty)
        for name in ("strength", "weight_decay", "rate"):
            if name in takes:
                return self(**{name: strength, "mask": mask})
        for name in ("bound", "radius"):  # The smaller, the stronger.
            if name in takes:
                return self(**{name: 0.06 / jnp.maximum(strength, 1e-3), "mask": mask})
        return self(optimizer=jaxreg.prox_sgd(0.05, penalty))

    def finish(
        self, tx: optax.GradientTransformation
    ) -> optax.GradientTransformationExtraArgs:
        """An optimizer: one that knows nothing of steps acts on gradients, before SGD."""
        after = {"bound", "learning_rate", "optimizer", "warmup_steps"}
        knows_step = after & self.arguments.keys()
        return optax.chain(tx, optax.identity() if knows_step else optax.sgd(0.05))

    @property
    def shrinks(self) -> Shrinks:
        """What of the weights becomes smaller if all gradients are zero."""
        return SHRINKS.get(self.factory.__name__, "entries")

    @property
    def is_paired(self) -> bool:
        """Whether it acts on the product of two leaves, each with a name of its own."""
        return "factors" in self.takes

    @property
    def takes(self) -> list[str]:
        """The names of all arguments."""
        return list(inspect.signature(self.factory).parameters)

    def _required(self) -> Iterator[str]:
        for name, parameter in inspect.signature(self.factory).parameters.items():
            if parameter.default is parameter.empty and parameter.kind not in (
                parameter.VAR_KEYWORD,
                parameter.VAR_POSITIONAL,
            ):
                yield name

    def _hints(self) -> dict[str, tuple[Any, ...]]:
        """The alternatives that the annotation of each argument offers."""
        hints = get_type_hints(self.factory)
        return {
            name: get_args(hints[name]) or (hints[name],)
            for name in inspect.signature(self.factory).parameters
        }


def _is_function(hint: Any) -> bool:
    return get_origin(hint) is collections.abc.Callable


def halving(value: float) -> optax.Schedule:
    """A schedule from `value` to half of it in four updates."""
    return optax.linear_schedule(value, value / 2, 4)


def is_transform(value: Any) -> bool:
    """Whether `value` is a function that says it returns an Optax transformation."""
    made = get_type_hints(value).get("return") if inspect.isfunction(value) else None
    return made is optax.GradientTransformationExtraArgs


TRANSFORMS = [value for value in PUBLIC.values() if is_transform(value)]
RECIPES = [Recipe(factory) for factory in TRANSFORMS]
CONSTANT = [recipe for recipe in RECIPES if not recipe.is_paired]
SCHEDULED = [Recipe(recipe.factory, True) for recipe in CONSTANT if recipe.rates]
# What acts on pairs of matrices, which parameters must have.
PAIRED = [recipe for recipe in RECIPES if recipe.is_paired]
PAIRED_SCHEDULED = [Recipe(recipe.factory, True) for recipe in PAIRED if recipe.rates]
REMEMBERING = [
    Recipe(recipe.factory, memory=name)
    for recipe in CONSTANT
    for name in MEMORY
    if name in recipe.takes
]
WRAPPERS = [recipe for recipe in CONSTANT if "optimizer" in recipe.takes]
