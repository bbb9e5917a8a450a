"""One Hypothesis profile and precision for all tests; programs compile fast, and once."""

import gc
import os

# The threads of BLAS wait for each other in loops, and two workers have two cores.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import jax
import pytest
from hypothesis import Phase, settings

from tests.helpers import flags, skipped, tiers
from tests.helpers.processes import ROOT, UNREADABLE

# A list of fonts or settings in the user's home may be of another Matplotlib.
os.environ["MPLCONFIGDIR"] = str(ROOT / ".pytest_cache" / "matplotlib")

# Compilation makes timings erratic; a fixed seed makes failures repeat.
settings.register_profile(
    "jaxreg",
    deadline=None,
    derandomize=True,
    max_examples=30,
    phases=[Phase.explicit, Phase.generate, Phase.shrink],
    report_multiple_bugs=False,
)
settings.load_profile("jaxreg")

SETTINGS = {
    # Accelerators multiply float32 matrices in fewer digits unless told otherwise. What
    # the tests judge by must be exact.
    "jax_default_matmul_precision": "highest",
    # Compiling takes most of the time, and LLVM most of that. XLA fuses and schedules as
    # it always does; only the loops that it makes are translated without polish.
    "jax_disable_most_optimizations": True,
    # What one worker, script or run has compiled, the others read from here.
    "jax_compilation_cache_dir": str(ROOT / ".pytest_cache" / "jax"),
    "jax_persistent_cache_min_compile_time_secs": 0.0,
    "jax_persistent_cache_min_entry_size_bytes": 0,
}
for name, value in SETTINGS.items():
    # The environment is for subprocesses; what it says already, JAX has read.
    if os.environ.setdefault(name.upper(), str(value)) == str(value):
        jax.config.update(name, value)

os.environ["XLA_FLAGS"] = flags.known(*flags.FAST_COMPILATION)

# Scripts and notebooks that tests start import this jaxreg, wherever pytest was started.
os.environ["PYTHONPATH"] = os.pathsep.join(
    dict.fromkeys([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
)

# Tracing makes objects by the hundred thousand, and few of them are garbage.
gc.set_threshold(100_000)


def pytest_addoption(parser):
    what = "only tests that are skipped where a library to compare with is not installed"
    parser.addoption("--oracles", action="store_true", help=what)
    what = "all tests, also what others make improbable: see tests/helpers/tiers.py"
    parser.addoption("--exhaustive", action="store_true", help=what)
    what = "only the tests that need --exhaustive to run"
    parser.addoption("--left-out", action="store_true", help=what)


def pytest_collection_modifyitems(config, items):
    if config.getoption("--oracles"):
        _keep(config, items, list(filter(skipped.may_be_skipped, items)))
    if config.getoption("--left-out"):
        default = set(tiers.by_default(items))
        _keep(config, items, [item for item in items if item not in default])
    elif not config.getoption("--exhaustive"):
        _keep(config, items, tiers.by_default(items))


def _keep(config, items, kept):
    chosen = set(kept)
    config.hook.pytest_deselected(items=[item for item in items if item not in chosen])
    items[:] = kept


def pytest_configure(config):
    config.addinivalue_line("filterwarnings", UNREADABLE)
    for marker in tiers.MARKERS:
        config.addinivalue_line("markers", marker)


def pytest_terminal_summary(terminalreporter):
    if line := skipped.summary(terminalreporter.stats.get("skipped", [])):
        terminalreporter.write_sep("-", "libraries that are not installed")
        terminalreporter.write_line(line)


@pytest.fixture(scope="module", autouse=True)
def _forget():
    """Let go of a file's programs: each maps memory, and Linux allows 65,530 maps."""
    yield
    jax.clear_caches()


@pytest.fixture
def compilations():
    """The names of what JAX compiles from here on."""
    seen = []

    def listen(event, duration_secs, **about):
        del duration_secs
        if "backend_compile" in event:
            seen.append(about)

    jax.monitoring.register_event_duration_secs_listener(listen)
    yield seen
    jax.monitoring.unregister_event_duration_listener(listen)
