"""A table of what is regularized: for a terminal, for `rich`, and for a notebook."""

import dataclasses
import html
import math
import textwrap
from collections.abc import Sequence
from typing import Any

import jax
import numpy as np

from jaxreg._checks import check_count, check_numbers
from jaxreg._prefixes import values_at
from jaxreg._text import table
from jaxreg._tree import Leaf, Params, walk
from jaxreg.masks.roles import doubtful, roles_of
from jaxreg.masks.selection import (
    MaskLike,
    NothingChosenError,
    as_mask,
    chosen,
    weights,
)
from jaxreg.monitoring._coupled import Coupled
from jaxreg.monitoring.advice import Treated, advice
from jaxreg.monitoring.resolution import decay_resolution
from jaxreg.penalties import Penalty
from jaxreg.penalties.base import terms_of


@dataclasses.dataclass(frozen=True)
class Row:
    """One leaf in a `Description`.

    Attributes:
        path: Its path, `encoder/Dense_0/kernel`.
        shape: Its shape.
        dtype: Its dtype.
        size: Its number of entries.
        regularized: How, in words; empty if it is not regularized.
        decay: The fraction of a weight that one step of decoupled decay takes away, at the
            learning rate given; `None` if that is not known.
        timescale: Over how many steps weights then average their updates: 1/decay.
        coverage: The fraction of the training that this is; `None` if its length is not
            known.
        groups: How many coupled groups the leaf has a part of; `None` if the penalty has
            no `groups=`.
        zero_groups: How many of these are zero in all of their leaves, so that `compact`
            removes them; `None` if that is not known, as for shapes without values.
    """

    path: str
    shape: tuple[int, ...]
    dtype: str
    size: int
    regularized: str
    decay: float | None = None
    timescale: float | None = None
    coverage: float | None = None
    groups: int | None = None
    zero_groups: int | None = None


_HEAD = ("path", "shape", "dtype", "parameters", "regularized")
_DECAY_HEAD = ("decay a step", "timescale in steps", "of the training")
_GROUPS_HEAD = "zero groups"


@dataclasses.dataclass(frozen=True, repr=False)
class Description:
    """What regularizes each leaf; prints as a table, with warnings below it.

    A notebook shows it as HTML, and `rich.print` in colours.

    Attributes:
        rows: One `Row` for each array of the parameters.
        warnings: A sentence or two for each likely mistake.
        groups: How many coupled groups there are, of the first term with `groups=`.
        zero_groups: How many of these are zero in all of their leaves.
    """

    rows: tuple[Row, ...]
    warnings: tuple[str, ...] = ()
    groups: int | None = None
    zero_groups: int | None = None

    @property
    def total(self) -> int:
        """Number of entries of all arrays."""
        return sum(row.size for row in self.rows)

    @property
    def regularized(self) -> int:
        """Number of entries that are regularized."""
        return sum(row.size for row in self.rows if row.regularized)

    def __repr__(self) -> str:
        text = table(self._head, self._cells, self._foot, numbers=["parameters"])
        notes = [
            textwrap.fill(f"warning: {warning}", 88, subsequent_indent="  ")
            for warning in self.warnings
        ]
        return "\n".join([text, *notes])

    def __rich__(self) -> Any:
        """What `rich` prints; it is imported only here, where it asks."""
        from rich.console import Group
        from rich.table import Table
        from rich.text import Text

        shown = Table(show_footer=True)
        for name, foot in zip(self._head, self._foot, strict=True):
            justify = "right" if name == "parameters" else "left"
            shown.add_column(name, Text(foot), justify=justify)
        for row, cells in zip(self.rows, self._cells, strict=True):
            shown.add_row(*map(Text, cells), style="" if row.regularized else "dim")
        notes = [Text(f"warning: {warning}", "yellow") for warning in self.warnings]
        return Group(shown, *notes)

    def _repr_html_(self) -> str:
        def line(cells: Sequence[str], tag: str) -> str:
            aligned = (
                f'<{tag} style="text-align: {"right" if name == "parameters" else "left"}">'
                f"{html.escape(cell)}</{tag}>"
                for name, cell in zip(self._head, cells, strict=True)
            )
            return f"<tr>{''.join(aligned)}</tr>"

        rows = "".join(line(cells, "td") for cells in self._cells)
        notes = "".join(f"<p>\u26a0 {html.escape(text)}</p>" for text in self.warnings)
        return (
            f"<table><thead>{line(self._head, 'th')}</thead><tbody>{rows}</tbody>"
            f"<tfoot>{line(self._foot, 'th')}</tfoot></table>{notes}"
        )

    @property
    def _head(self) -> tuple[str, ...]:
        return _HEAD + (_GROUPS_HEAD,) * self._has_groups + _DECAY_HEAD[: self._extra]

    @property
    def _has_groups(self) -> bool:
        return self.zero_groups is not None

    @property
    def _extra(self) -> int:
        """How many columns there are about the decay."""
        if all(row.decay is None for row in self.rows):
            return 0
        return 2 + any(row.coverage is not None for row in self.rows)

    @property
    def _cells(self) -> list[tuple[str, ...]]:
        return [
            (
                *(r.path, str(r.shape), r.dtype, f"{r.size:,}", r.regularized or "no"),
                *(_of(r.zero_groups, r.groups),) * self._has_groups,
                *_decay_cells(r)[: self._extra],
            )
            for r in self.rows
        ]

    @property
    def _foot(self) -> tuple[str, ...]:
        percent = 100 * self.regularized / max(1, self.total)
        return (
            "total",
            "",
            "",
            f"{self.total:,}",
            f"{self.regularized:,} ({percent:.1f} %)",
            *(_of(self.zero_groups, self.groups),) * self._has_groups,
            *[""] * self._extra,
        )


