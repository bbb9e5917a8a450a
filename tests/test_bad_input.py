"""Every mistake gets an error that says what must hold and what was given."""

# pyright: reportArgumentType=false, reportCallIssue=false, reportOperatorIssue=false

import dataclasses
import re
from collections import OrderedDict
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import flax.serialization
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx
from flax.training.train_state import TrainState

import jaxreg
from jaxreg import (
    L1,
    L2,
    ElasticNet,
    add_l2_decay,
    constrained_parameter_regularization,
    decoupled_weight_decay,
    describe,
    everything,
    matrices,
    named,
    plot,
    proximal,
    sparsity,
    weight_stats,
    weights,
    with_decay,
    with_kahan_compensation,
)
from jaxreg.masks import as_mask
from jaxreg.monitoring import decay_resolution, latest_stats

SGD = optax.sgd(0.1)
X = jnp.array([-2.0, 0.3, 1.0])
PARAMS = {"w": X, "bias": X}
BIASES = {"bias": X}
INTEGERS = {"w": jnp.arange(3)}
COMPLEX = {"w": X.astype(complex)}
schedule = optax.constant_schedule(0.1)


def updated(optimizer, updates=PARAMS, params=PARAMS):
    return optimizer.update(updates, optimizer.init(params), params)


def rows(kind, *table):
    """Rows of (mistake, callable, message) that raise the same kind of error."""
    return [
        pytest.param(mistake, kind, message, id=name) for name, mistake, message in table
    ]


MASKS = [
    *rows(
        TypeError,
        ("string", lambda: as_mask("w"), r"string 'w'.* use jaxreg.named\('w'\)"),
        ("None", lambda: as_mask(None), "got None. Leave it out for the default"),
        ("number", lambda: as_mask(0.5), "must hold True or False, got 0.5"),
        ("one", lambda: as_mask(1), "must hold True or False, got 1 at"),
        ("bytes", lambda: as_mask(b"w"), "must hold True or False, got b'w'"),
        ("set", lambda: as_mask({"w"}), "must hold True or False, got {'w'}"),
        ("list", lambda: as_mask(["w"]), "must hold True or False, got 'w' at '0'"),
        ("numbers", lambda: as_mask({"w": 1.0}), "got 1.0 at 'w'.* a pytree of strengths"),
        ("empty list", lambda: as_mask([]), "got the empty pytree"),
        (
            "only missing leaves",
            lambda: as_mask({"w": None}),
            "got the empty pytree {'w': None}",
        ),
        ("array", lambda: as_mask(X > 0), "chooses whole leaves.* shape .3,.*of strengths"),
        ("array in tree", lambda: as_mask({"w": X > 0}), "entry at 'w' is an array"),
        ("penalty", lambda: as_mask(L1()), "must hold True or False, got the penalty L1"),
        ("optimizer", lambda: as_mask(SGD), "got an Optax optimizer"),
        ("parameters", lambda: as_mask(PARAMS), "parameters given for the mask"),
        (
            "function of paths",
            lambda: L1(mask=lambda path, leaf: True),
            r"parameters alone, but has the arguments \(path, leaf\).*tree_map_with_path",
        ),
        ("function of nothing", lambda: as_mask(lambda: True), "the parameters alone"),
        (
            "traced",
            lambda: jax.jit(lambda on: L1(mask={"w": on})(PARAMS))(True),
            "must be known before tracing.*entry at 'w'.*jaxreg.masks.as_mask",
        ),
        (
            "function of strings",
            lambda: as_mask(lambda _: "w").of(PARAMS),
            "the string 'w'",
        ),
        ("function of None", lambda: as_mask(lambda _: None).of(PARAMS), "got None"),
        (
            "function of functions",
            lambda: as_mask(lambda _: len).of(PARAMS),
            "must return a pytree of bools, got <built-in function len>",
        ),
        (
            "function of the values",
            lambda: as_mask(lambda p: jax.tree.map(jnp.ndim, p)).of(PARAMS),
            "must hold True or False, got 1 at 'bias'",
        ),
        ("and a string", lambda: weights & "w", "use jaxreg.named"),
        ("or None", lambda: weights | None, "got None"),
        ("call", lambda: weights(PARAMS), "not callable"),
        ("abstract", jaxreg.masks.Mask, "abstract"),
        ("pattern is a number", lambda: named(1), "must be a string, got 1"),
        ("patterns in a list", lambda: named(["w"]), r"must be a string, got \['w'\]"),
        ("compiled", lambda: named(re.compile("w")), "must be a string, got re.compile"),
        ("complex", lambda: weights.of(COMPLEX), "'w' has dtype complex64.*split_real"),
    ),
    *rows(
        ValueError,
        ("no pattern", lambda: named(), "at least one pattern, got none"),
        ("not a pattern", lambda: named("*"), "'\\*' is not a regular expression: nothing"),
        (
            "glob",
            lambda: named("*kernel"),
            r"named\('kernel'\) needs no '\*'",
        ),
        (
            "pattern without a match",
            lambda: named("w", "kernel").of(PARAMS),
            r"'kernel' of named\('w', 'kernel'\).*matches none of 'bias', 'w'",
        ),
        ("only biases", lambda: weights.of(BIASES), "weights must.*none of 'bias'.*named"),
        ("only integers", lambda: everything.of(INTEGERS), "floating-point array.* 'w'"),
        ("only vectors", lambda: matrices.of(PARAMS), "The mask matrices must choose"),
        (
            "nothing left",
            lambda: (weights & ~weights).of(PARAMS),
            r"\(weights & ~weights\)",
        ),
        ("False", lambda: as_mask(False).of(PARAMS), "The mask False must choose"),
        (
            "all False",
            lambda: as_mask({"w": False, "bias": False}).of(PARAMS),
            "must choose at least one",
        ),
        (
            "missing entry",
            lambda: as_mask({"w": True}).of(PARAMS),
            "no entry.*above 'bias'",
        ),
        (
            "entry too many",
            lambda: as_mask({**dict.fromkeys(PARAMS, True), "typo": True}).of(PARAMS),
            "nothing is found at 'typo'. The parameters are 'bias', 'w'",
        ),
        ("list for a dict", lambda: as_mask([True, False]).of(PARAMS), "It has '0', '1'"),
    ),
]

