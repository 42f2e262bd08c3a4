"""The checks, a module for each subject; importing this enrols them in the order in which they run."""

from matrixhub.testing.checks import (  # noqa: F401, I001 - the order is that of a report
    plugin,
    config,
    build,
    module,
    state,
    encoder,
    padding,
    layers,
    fusion,
    head,
    toys,
    generator,
    writing,
    source,
    transform,
    callback,
    ranks,
)