def describe(
    what: Penalty | MaskLike,
    params: Params,
    *,
    weight_decay: Any = None,
    learning_rate: float | None = None,
    decay_mask: MaskLike | None = None,
    steps: int | None = None,
) -> Description:
    """Show which leaves are regularized, how, how strongly, and what may be a mistake.

    Below the table it warns where

    - nothing is regularized: no leaf is chosen, or every strength is 0;
    - biases, normalisation scales or embeddings are regularized, or vectors that may be
      biases or scales, since no rule knows their names;
    - a strength is outside the usual range: L1 1e-6..1e-3, L2 1e-5..1e-2, decoupled
      weight decay 1e-3..1e-1;
    - L1 and L2 have the same strength on a leaf;
    - a decay is below the resolution of a leaf's dtype;
    - decoupled weight decay and L2 meet on a leaf.

    For a penalty with coupled groups (`groups=`) and parameters that have values it shows
    how many groups are zero, in each leaf and in all: those that `compact` removes.

    Args:
        what: A penalty (or sum of penalties), or the mask of a transform.
        params: The parameters; a pytree of `jax.ShapeDtypeStruct` will do.
        weight_decay: The decoupled weight decay beside it (of `optax.adamw`,
            `with_decay`, ...): a number, an array, or a pytree prefix of these.
        learning_rate: A number; of a schedule, the peak; 1 for independent decay. With it,
            `describe` tells how much of a weight a step takes away, over how many steps
            weights then are an average of their updates, and whether a step of decay is too
            small for the dtype.
        steps: Number of steps of the training. With it, `describe` tells which fraction of
            it these are; under a schedule that falls, the last steps cover more.
        decay_mask: Which leaves decay; `weights` if `None`. Where `what` is a mask it is
            the mask of the decay.

    Returns:
        A `Description`: print it for a table, or read its `rows` and `warnings`.

    Raises:
        TypeError: If `what` is neither a penalty nor a mask, or a rate is no number.
        ValueError: If it does not match `params` (a pattern of `named` that matches
            nothing, say), a rate is negative or NaN, or an option of the decay comes
            without it.

    Example:
        >>> params = {"Dense_0": {"kernel": jnp.ones((64, 10)), "bias": jnp.ones(10)}}
        >>> print(describe(L1(1e-4), params))
        path            shape     dtype    parameters  regularized
        --------------  --------  -------  ----------  -------------------
        Dense_0/bias    (10,)     float32          10  no
        Dense_0/kernel  (64, 10)  float32         640  L1(strength=0.0001)
        --------------  --------  -------  ----------  -------------------
        total                                     650  640 (98.5 %)

        AdamW, with a decay on everything:

        >>> settings = describe(everything, params, weight_decay=0.1, learning_rate=1e-3)
        >>> [row.regularized for row in settings.rows]
        ['weight decay 0.1', 'weight decay 0.1']
        >>> [row.timescale for row in settings.rows]
        [10000.0, 10000.0]
        >>> for warning in settings.warnings:
        ...     print(warning)
        biases are regularized: 'Dense_0/bias'. They move outputs and do not make them
        more complex. Leave them out: mask=jaxreg.weights.
    """
    if isinstance(what, type):
        raise TypeError(f"describe needs a penalty or a mask, got {what}.")
    if isinstance(params, Penalty):
        raise TypeError(
            "describe takes the penalty before the parameters: describe(penalty, params)."
        )
    tree = list(walk(params))
    if weight_decay is None:
        _refuse(learning_rate=learning_rate, decay_mask=decay_mask, steps=steps)
    elif not isinstance(what, Penalty):
        _refuse(decay_mask=decay_mask)
        decay_mask = what
    terms = terms_of(what) if isinstance(what, Penalty) else ()
    columns = [_terms_at(term, tree, params) for term in terms]
    marks = [False] * len(tree) if terms else _chosen_by(what, tree, params)
    decays, lost = _decays(
        weight_decay,
        learning_rate,
        weights if decay_mask is None else decay_mask,
        tree,
        params,
    )
    roles = roles_of(tree)
    doubts = doubtful(tree, roles)
    treated = [
        Treated(
            leaf,
            tuple(term for column in columns if (term := column[index]) is not None),
            decays[index],
            marks[index],
            roles[index],
            doubts[index],
        )
        for index, leaf in enumerate(tree)
        if leaf.is_array and leaf.same_as is None
    ]
    if steps is not None:
        if learning_rate is None:
            raise ValueError(f"steps must go with a learning_rate=..., got {steps!r}.")
        check_count("steps", steps)
    idle = [term for term, column in zip(terms, columns, strict=True) if not any(column)]
    notes = [f"{term!r} chooses no leaf." for term in idle if len(terms) > 1 and tree]
    found = Coupled.of(terms, tree)
    return Description(
        rows=tuple(_row(leaf, learning_rate, steps, found) for leaf in treated),
        warnings=(*notes, *advice(treated, lost)),
        groups=found.groups.count if found else None,
        zero_groups=len(found.zero) if found and found.zero is not None else None,
    )


