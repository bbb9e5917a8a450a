"""Everything on parameters that eight devices share, beside the same on one device.

`python -m tests.helpers.sharding SECTION ...` prints what it checked and what was wrong, as
JSON: on a mesh and in `shard_map` in the sections that are named, and in all others.
"""

import contextlib
import functools
import inspect
import json
import re
import sys

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.sharding import AxisType, NamedSharding, PartitionSpec as P

import jaxreg as jr
from jaxreg import _scheduling, operators
from jaxreg.penalties.fields import strength_fields
from tests.helpers.processes import ROOT
from tests.helpers.strategies import PENALTIES
from tests.helpers.transforms import CONSTANT, SCHEDULED

SPECS = {
    "dense": {"kernel": P("data", "model"), "bias": P("model")},
    "conv": {"kernel": P(None, None, "data", "model"), "bias": P("model")},
}
DENSE, CONV = jr.named("dense/kernel"), jr.named("conv/kernel")
UNSPLIT = P(None, None, "data")  # Of the convolution; all of its other axes are whole.

# Arguments of operators, by name.
ARGUMENTS = {
    "threshold": 0.5,
    "thresholds": np.linspace(1.0, 0.0, 32, dtype=np.float32),
    "keep": 2.0,
    "radius": 0.5,
    "coupling": 0.5,
    "count": 5,
    "rank": 2,
}


def params_of():
    """Weights of a dense layer and of a convolution, with a zero unit and some ties."""
    waves = np.sin(np.arange(160.0)).astype(np.float32)
    dense, conv = waves[:32].reshape(8, 4), waves[32:].reshape(2, 2, 8, 4)
    dense[:, 1] = 0.0
    dense[5] = dense[2]
    return {
        "dense": {"kernel": dense, "bias": waves[:4]},
        "conv": {"kernel": conv, "bias": waves[4:8]},
    }


def metric_of(params):
    return jax.tree.map(lambda w: np.exp(np.cos(7 * w)), params)


# What is computed: dicts of functions of the parameters, by name.


def sample(cls, **options):
    """An instance with the strengths 0.2, 0.3, ..."""
    names = strength_fields(cls)
    return cls(**{name: 0.2 + 0.1 * i for i, name in enumerate(names)}, **options)


def penalties_of(**where):
    """Every penalty, and some with other options: which of them gather, and which not."""
    found = {cls.__name__: sample(cls, mask=DENSE, **where) for cls in PENALTIES}
    found |= {
        "GroupLasso of inputs": jr.GroupLasso(0.2, group_axis=-2, **where),
        "GroupLasso of layers": jr.GroupLasso(0.2, group_axis=(), **where),
        "GroupLasso of units over layers": jr.GroupLasso(0.2, together="", **where),
        "NOfM of parts": jr.NOfM(1, 2, mask=DENSE, **where),
        "Cardinality of units": jr.Cardinality(3, group_axis=-1, mask=DENSE, **where),
        "L1 toward": jr.L1(0.2, mask=DENSE, **where).toward(jnp.full((8, 4), 0.5)),
    }
    for cls in PENALTIES:
        if "flatten" in inspect.signature(cls).parameters:
            whole_kernel = sample(cls, flatten=True, mask=CONV, **where)
            found[f"{cls.__name__} of a kernel"] = whole_kernel
    return found


def is_gathering(penalty):
    """Whether it needs an axis whole that is split here, or blocks larger than a part."""
    is_across = isinstance(penalty, jr.NOfM) and penalty.m > 2
    return is_across or bool(set(penalty.whole_axes(4)) & {2, 3})


def outcomes(penalties, params, metric):
    """Value, gradient and proxes of each penalty."""
    found = {}
    for name, penalty in penalties.items():
        with jax.named_scope(name.replace(" ", "_")):
            value, gradient = jax.value_and_grad(penalty)(params)
            found[name] = {"value": value, "gradient": gradient}
            if penalty.has_prox:
                found[name]["prox"] = penalty.prox(params, 0.7)
            if penalty.has_prox and penalty.takes_metric:
                found[name]["prox in a metric"] = penalty.prox(params, 0.7, metric)
    return found