PENALTIES = [
    *rows(
        ValueError,
        ("negative", lambda: L1(-1.0), "L1.strength must be non-negative, got -1."),
        ("NaN", lambda: L1(np.nan), "L1.strength must be non-negative, got nan"),
        ("negative entry", lambda: L1(X), "L1.strength must be non-negative, got -2"),
        ("negative layer", lambda: L2({"w": -1.0}), "L2.strength must be non-negative"),
        ("second strength", lambda: ElasticNet(0.1, -1.0), "ElasticNet.l2 must be non-neg"),
        ("replaced", lambda: L1().replace(strength=-1.0), "must be non-negative, got -1"),
        ("negative decay", lambda: L2.from_weight_decay(-1.0), "must be non-negative"),
        ("negative factor", lambda: -1.0 * L1(), "factor must be non-negative, got -1"),
        ("NaN factor", lambda: L1() * jnp.nan, "factor must be non-negative, got nan"),
        (
            "same path",
            lambda: L1(OrderedDict([(1, 0.1), ("1", 0.2)]))({"1": X}),
            "must have different paths.*keys such as 1 and '1'",
        ),
        ("shape", lambda: L1(jnp.ones((2, 3)))(X), r"L1.strength.*\(3,\), got.*\(2, 3\)"),
        (
            "wrong length",
            lambda: L1(jnp.ones(2))(X),
            "broadcast against the array given",
        ),
        ("no such layer", lambda: L1({"v": 1.0})(PARAMS), "no entry at or above 'w'"),
        (
            "layer too many",
            lambda: L1({"w": 1.0, "typo": 1.0})(PARAMS),
            "nothing is found at 'typo'",
        ),
        ("list", lambda: L1([0.1, 0.2])(X), "no entry at or above the array given"),
        ("number as parameters", lambda: L1()(1.0), "must hold a floating-point array"),
        ("text as parameters", lambda: L1()("w"), "must hold a floating-point array"),
        ("integer parameters", lambda: L1()(INTEGERS), "at 'w': got int32"),
        ("only biases", lambda: L1()(BIASES), "The mask weights must choose"),
        ("gradients of biases", lambda: L1().strength_max(BIASES), "must choose"),
        ("negative step", lambda: L1().prox(X, -1.0), "step must be non-negative, got -1"),
        ("NaN step", lambda: L1().prox(X, jnp.nan), "step must be non-negative, got nan"),
        (
            "metric of other shape",
            lambda: L1().prox(X, 1.0, jnp.ones(2)),
            "The metric must broadcast",
        ),
        (
            "metric with a missing leaf",
            lambda: L1().prox(PARAMS, 1.0, {"bias": jnp.abs(X)}),
            "The metric must cover.* 'w'",
        ),
        (
            "metric of something else",
            lambda: L1().prox(PARAMS, 1.0, {"w": 1.0, "v": 1.0}),
            "nothing is found at 'v'",
        ),
        (
            "prox of a sum",
            lambda: (L1() + jaxreg.GroupLasso()).prox(X),
            r"Use SparseGroupLasso\(l1, group\).*L2 may meet any one penalty",
        ),
        (
            "prox of an interval and groups",
            lambda: (jaxreg.NonNegative() + jaxreg.GroupLasso()).prox(X),
            "NonNegative and GroupLasso do",
        ),
        ("prox of twice", lambda: (L1() + L1()).prox(X), "Give them disjoint masks"),
        ("strength of a sum", lambda: (L1() + L1()).strength_max(X), "critical strength"),
        ("no reference", lambda: L1().toward({"v": X})(PARAMS), "The reference must cover"),
        ("other reference", lambda: L1().toward(X[:2])(X), "reference must broadcast"),
        ("reference None", lambda: L1().toward(None)(X), "reference must cover"),
    ),
    *rows(
        TypeError,
        ("text", lambda: L1("0.1"), "L1.strength must be a real number, got '0.1'"),
        ("None", lambda: L1(None), "L1.strength must be a real number, got None"),
        ("bool", lambda: L1(True), "L1.strength must be a real number, got True"),
        ("bools", lambda: L1(jnp.array([True])), "L1.strength must be a real number"),
        ("empty", lambda: L1({}), "L1.strength must be a real number, got {}"),
        (
            "missing leaf",
            lambda: L1({"w": None}),
            "L1.strength must be a real number, got None",
        ),
        ("complex", lambda: L1(1j), "L1.strength must be a real number, got 1j"),
        ("complex array", lambda: L1(jnp.array(1j)), "L1.strength must be a real number"),
        (
            "schedule",
            lambda: L1(schedule),
            "L1.strength must be a real number, got <function.*strength_schedule=",
        ),
        (
            "schedule of a layer",
            lambda: L1({"w": schedule}),
            "L1.strength must be a real number, got {'w': <function.*strength_schedule=",
        ),
        ("mask by place", lambda: L1(0.1, everything), "positional arguments"),
        ("mask is a string", lambda: L1(0.1, mask="w"), r"use jaxreg.named\('w'\)"),
        ("no such argument", lambda: L1(lam=0.1), "unexpected keyword argument 'lam'"),
        ("no such field", lambda: L1().replace(lam=0.1), "unexpected keyword argument"),
        (
            "field of a sum",
            lambda: (L1() + L2()).replace(strength=1.0),
            "unexpected keyword",
        ),
        ("text as factor", lambda: L1() * "2", "factor must be a real number, got '2'"),
        ("None as factor", lambda: L1() * None, "factor must be a real number, got None"),
        ("plus a number", lambda: L1() + 1, "function of the parameters"),
        ("plus a function", lambda: L1() + jnp.sum, "unsupported operand"),
        ("minus", lambda: L1() - L2(), "unsupported operand"),
        ("text as step", lambda: L1().prox(X, "1"), "step must be a real number, got '1'"),
        (
            "None as step",
            lambda: L1().prox(X, None),
            "step must be a real number, got None",
        ),
        ("complex parameters", lambda: L1()(COMPLEX), "must be real, but 'w'"),
        ("abstract", jaxreg.Penalty, "abstract.* '?array_critical_scale'?, '?array_prox"),
        (
            "abstract entrywise",
            jaxreg.penalties.Entrywise,
            "abstract.* '?entry_prox'?, '?entry_value",
        ),
    ),
]

