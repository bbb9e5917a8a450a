"""What the estimators take from scikit-learn; without it, an error that says what to do."""

try:
    from sklearn.base import (
        BaseEstimator as BaseEstimator,
        ClassifierMixin as ClassifierMixin,
        RegressorMixin as RegressorMixin,
    )
    from sklearn.feature_selection import SelectorMixin as SelectorMixin
    from sklearn.model_selection import (
        KFold as KFold,
        StratifiedKFold as StratifiedKFold,
        check_cv as check_cv,
    )
    from sklearn.utils import check_random_state as check_random_state
    from sklearn.utils.multiclass import (
        check_classification_targets as check_classification_targets,
    )
    from sklearn.utils.validation import (
        _check_sample_weight as _check_sample_weight,
        check_is_fitted as check_is_fitted,
        column_or_1d as column_or_1d,
        validate_data as validate_data,
    )
except ImportError as error:
    raise ImportError(
        "The estimators of jaxreg.networks need scikit-learn 1.6 or newer: "
        '`pip install "jaxreg[sklearn]"`.'
    ) from error