def slopes(penalties, params, metric):
    """Value and gradient alone."""
    del metric
    values = {name: jax.value_and_grad(p)(params) for name, p in penalties.items()}
    return {name: {"value": x, "gradient": dx} for name, (x, dx) in values.items()}


def operated(x):
    """Every operator on one array."""
    found = {}
    for name, operator in vars(operators).items():
        if inspect.isfunction(operator):
            names = inspect.signature(operator).parameters
            given = {key: ARGUMENTS[key] for key in names if key in ARGUMENTS}
            found[name] = operator(x, **given)
    return found


def trained(transforms, params, gradients, states, steps=3):
    """Parameters and state after some steps with each transform."""
    found = {}
    for name, tx in transforms.items():
        with jax.named_scope(name):

            def step(carry, _, tx=tx):
                moved, state = carry
                updates, state = tx.update(gradients, state, moved)
                return (optax.apply_updates(moved, updates), state), None

            start = params, states[name]
            found[name], _ = jax.lax.scan(step, start, length=steps)
    return found


def transforms_of(specs=None):
    """Every transform; inside `shard_map` with what tells it how leaves are split."""
    found = {}
    for recipe in CONSTANT + (SCHEDULED if specs is None else []):
        options = {}
        if specs is not None and "penalty" in recipe.arguments:
            options["penalty"] = jr.L1(0.3, specs=specs)
        if specs is not None and "specs" in inspect.signature(recipe.factory).parameters:
            options["specs"] = specs
        found[str(recipe)] = recipe.finish(recipe(**options))
    penalty = jr.GroupLasso(0.3, specs=specs)
    return found | {"prox_adam of groups": jr.prox_adam(0.05, penalty)}


CRITICAL = [jr.L1, jr.GroupLasso, jr.SparseGroupLasso]


def statistics(params, **options):
    """Numbers about all of the parameters."""
    critical = {cls.__name__: cls(**options).strength_max(params) for cls in CRITICAL}
    zeros = jr.sparsity(params, **options)
    return {**jr.weight_stats(params, **options), "sparsity": zeros, **critical}


# How it is compared.


def difference(found, expected, tolerance=1e-6):
    """What is wrong with a result; nothing if it is right."""
    wrong = []
    for (path, array), other in zip(
        jax.tree.leaves_with_path(found), jax.tree.leaves(expected), strict=True
    ):
        for x, y in seen_here(array, np.asarray(other)):
            where = jax.tree_util.keystr(path)
            if x.dtype != y.dtype:
                wrong.append(f"{where} is {x.dtype}, not {y.dtype}")
            elif not np.allclose(x, y, rtol=tolerance, atol=tolerance):
                wrong.append(f"{where} is off by {np.max(np.abs(x - y))}")
            elif not np.array_equal(x == 0, y == 0):
                wrong.append(f"{where} has other zeros")
    return "; ".join(wrong)


def seen_here(x, y):
    """What this process has of an array, beside the same of another one."""
    if isinstance(x, jax.Array) and not x.is_fully_addressable:
        return [(np.asarray(part.data), y[part.index]) for part in x.addressable_shards]
    return [(np.asarray(x), y)]


def misplaced(state, params):
    """Which arrays of the path and shape of a parameter are not sharded as it is."""
    like = dict(jax.tree.leaves_with_path(params))
    wrong = []
    for path, x in jax.tree.leaves_with_path(state):
        tails = (path[start:] for start in range(len(path)))
        w = next((like[tail] for tail in tails if tail in like), None)
        if w is None or w.shape != x.shape:
            continue
        if not x.sharding.is_equivalent_to(w.sharding, x.ndim):
            wrong.append(f"{jax.tree_util.keystr(path)} has {x.sharding}")
    return "; ".join(wrong)


def gathers(compiled):
    """The named scopes of the all-gathers in a compiled program."""
    lines = re.findall(r"^.* all-gather(?:-start)?\(.*$", compiled.as_text(), re.MULTILINE)
    return [re.findall(r'op_name="([^"]*)"', line) for line in lines]


def is_spectral(name):
    """Whether something is a transform that keeps singular vectors, whole everywhere."""
    return name.startswith("spectral_")


