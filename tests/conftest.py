"""One Hypothesis profile for all tests."""

from hypothesis import Phase, settings

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