TRANSFORMS = [
    *rows(
        ValueError,
        (
            "negative",
            lambda: add_l2_decay(-1.0),
            "weight_decay must be non-negative, got -1",
        ),
        (
            "NaN",
            lambda: add_l2_decay(jnp.nan),
            "weight_decay must be non-negative, got nan",
        ),
        (
            "rate",
            lambda: decoupled_weight_decay(0.1, learning_rate=-1.0),
            "learning_rate must be non-neg",
        ),
        (
            "coupling",
            lambda: decoupled_weight_decay(0.1, learning_rate=0.1, coupling="paper"),
            "must be one of 'learning_rate', 'independent', 'corrected', got 'paper'",
        ),
        (
            "peak of no use",
            lambda: decoupled_weight_decay(0.1, learning_rate=0.1, peak=0.1),
            "peak must be left out with coupling='learning_rate'.*independent",
        ),
        (
            "peak of a schedule",
            lambda: decoupled_weight_decay(
                0.1,
                learning_rate=optax.schedules.constant_schedule(0.1),
                coupling="corrected",
            ),
            "cannot be read off a schedule or an array: give it as peak=",
        ),
        (
            "peak of an array",
            lambda: with_decay(
                SGD, 0.1, learning_rate=jnp.array(0.1), coupling="independent"
            ),
            "cannot be read off a schedule or an array: give it as peak=",
        ),
        (
            "peak zero",
            lambda: decoupled_weight_decay(0.1, learning_rate=0.0, coupling="independent"),
            "peak must be greater than 0, got 0",
        ),
        (
            "toward text",
            lambda: decoupled_weight_decay(0.1, learning_rate=0.1, toward="init"),
            "toward must be .* 'start' for the parameters that init is given, got 'init'",
        ),
        (
            "toward too little",
            lambda: add_l2_decay(0.1, toward={"bias": X}).init(PARAMS),
            "toward must cover every leaf.*no entry at or above 'w'",
        ),
        (
            "toward another shape",
            lambda: add_l2_decay(0.1, toward={"w": X[:2]}).init(PARAMS),
            "toward must broadcast against the leaf 'w'",
        ),
        (
            "negative warm-up",
            lambda: constrained_parameter_regularization(-1),
            "warmup_steps must be non-neg",
        ),
        (
            "negative bound",
            lambda: constrained_parameter_regularization(0, bound=-1.0),
            "bound must be non-neg",
        ),
        (
            "negative L1",
            lambda: proximal(0.1, L1(-1.0)),
            "L1.strength must be non-negative",
        ),
        ("negative rate", lambda: proximal(-0.1, L1()), "learning_rate must be non-neg"),
        ("momentum 1", lambda: proximal(0.1, L1(), 1.0), "must be less than 1, got 1"),
        ("momentum", lambda: proximal(0.1, L1(), -0.1), "momentum must be non-neg"),
        (
            "no params: decay",
            lambda: add_l2_decay(0.1).update(PARAMS, optax.EmptyState()),
            r"not passing `params`.*`update\(updates, state, params\)`",
        ),
        (
            "no params: proximal",
            lambda: proximal(0.1, L1()).update(PARAMS, optax.EmptyState()),
            r"not passing `params`.*`update\(updates, state, params\)`",
        ),
        (
            "no match",
            lambda: add_l2_decay(0.1, named("kernel")).init(PARAMS),
            "matches none of 'bias', 'w'",
        ),
        (
            "mask function too small",
            lambda: add_l2_decay(0.1, lambda _: {"w": True}).init(PARAMS),
            "no entry at or above 'bias'",
        ),
        ("only biases", lambda: add_l2_decay(0.1).init(BIASES), "weights must choose"),
        (
            "only biases, L1",
            lambda: proximal(0.1, L1(0.1)).init(BIASES),
            "weights must choose",
        ),
        ("integers", lambda: add_l2_decay(0.1).init(INTEGERS), "floating-point array"),
        (
            "decay of a layer too many",
            lambda: add_l2_decay({"w": 0.1, "typo": 0.1}).init(PARAMS),
            "weight_decay must have the structure.* 'typo'",
        ),
        (
            "decay of other shape",
            lambda: add_l2_decay(jnp.ones(5)).init(PARAMS),
            "weight_decay must broadcast against the leaf 'w'",
        ),
        (
            "strength of other shape",
            lambda: proximal(0.1, L1(jnp.ones(5))).init(PARAMS),
            "L1.strength must broadcast against the leaf 'w'",
        ),
        (
            "sum",
            lambda: updated(proximal(0.1, L1() + jaxreg.GroupLasso())),
            r"Use SparseGroupLasso\(l1, group\)",
        ),
        (
            "updates of other shapes",
            lambda: updated(add_l2_decay(0.1), {"w": X[:2], "bias": X}),
            r"shape of its parameter, but at 'w' they are \(2,\) and \(3,\)",
        ),
        (
            "updates missing",
            lambda: updated(add_l2_decay(0.1), {"w": X}),
            "missing where a parameter is, at .bias.",
        ),
        (
            "negative schedule",
            lambda: updated(proximal(lambda _: -1.0, L1())),
            "non-negative",
        ),
        (
            "injected negative",
            lambda: updated(optax.inject_hyperparams(add_l2_decay)(-0.1)),
            "weight_decay must be non-negative",
        ),
    ),
    *rows(
        TypeError,
        (
            "text",
            lambda: add_l2_decay("0.1"),
            "weight_decay must be a real number, got '0.1'",
        ),
        (
            "None",
            lambda: add_l2_decay(None),
            "weight_decay must be a real number, got None",
        ),
        (
            "bool",
            lambda: add_l2_decay(True),
            "weight_decay must be a real number, got True",
        ),
        ("nothing", lambda: add_l2_decay(), "missing 1 required positional"),
        ("string mask", lambda: add_l2_decay(0.1, "w"), r"use jaxreg.named\('w'\)"),
        ("mask None", lambda: add_l2_decay(0.1, None), "Leave it out for the default"),
        ("no rate", lambda: decoupled_weight_decay(0.1), "argument: 'learning_rate'"),
        (
            "rate None",
            lambda: decoupled_weight_decay(0.1, learning_rate=None),
            "rate must be a real number",
        ),
        (
            "toward a number",
            lambda: add_l2_decay(0.1, toward=0.5),
            "pytree of arrays, got 0",
        ),
        (
            "unfinished",
            lambda: with_decay(optax.sgd, 0.1, learning_rate=0.1),
            "a finished Optax optimizer",
        ),
        (
            "unfinished in bf16",
            lambda: with_kahan_compensation(optax.sgd),
            "a finished Optax optimizer",
        ),
        (
            "resolution",
            lambda: decay_resolution(PARAMS, learning_rate="fast", weight_decay=0.1),
            "rate must be a real",
        ),
        (
            "injected penalty",
            lambda: updated(optax.inject_hyperparams(proximal)(L1(), 0.1)),
            "name a penalty in `static_args`",
        ),
        ("number", lambda: proximal(0.1, 0.1), "must be a jaxreg penalty.*got 0.1"),
        ("class", lambda: proximal(0.1, L1), "must be a jaxreg penalty.*got <class"),
        ("swapped", lambda: proximal(L1(), 0.1), "must be a jaxreg penalty.*got 0.1"),
        (
            "momentum",
            lambda: proximal(0.1, L1(), schedule),
            "momentum must be a real number",
        ),
        (
            "L1 schedule",
            lambda: proximal(0.1, L1(schedule)),
            "L1.strength must be a real number",
        ),
        (
            "momentum as mask",
            lambda: proximal(0.1, L1(0.1, mask=0.9)),
            "True or False, got 0.9",
        ),
        (
            "complex",
            lambda: add_l2_decay(0.1).init(COMPLEX),
            "must be real, but 'w'",
        ),
    ),
]

