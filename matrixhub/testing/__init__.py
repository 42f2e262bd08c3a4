"""The conformance kit: named checks that tell an author of a plugin what is wrong with it, and how to mend
it.

The two lines of an author's ``tests/test_conformance.py``::

    from matrixhub.testing import conformance
    test_conformance = conformance("acme")

``matrixhub plugin check`` runs the same checks from the command line. Nothing heavy is imported until a check
builds something.
"""

from matrixhub.testing.check import CHECKS, Check
from matrixhub.testing.suite import Outcome, Result, Suite, conformance

__all__ = ["CHECKS", "Check", "Outcome", "Result", "Suite", "conformance"]