class Report(dict[str, dict[str, str]]):
    """Of each section, what was checked, with what was wrong."""

    def check(self, section, found, expected):
        for name, value in found.items():
            for part, one in value.items() if isinstance(value, dict) else [("", value)]:
                other = expected[name][part] if part else expected[name]
                # Where singular values are near each other, rounding decides what their
                # vectors are, on one device as on eight.
                problem = difference(one, other, 1e-5 if is_spectral(name) else 1e-6)
                self.note(section, f"{name} {part}".strip(), problem)

    def note(self, section, name, problem):
        self.setdefault(section, {})[name] = str(problem or "")


# Where it is computed.


def compiled_outcomes(choose, params, metric):
    chosen = {name: p for name, p in penalties_of().items() if choose(p)}
    program = jax.jit(functools.partial(outcomes, chosen))
    return program.lower(params, metric).compile()


def on_one_device():
    params = params_of()
    metric = metric_of(params)
    transforms = transforms_of()
    states = {name: tx.init(params) for name, tx in transforms.items()}
    return {
        "penalties": jax.jit(functools.partial(outcomes, penalties_of()))(params, metric),
        "operators": jax.jit(operated)(params["dense"]["kernel"]),
        "transforms": jax.jit(functools.partial(trained, transforms))(
            params, metric, states
        ),
        "states": states,
        "statistics": jax.jit(statistics)(params),
        "sweep": swept(params),
        "solutions": solved(),
        "chains": jax.jit(along_whole_axes)(params["conv"]["kernel"]),
    }


def swept(params):
    def run(strength, params):
        return jr.GroupLasso(strength).prox(params)

    return {"sweep": jr.sweep(run, [0.0, 0.5, 2.0], data=params).results}


def solved(**shardings):
    """What `minimize` finds for data that devices share."""
    x, y = np.sin(np.arange(128.0)).reshape(16, 8), np.cos(np.arange(32.0)).reshape(16, 2)
    data = jax.device_put({"x": np.float32(x), "y": np.float32(y)}, shardings or None)
    loss, start = jr.losses.Squared(**data), jnp.zeros((8, 2))
    penalties = {"L1": jr.L1(0.02), "GroupLasso": jr.GroupLasso(0.02, group_axis=0)}
    found = {name: jr.minimize(loss, p, start) for name, p in penalties.items()}
    assert all(bool(solution.converged) for solution in found.values())
    return {f"{name} minimised": solution.params for name, solution in found.items()}


def transposes_products(rows):
    """Whether JAX can: 0.8.1 cannot where devices share rows on Explicit axes."""
    x, slopes = (jax.device_put(jnp.ones((16, n)), rows) for n in (8, 2))

    @jax.jit
    def transposed(x, slopes):
        return jax.linear_transpose(lambda kernel: x @ kernel, jnp.zeros((8, 2)))(slopes)

    try:
        transposed(x, slopes)
    except Exception as error:
        if type(error).__name__ != "ShardingTypeError":
            raise
        return False
    return True


def along_whole_axes(kernel):
    """What acts along axes that are whole, on what is split along another one."""
    chains = {
        "TotalVariation": jr.TotalVariation(0.2, axis=-1),
        "NuclearNorm": jr.NuclearNorm(0.2),
    }
    turned = jnp.moveaxis(kernel, 2, 0)
    return {
        name: (penalty(turned), penalty.prox(turned)) for name, penalty in chains.items()
    }


def on_a_mesh(kind, expected, report):
    mesh = jax.make_mesh((4, 2), ("data", "model"), axis_types=(AxisType[kind],) * 2)
    with jax.set_mesh(mesh):
        shardings = jax.tree.map(functools.partial(NamedSharding, mesh), SPECS)
        params = jax.device_put(params_of(), shardings)
        metric = jax.device_put(metric_of(params_of()), shardings)
        for choose in (is_gathering, lambda penalty: not is_gathering(penalty)):
            program = compiled_outcomes(choose, params, metric)
            found = program(params, metric)
            report.check(kind, found, expected["penalties"])
            for name, one in found.items():
                own = one.get("prox"), one.get("prox in a metric")
                if kind == "Explicit" or choose is not is_gathering:
                    report.note(kind, f"sharding of {name}", misplaced(own, params))
            if choose is is_gathering:  # It can be seen where there is one.
                report.note(kind, "gathers", "" if gathers(program) else "not found")
            else:
                report.note(kind, "no gathers by sums", gathers(program))
        if kind == "Explicit":  # With Auto axes nothing can be refused.
            found = jax.jit(operated)(params["dense"]["kernel"])
            report.check(kind, found, expected["operators"])
        report.check(kind, jax.jit(statistics)(params), expected["statistics"])
        report.check(kind, swept(params), expected["sweep"])
        rows = NamedSharding(mesh, P("data", None))
        if kind == "Auto" or transposes_products(rows):
            report.check(kind, solved(x=rows, y=rows), expected["solutions"])
        conv = jax.device_put(params_of()["conv"]["kernel"], NamedSharding(mesh, UNSPLIT))
        program = jax.jit(along_whole_axes).lower(conv).compile()
        report.check(kind, program(conv), expected["chains"])
        report.note(kind, "no gathers along whole axes", gathers(program))
        with_transforms(kind, params, metric, expected, report)