STATISTICS = [
    *rows(
        ValueError,
        ("no match", lambda: describe(named("kernel"), PARAMS), "matches none of"),
        (
            "other layers",
            lambda: describe(L1({"v": 1.0}), PARAMS),
            "L1.strength must cover",
        ),
        ("shape", lambda: describe(L1(X[1:]), PARAMS), "L1.strength must broadcast"),
        ("no arrays", lambda: describe(L1(), {"w": 1.0}), "hold a floating-point array"),
        ("stats of biases", lambda: weight_stats(BIASES), "The mask weights must choose"),
        ("sparsity of integers", lambda: sparsity(INTEGERS), "hold a floating-point array"),
    ),
    *rows(
        TypeError,
        ("text", lambda: describe("w", PARAMS), r"use jaxreg.named\('w'\)"),
        ("None", lambda: describe(None, PARAMS), "Leave it out for the default"),
        ("number", lambda: describe(0.1, PARAMS), "must hold True or False, got 0.1"),
        ("swapped", lambda: describe(PARAMS, L1()), r"describe\(penalty, params\)"),
        ("optimizer", lambda: describe(SGD, PARAMS), "got an Optax optimizer.*the penalty"),
        ("no parameters", lambda: describe(L1()), "missing 1 required.* 'params'"),
        ("stats by text", lambda: weight_stats(PARAMS, "w"), r"use jaxreg.named\('w'\)"),
        ("stats by penalty", lambda: weight_stats(PARAMS, L1()), r"penalty L1.*\(penalty="),
        ("stats swapped", lambda: weight_stats(L1(), PARAMS), "given for the mask"),
        ("stats of a penalty", lambda: weight_stats(L1()), "arrays, got the penalty L1"),
        ("value of a penalty", lambda: L1()(L2()), "arrays, got the penalty L2"),
        ("sparsity by None", lambda: sparsity(PARAMS, None), "got None"),
        ("complex", lambda: weight_stats(COMPLEX), "must be real, but 'w'"),
    ),
]


