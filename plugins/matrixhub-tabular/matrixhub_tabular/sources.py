"""Three tables that scikit-learn brings with it. Light: a plan makes sources, and reads no rows."""

from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pyarrow as pa


@dataclass(frozen=True, slots=True)
class SklearnRows:
    """A data set of ``sklearn.datasets``; see ``matrixhub.Source``.

    Attributes:
        loader: the function's name there.
        target: name to give to the column of right answers; classes are given by name.
        options: of the function.
    """

    loader: str
    target: str
    options: tuple[tuple[str, Any], ...] = ()

    def fingerprint(self) -> str:
        """The versions of scikit-learn and of this plugin."""
        return f"{self.loader} {version('scikit-learn')} {version('matrixhub-tabular')}"

    def read(self) -> "pa.Table":
        """The rows, one column a feature."""
        import pyarrow as pa
        import sklearn.datasets

        found = getattr(sklearn.datasets, self.loader)(**dict(self.options))
        columns = {str(name): found.data[:, i] for i, name in enumerate(found.feature_names)}
        classes = [str(name) for name in getattr(found, "target_names", ())]
        answers = [classes[i] for i in found.target] if classes else found.target
        return pa.table({**columns, self.target: answers})

    def batches(self, batch_size: int) -> "Iterator[pa.Table]":
        """The rows, ``batch_size`` at a time."""
        table = self.read()
        for start in range(0, table.num_rows, batch_size):
            yield table.slice(start, batch_size)


def cancer() -> SklearnRows:
    """569 tumours (Wolberg et al. 1993): 30 measures of cell nuclei, ``diagnosis``."""
    return SklearnRows("load_breast_cancer", "diagnosis")


def diabetes() -> SklearnRows:
    """442 patients (Efron et al. 2004): age, sex, body measures, serum, ``progression`` a year later."""
    return SklearnRows("load_diabetes", "progression", (("scaled", False),))


def wine() -> SklearnRows:
    """178 wines (Aeberhard and Forina 1992): 13 chemical measures, ``cultivar`` (one of three)."""
    return SklearnRows("load_wine", "cultivar")