def _refuse(**given: Any) -> None:
    for name, value in given.items():
        if value is not None:
            raise ValueError(
                f"{name} must go with a penalty and its weight_decay=..., got {value!r}."
            )


def _terms_at(term: Penalty, tree: list[Leaf], params: Params) -> Sequence[Penalty | None]:
    try:
        return term.bind(params).terms
    except NothingChosenError:
        return [None] * len(tree)


def _chosen_by(mask: MaskLike, tree: list[Leaf], params: Params) -> list[bool]:
    try:
        return chosen(as_mask(mask), tree, params)
    except NothingChosenError:
        return [False] * len(tree)


def _decays(
    weight_decay: Any,
    learning_rate: float | None,
    mask: MaskLike,
    tree: list[Leaf],
    params: Params,
) -> tuple[list[Any], list[str]]:
    """The decay of each leaf, and the paths of those that it does not move."""
    if weight_decay is None:
        return [None] * len(tree), []
    check_numbers("weight_decay", weight_decay)
    is_chosen = _chosen_by(mask, tree, params)
    decays = values_at(weight_decay, tree, is_chosen, "weight_decay", by_pattern=True)
    if learning_rate is None or not any(is_chosen):
        return decays, []
    return decays, decay_resolution(
        params, learning_rate=learning_rate, weight_decay=weight_decay, mask=mask
    ).lost


def _row(
    treated: Treated,
    learning_rate: float | None,
    steps: int | None,
    coupled: Coupled | None,
) -> Row:
    leaf = treated.leaf
    words = [" + ".join(map(_in_words, treated.terms))] if treated.terms else []
    if treated.decay is not None:
        words.append(f"weight decay {_number(treated.decay)}")
    elif treated.is_marked:
        words.append("yes")
    return Row(
        path=leaf.path,
        shape=tuple(leaf.value.shape),
        dtype=str(leaf.value.dtype),
        size=math.prod(leaf.value.shape),
        regularized=", ".join(words),
        **_decay_of(treated, learning_rate, steps),
        **(coupled.counts(leaf.path) if coupled else {}),
    )


def _decay_of(
    treated: Treated, learning_rate: float | None, steps: int | None
) -> dict[str, float]:
    """The decay of a leaf a step, its timescale, and the fraction of a training it covers.

    Where entries of a leaf decay differently, those of the strongest decay.
    """
    if learning_rate is None or treated.decay is None or np.size(treated.decay) == 0:
        return {}
    decay = float(learning_rate * np.max(treated.decay))
    timescale = 1 / decay if decay > 0 else math.inf
    known = {"decay": decay, "timescale": timescale}
    return known if steps is None else {**known, "coverage": timescale / steps}


def _decay_cells(row: Row) -> tuple[str, str, str]:
    if row.decay is None or row.timescale is None:
        return "", "", ""
    covered = "" if row.coverage is None else f"{100 * row.coverage:,.3g} %"
    return f"{row.decay:.1e}", f"{row.timescale:,.0f}", covered


def _of(count: int | None, all_of_them: int | None) -> str:
    return "" if all_of_them is None else f"{count} of {all_of_them}"


class _Text(str):
    __repr__ = str.__str__


def _in_words(term: Penalty) -> str:
    return repr(jax.tree.map(_number, term))


def _number(value: Any) -> _Text:
    if np.size(value) == 0:
        return _Text("none")
    low, high = float(np.min(value)), float(np.max(value))
    return _Text(f"{low:g}" if low == high else f"{low:g}..{high:g}")