# A penalty is no optimizer, and what holds an optimizer's state is no parameters.


class Model(nnx.Module):
    def __init__(self):
        self.layer = nnx.Linear(2, 2, rngs=nnx.Rngs(0))


class Training(NamedTuple):
    params: Any
    opt_state: Any


STATE = TrainState.create(apply_fn=None, params=PARAMS, tx=optax.adam(0.1))
OPTIMIZER = nnx.Optimizer(Model(), optax.adam(0.1), wrt=nnx.Param)
HOLDERS: dict[str, Any] = {
    "TrainState": STATE,
    "TrainState without moments": TrainState.create(apply_fn=None, params=PARAMS, tx=SGD),
    "TrainState as a dict": flax.serialization.to_state_dict(STATE),
    "state of Optax": optax.chain(optax.clip(1.0), optax.trace(0.9)).init(PARAMS),
    "state of jaxreg": jaxreg.orthant_wise(SGD, 0.1, window=2).init(PARAMS),
    "both": (PARAMS, optax.adam(0.1).init(PARAMS)),
    "NamedTuple of both": Training(PARAMS, optax.adam(0.1).init(PARAMS)),
    "nnx.Optimizer": OPTIMIZER,
    "nnx.ModelAndOptimizer": nnx.ModelAndOptimizer(Model(), SGD, wrt=nnx.Param),
    "nnx.state": nnx.state(OPTIMIZER),
    "state of an nnx.Optimizer": nnx.state(OPTIMIZER)["opt_state"],
}
USES: dict[str, Callable[[Any], Any]] = {
    "value": L2(),
    "prox": L1(mask=everything).prox,
    "strength_max": L1().strength_max,
    "mask": weights.of,
    "everything": everything.of,
    "sparsity": sparsity,
    "weight_stats": weight_stats,
    "describe": partial(describe, L1()),
    "describe a mask": partial(describe, weights),
    "decay_resolution": lambda params: decay_resolution(
        params, learning_rate=0.1, weight_decay=0.1
    ),
    "adaptive": partial(jaxreg.adaptive, L1()),
    "minimize": lambda params: jaxreg.minimize(lambda p: 0.0, L1(), params),
    "strength_max of a loss": lambda params: jaxreg.strength_max(
        lambda p: 0.0, L1(), params
    ),
    "latest_stats": partial(latest_stats, jaxreg.monitor(SGD).init(PARAMS)),
    "histogram": plot.histogram,
}