def with_transforms(kind, params, metric, expected, report):
    transforms = transforms_of()
    states = {name: tx.init(params) for name, tx in transforms.items()}
    report.check(
        kind,
        {f"{n} init": s for n, s in states.items()},
        {f"{n} init": s for n, s in expected["states"].items()},
    )
    program = jax.jit(functools.partial(trained, transforms))
    program = program.lower(params, metric, states).compile()
    found = program(params, metric, states)
    report.check(kind, found, expected["transforms"])
    for name, state in states.items():
        report.note(kind, f"sharding of the state of {name}", misplaced(state, params))
        report.note(kind, f"sharding after {name}", misplaced(found[name], params))
    large = [scopes for scopes in gathers(program) if "spectral_" not in str(scopes)]
    report.note(kind, "no gathers by transforms", large)


def _section(checked):
    return f"shard_map, check_vma={checked}"


def in_shard_map(checked, expected, report):
    """As in a mesh, but each device computes with its part alone."""
    section = _section(checked)
    mesh = jax.make_mesh((4, 2), ("data", "model"), axis_types=(AxisType.Auto,) * 2)
    compute = outcomes if checked else slopes  # What is not tracked differs in these alone.
    penalties = {n: p for n, p in penalties_of(specs=SPECS).items() if not is_gathering(p)}
    del penalties["L1 toward"]  # Its reference would have to be split as well.
    transforms = transforms_of(SPECS)
    if not checked:
        transforms = {name: transforms[name] for name in ["dual_averaging_adam"]}

    def part(params, metric):
        states = {name: tx.init(params) for name, tx in transforms.items()}
        return {
            "penalties": compute(penalties, params, metric),
            "parameters": {
                name: moved
                for name, (moved, _) in trained(transforms, params, metric, states).items()
            },
            "statistics": statistics(params, specs=SPECS),
        }

    results = jax.eval_shape(functools.partial(compute, penalties_of()), *[params_of()] * 2)
    out = {
        "penalties": {
            name: {key: P() if key == "value" else SPECS for key in results[name]}
            for name in penalties
        },
        "parameters": dict.fromkeys(transforms, SPECS),
        "statistics": P(),
    }
    program = jax.shard_map(
        part, mesh=mesh, in_specs=(SPECS, SPECS), out_specs=out, check_vma=checked
    )
    params = params_of()
    found = jax.jit(program)(params, metric_of(params))
    moved = {name: moved for name, (moved, _) in expected["transforms"].items()}
    report.check(section, found["penalties"], expected["penalties"])
    report.check(section, found["parameters"], moved)
    report.check(section, found["statistics"], expected["statistics"])
    if checked:
        begin_in_a_set_mesh(mesh, params, transforms)
        report.note(section, "begins where a mesh is set", "")


def begin_in_a_set_mesh(mesh, params, transforms):
    """Trace what tries an optimizer out in `init`, with weights that are on no mesh."""

    def first(params):
        return [
            transforms[name].update(params, transforms[name].init(params), params)[0]
            for name in ("with_fixed_norm", "with_decay")
        ]

    with jax.set_mesh(mesh):
        program = jax.shard_map(
            first, mesh=mesh, in_specs=(SPECS,), out_specs=[SPECS, SPECS]
        )
        jax.eval_shape(program, params)


