"""Frozen dataclasses that are JAX pytrees, and the four kinds of field they have.

A field declared with a plain default is a *strength*: traced, non-negative, scaled by
`penalty * c`. A `constant` is traced but not scaled: it shapes the formula. A `static`
field is hashed and never traced. A `part` holds penalties or arrays, traced and neither
scaled nor checked.
"""

import dataclasses
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Self, dataclass_transform

import jax
import numpy as np
from numpy.typing import NDArray

from jaxreg._checks import Scalar, check_numbers, is_concrete, is_function, is_real
from jaxreg._tree import Tree

Strength = Scalar | NDArray[Any] | np.number[Any] | Tree
"""A number, an array that broadcasts against the leaf, or a pytree prefix of these."""

if TYPE_CHECKING:

    class StrengthField:
        """The type of a field: a constructor takes a `Strength`, formulas a number."""

        def __get__(self, instance: Any, owner: Any) -> Any: ...
        def __set__(self, instance: Any, value: Strength) -> None: ...

else:
    StrengthField = Any

ONE: Any = 1.0
"""The default of strengths; without a type, since that of a field is what it takes."""


def static(*, default: Any = dataclasses.MISSING, kw_only: bool = False) -> Any:
    """A field that is no strength and never traced: a mask, an axis.

    Args:
        default: The default value; without it the field is required.
        kw_only: Whether it can only be given by keyword.

    Returns:
        A dataclass field.

    Example:
        >>> class TopicL1(L1):
        ...     topic: str = static(default="images")
        >>> TopicL1(0.1)
        TopicL1(strength=0.1, topic='images')
    """
    metadata = {"role": "static"}
    return dataclasses.field(default=default, kw_only=kw_only, metadata=metadata)


def constant(
    *,
    default: Any = dataclasses.MISSING,
    above: float | None = None,
    signed: bool = False,
) -> Any:
    """A traced number that shapes the formula, and that `penalty * c` leaves alone.

    Args:
        default: The default value; without it the field is required.
        above: Concrete values must be greater than this; non-negative if `None`.
        signed: Whether values may be negative.

    Returns:
        A dataclass field.

    Example:
        >>> class Bent(L1):
        ...     knee: float = constant(default=1.0, above=0.0)
        >>> Bent(0.1) * 2
        Bent(strength=0.2, knee=1.0)
    """
    metadata = {"role": "constant", "above": above, "signed": signed}
    return dataclasses.field(default=default, metadata=metadata)


def part(*, default: Any = dataclasses.MISSING) -> Any:
    """A field that holds other penalties or arrays: traced, but no strength."""
    return dataclasses.field(default=default, metadata={"role": "part"})


def traced_fields(penalty: Any) -> list[str]:
    """Names of the fields that JAX traces."""
    return [
        field.name
        for field in dataclasses.fields(penalty)
        if field.metadata.get("role") != "static"
    ]


def strength_fields(penalty: Any) -> list[str]:
    """Names of the fields that are strengths."""
    return [field.name for field in dataclasses.fields(penalty) if not field.metadata]


def check_fields(penalty: Any) -> None:
    """Refuse concrete strengths and constants that are no numbers or too small."""
    for field in dataclasses.fields(penalty):
        if field.metadata.get("role", "constant") == "constant":
            name = f"{type(penalty).__name__}.{field.name}"
            value = getattr(penalty, field.name)
            above, signed = (field.metadata.get(key) for key in ("above", "signed"))
            if any(is_function(part) for part in jax.tree.leaves(value)):
                raise TypeError(
                    f"{name} must be a real number, got {value!r}. A schedule is for the "
                    "optimizer: prox_adam(learning_rate, penalty, strength_schedule=...)."
                )
            check_numbers(name, value, above=above, signed=bool(signed))


@dataclass_transform(frozen_default=True, field_specifiers=(static, constant, part))
class Record:
    """A base that makes every subclass a frozen dataclass and a pytree.

    Attributes:
        traced: Names of the fields that JAX traces.
    """

    traced: ClassVar[tuple[str, ...]] = ()

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        for name, value in vars(cls).items():
            is_new = not any(hasattr(base, name) for base in cls.__mro__[1:])
            if is_real(value) and is_new and name not in cls.__annotations__:
                raise TypeError(
                    f"The field {cls.__name__}.{name} needs a type annotation to be a "
                    f"field: `{name}: float = {value}` (or `{name}: ClassVar[float]` for "
                    "a constant of the class)."
                )
        dataclasses.dataclass(frozen=True, eq=False, repr=False)(cls)
        traced = cls.traced = tuple(traced_fields(cls))
        fields = dataclasses.fields(cls)  # pyright: ignore[reportArgumentType]
        fixed = [field.name for field in fields if field.name not in traced]

        def flatten_with_keys(instance: Any) -> Any:
            children = [
                (jax.tree_util.GetAttrKey(name), getattr(instance, name)) for name in traced
            ]
            return children, tuple(getattr(instance, name) for name in fixed)

        def unflatten(fixed_values: Any, traced_values: Any) -> Any:
            # JAX also rebuilds pytrees around tracers and placeholders.
            values = dict(zip(traced, traced_values, strict=True))
            return cls._unchecked(values | dict(zip(fixed, fixed_values, strict=True)))

        jax.tree_util.register_pytree_with_keys(cls, flatten_with_keys, unflatten)

    @classmethod
    def _unchecked(cls, values: Mapping[str, Any]) -> Self:
        """A record with these values of its fields, as they are."""
        instance = object.__new__(cls)
        vars(instance).update(values)
        return instance

    def _with(self, **changes: Any) -> Self:
        """A copy with some fields changed, for values that come from the library itself."""
        return self._unchecked(vars(self) | changes)

    def __eq__(self, other: object) -> bool:
        """Whether both are of one kind, with equal fields, arrays entry by entry."""
        ours, kind = jax.tree.flatten(self)
        theirs, other_kind = jax.tree.flatten(other)
        return kind == other_kind and all(
            x is y or (is_concrete(x) and is_concrete(y) and np.array_equal(x, y))
            for x, y in zip(ours, theirs, strict=True)
        )

    def __hash__(self) -> int:
        """Equal records have equal structures; arrays cannot be hashed."""
        return hash(jax.tree.structure(self))