@pytest.mark.parametrize("use", USES.values(), ids=USES)
@pytest.mark.parametrize("holder", HOLDERS.values(), ids=HOLDERS)
def test_the_state_of_an_optimizer_is_no_parameter(holder, use):
    with pytest.raises(TypeError, match="state of an optimizer.*Pass.*state.params"):
        use(holder)


@jax.tree_util.register_dataclass
@dataclasses.dataclass
class State:
    kernel: Any
    bias: Any


class LayerState(NamedTuple):
    kernel: Any
    bias: Any


@pytest.mark.parametrize(
    "params",
    [STATE.params, State(X, X), LayerState(X, X), nnx.State({"kernel": X, "bias": X})],
)
def test_what_is_called_a_state_may_be_parameters(params):
    assert L2()(params) == L2()(X)


@pytest.mark.parametrize(
    "make",
    [
        lambda penalty: optax.chain(penalty, SGD).init(PARAMS),
        lambda penalty: optax.multi_transform({"a": penalty}, "a").init(PARAMS),
        lambda penalty: optax.partition({"a": penalty}, "a").init(PARAMS),
        lambda penalty: optax.masked(penalty, weights.of).init(PARAMS),
        lambda penalty: nnx.Optimizer(Model(), penalty, wrt=nnx.Param),
        lambda penalty: TrainState.create(apply_fn=None, params=PARAMS, tx=penalty),
        lambda penalty: penalty.update(PARAMS, (), PARAMS),
    ],
)
@pytest.mark.parametrize("penalty", [L1(0.1), L1({"w": 0.1}), L1() + L2()])
def test_a_penalty_is_no_optimizer(make, penalty):
    with pytest.raises(TypeError, match="penalty, not an optimizer.*prox_adam.*proximal"):
        make(penalty)