def in_pmap(report):
    """A row of a kernel on each device."""
    kernel = params_of()["dense"]["kernel"]
    for penalty in (jr.L1(0.2), jr.GroupLasso(0.2), jr.L1Linf(0.2, group_axis=())):
        split = penalty.replace(specs=P("rows"))
        program = jax.pmap(jax.value_and_grad(split), axis_name="rows")
        values, gradient = program(kernel[:, None])
        value, expected = jax.value_and_grad(penalty)(kernel)
        problem = difference((values, gradient[:, 0]), (np.full(8, value), expected))
        report.note("pmap", type(penalty).__name__, problem)


def compacted(report):
    """A smaller model of one that is split: where parts stay equal, it stays split."""
    rng = np.random.default_rng(0)
    shapes = {"up": (8, 16), "bias": (16,), "down": (16, 8)}
    specs = {"up": P(None, "data"), "bias": P("data"), "down": P("data", None)}
    x = rng.normal(size=(8, 8)).astype(np.float32)
    for kind, gone in ((kind, gone) for kind in ("Auto", "Explicit") for gone in (8, 3)):
        params = {k: rng.normal(size=n).astype(np.float32) for k, n in shapes.items()}
        params["up"][:, :gone], params["bias"][:gone] = 0, 0
        mesh = jax.make_mesh((8,), ("data",), axis_types=(getattr(AxisType, kind),))
        middle = NamedSharding(mesh, specs["up"])

        def fn(params, x, kind=kind, middle=middle):
            h = jax.nn.relu(x @ params["up"] + params["bias"])
            if kind == "Explicit":
                h = jax.sharding.reshard(h, middle)
                return jnp.einsum("nh,hd->nd", h, params["down"], out_sharding=P())
            return jax.lax.with_sharding_constraint(h, middle) @ params["down"]

        with jax.set_mesh(mesh):
            split = {k: NamedSharding(mesh, spec) for k, spec in specs.items()}
            given = jax.device_put(params, split)
            small = jr.compact(fn, given, x)
            problem = difference(small(small.params, x), fn(given, x))
        report.note("compaction", f"{kind}, function without {gone}", problem)
        kept = {k: P() if gone == 3 else spec for k, spec in specs.items()}
        wrong = [
            name
            for name, y in small.params.items()
            if not y.sharding.is_equivalent_to(NamedSharding(mesh, kept[name]), y.ndim)
            or y.shape[list(shapes[name]).index(16)] != 16 - gone
        ]
        report.note("compaction", f"{kind}, shardings without {gone}", wrong)


def in_two_processes():
    """Trains with every transform on the devices of both, and says what differs."""
    cheaply()
    transforms, params, report = transforms_of(), params_of(), Report()

    def run(params, gradients):
        states = {name: tx.init(params) for name, tx in transforms.items()}
        return jax.jit(functools.partial(trained, transforms))(params, gradients, states)

    expected = run(params, metric_of(params))
    mesh = jax.make_mesh((4, 2), ("data", "model"))
    with jax.set_mesh(mesh):
        shardings = jax.tree.map(functools.partial(NamedSharding, mesh), SPECS)
        given = jax.device_put((params, metric_of(params)), (shardings, shardings))
        report.check("two processes", run(*given), expected)
    return report["two processes"]


def cheaply():
    """Compile without what makes programs fast."""
    jax.config.update("jax_disable_most_optimizations", True)


def run_the_page():
    """The examples of the page on sharding, one after the other."""
    page = ROOT / "docs" / "sharding.md"
    names = {}
    for block in re.findall(r"^```python\n(.*?)^```$", page.read_text(), re.M | re.S):
        exec(block, names)


def main():
    assert jax.device_count() == 8
    cheaply()
    _scheduling.SMALL = 0  # All leaves wait for each other, as large ones do.
    report = Report()
    expected = on_one_device()
    for kind in ("Auto", "Explicit"):
        if kind in sys.argv:
            on_a_mesh(kind, expected, report)
    for checked in (True, False):
        if _section(checked) in sys.argv:
            in_shard_map(checked, expected, report)
    in_pmap(report)
    compacted(report)
    with contextlib.redirect_stdout(sys.stderr):
        run_the_page()
    report.note("documentation", "sharding.md", "")
    json.dump(report, sys.stdout)


if __name__ == "__main__":
    main()
