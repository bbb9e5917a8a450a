"""Where Newton's method runs: in a program that XLA compiles, or in NumPy.

The algorithm is written once, with the functions of a `Backend`. Compiling takes seconds,
whatever the data; NumPy starts at once, and then takes about six times as long. So few
coefficients are computed in NumPy, unless models of one kind are fitted again and again.
"""

import collections
import functools
from collections.abc import Callable, Hashable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

# Up to this many coefficients are all candidates, without screening.
FEW = 64
# Up to this many features times samples times models NumPy starts sooner than it takes to
# compile.
_SMALL = 10**8
# After this many runs of one kind NumPy has taken longer than compiling would have.
_REPEATS = 8


class Backend(NamedTuple):
    """An array namespace, and what differs between the two besides.

    Attributes:
        xp: `jax.numpy` or `numpy`.
        pads: Whether arrays are padded to few different sizes, so that one program serves
            many of them.
        to_device: Makes its arrays of those of NumPy, in a pytree.
        run: Calls a function with the backend itself and further arguments: a program, if
            it compiles.
        loop: As `jax.lax.while_loop`.
        choose: As `jax.lax.cond`, of functions without arguments.
        scan: As `jax.lax.scan`; what each step returns beside the carry is a tuple.
        each: Calls a function of several arguments for each index of their first axes, and
            stacks what it returns, a tuple: `jax.vmap`.
        one_by_one: Likewise, with an upper bound of how many at once: `jax.lax.map`.
        take: `take(array, index, fill)` returns `array[index]`, and `fill` for padding.
        spread: `spread(zeros, index, values)` puts values there, but not those of padding.
        solve_positive: Solves a positive definite system; NaN if it is none.
        solve: Solves any system.
    """

    xp: Any
    pads: bool
    run: Callable[..., Any]
    to_device: Callable[[Any], Any]
    loop: Callable[..., Any]
    choose: Callable[..., Any]
    scan: Callable[..., Any]
    each: Callable[..., Any]
    one_by_one: Callable[..., Any]
    take: Callable[..., Any]
    spread: Callable[..., Any]
    solve_positive: Callable[..., Any]
    solve: Callable[..., Any]


def _run_program(function: Callable[..., Any], *args: Any, **static: Any) -> Any:
    return _program(function, tuple(static))(COMPILED, *args, **static)


@functools.cache
def _program(function: Callable[..., Any], static: tuple[str, ...]) -> Callable[..., Any]:
    return jax.jit(function, static_argnums=0, static_argnames=static)


def _compiled_one_by_one(function: Callable[..., Any], *arrays: Any, at_once: int) -> Any:
    return jax.lax.map(lambda row: function(*row), arrays, batch_size=at_once)


def _compiled_solve_positive(matrix: Any, vector: Any) -> Any:
    return jax.scipy.linalg.cho_solve(jax.scipy.linalg.cho_factor(matrix), vector)


COMPILED = Backend(
    xp=jnp,
    pads=True,
    run=_run_program,
    # `jnp.asarray` compiles a program for each shape.
    to_device=jax.device_put,
    loop=jax.lax.while_loop,
    choose=jax.lax.cond,
    scan=jax.lax.scan,
    each=lambda function, *arrays: jax.vmap(function)(*arrays),
    one_by_one=_compiled_one_by_one,
    take=lambda array, index, fill: array.at[index].get(mode="fill", fill_value=fill),
    spread=lambda zeros, index, values: zeros.at[index].set(values, mode="drop"),
    solve_positive=_compiled_solve_positive,
    solve=jnp.linalg.solve,
)


def _run(function: Callable[..., Any], *args: Any, **options: Any) -> Any:
    # JAX has no warnings of NaN and infinity either.
    with np.errstate(all="ignore"):
        return function(IN_NUMPY, *args, **options)


def _loop(goes_on: Callable[[Any], Any], step: Callable[[Any], Any], state: Any) -> Any:
    while goes_on(state):
        state = step(state)
    return state


def _scan(step: Callable[[Any, Any], Any], carry: Any, rows: Any) -> Any:
    found: list[Any] = []
    for row in rows:
        carry, one = step(carry, row)
        found.append(one)
    return carry, _stacked(found)


def _each(function: Callable[..., Any], *arrays: Any, at_once: int = 1) -> Any:
    del at_once
    leaves, tree = jax.tree.flatten(arrays)
    rows = zip(*leaves, strict=True)
    return _stacked([function(*jax.tree.unflatten(tree, row)) for row in rows])


def _stacked(rows: list[Any]) -> tuple[np.ndarray, ...]:
    return tuple(np.stack(part) for part in zip(*rows, strict=True))


def _spread(zeros: np.ndarray, index: Any, values: np.ndarray) -> np.ndarray:
    zeros[index] = values
    return zeros


def _solve(matrix: np.ndarray, vector: np.ndarray) -> np.ndarray:
    try:
        return np.linalg.solve(matrix, vector)
    except np.linalg.LinAlgError:
        return np.full_like(vector, np.nan)


IN_NUMPY = Backend(
    xp=np,
    pads=False,
    run=_run,
    to_device=lambda arrays: arrays,
    loop=_loop,
    choose=lambda pred, yes, no: yes() if pred else no(),
    scan=_scan,
    each=_each,
    one_by_one=_each,
    take=lambda array, index, fill: array[index],
    spread=_spread,
    solve_positive=_solve,
    solve=_solve,
)


def backend_for(program: Hashable, coefficients: int, samples: int, models: int) -> Backend:
    """NumPy for few coefficients and samples, compiled for models fitted again and again.

    Args:
        program: What a compiled program would depend on.
        coefficients: How many there are.
        samples: How many there are.
        models: How many are solved.
    """
    is_small = coefficients * samples * models <= _SMALL
    if coefficients > FEW or not is_small:
        return COMPILED
    _runs[program] += 1
    return IN_NUMPY if _runs[program] <= _REPEATS else COMPILED


_runs: collections.Counter[Hashable] = collections.Counter()