def test_wrappers_refuse_a_penalty():
    for wrap in (
        lambda x: with_decay(x, 0.1, learning_rate=0.1),
        with_kahan_compensation,
        jaxreg.monitor,
    ):
        with pytest.raises(TypeError, match="must be a finished Optax optimizer.*got L1"):
            wrap(L1())


# Mistakes that still pass silently, or whose message does not help yet.
MISUSE = [
    *rows(
        ValueError,
        ("negative metric", lambda: L1().prox(X, 1.0, -1.0), "metric must be greater"),
        ("zero metric", lambda: L1().prox(X, 1.0, 0.0), "metric must be greater"),
        ("NaN metric", lambda: L1().prox(X, 1.0, X * jnp.nan), "metric must be greater"),
        (
            "step of another shape",
            lambda: L1().prox(jnp.ones((3, 1)), jnp.ones(3)),
            "step must be a scalar",
        ),
        (
            "rate that broadcasts",
            lambda: updated(decoupled_weight_decay(0.1, learning_rate=jnp.ones((5, 1)))),
            "learning_rate must be a scalar",
        ),
        (
            "proximal rate that broadcasts",
            lambda: updated(proximal(jnp.ones((5, 1)), L1())),
            "learning_rate must be a scalar",
        ),
        (
            "sum without a prox",
            lambda: proximal(0.1, L1() + L1()).init(PARAMS),
            "must not meet on the same leaf",
        ),
        (
            "negative weight decay",
            lambda: L2.from_weight_decay(-1.0),
            "weight_decay must be non-negative, got -1",
        ),
    ),
    *rows(
        TypeError,
        (
            "optax takes a mask for a tree",
            lambda: optax.masked(optax.sgd(0.1), weights).init(PARAMS),
            "pass .*mask.of",
        ),
        (
            "optax takes a mask for a tree: adamw",
            lambda: optax.adamw(0.1, mask=weights).init(PARAMS),
            "pass .*mask.of",
        ),
        ("not mask", lambda: not weights, "use &, . and ~"),
        ("mask and mask", lambda: weights and matrices, "use &, . and ~"),
        ("describe a class", lambda: describe(L1, PARAMS), "penalty or a mask, got <class"),
        ("text in an array", lambda: L1(np.array(["a"])), "L1.strength must be"),
        ("random key", lambda: L1(jax.random.key(0)), "L1.strength must be"),
        ("penalty as strength", lambda: L1(L1()), "L1.strength must be a real number"),
        ("penalty as factor", lambda: L1() * L1(), "factor must be a real number"),
        (
            "penalty as decay",
            lambda: add_l2_decay(L2()),
            "weight_decay must be a real number",
        ),
        (
            "penalty as rate",
            lambda: proximal(L1(), L1()),
            "learning_rate must be a real number",
        ),
        (
            "text as metric",
            lambda: L1().prox(X, 1.0, "adam"),
            "metric must be a real number",
        ),
        ("tree as step", lambda: L1().prox(X, {"w": 1.0}), "step must be a real number"),
        ("tree as factor", lambda: L1() * {"w": 1.0}, "factor must be a real number"),
        ("text as reference", lambda: L1().toward("w")(X), "reference must be"),
        ("text as decay", lambda: L2.from_weight_decay("0.1"), "weight_decay must be"),
        (
            "tree as rate",
            lambda: decoupled_weight_decay(0.1, learning_rate={"w": 1.0}),
            "learning_rate must be a real number",
        ),
        (
            "schedule of text",
            lambda: updated(proximal(lambda _: "a", L1())),
            "learning_rate must be a real number",
        ),
        (
            "schedule of None",
            lambda: updated(add_l2_decay(lambda _: None)),
            "weight_decay must be a real number",
        ),
    ),
]


def mistakes(table):
    return pytest.mark.parametrize(("mistake", "kind", "message"), table)


def check(mistake, kind, message):
    with pytest.raises(kind, match=f"(?s){message}"):
        mistake()


@mistakes(MASKS)
def test_masks(mistake, kind, message):
    check(mistake, kind, message)


@mistakes(PENALTIES)
def test_penalties(mistake, kind, message):
    check(mistake, kind, message)


@mistakes(TRANSFORMS)
def test_transforms(mistake, kind, message):
    check(mistake, kind, message)


@mistakes(STATISTICS)
def test_statistics(mistake, kind, message):
    check(mistake, kind, message)


@mistakes(MISUSE)
def test_misuse(mistake, kind, message):
    check(mistake, kind, message)
