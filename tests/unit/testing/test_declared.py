"""What an author declares, in the package and in the call: merged, and refused where it means nothing."""

from pathlib import Path

import pytest

from matrixhub.errors import ConfigError
from matrixhub.testing import Suite
from matrixhub.testing.declared import Declared, merged, read_declared

KEY = "encoder.vit"


def test_expected_failures_of_the_call_are_added_by_check() -> None:
    found = Declared({KEY: {"depth": 2}}, {KEY: {"answers": "old", "rows_differ": "kept"}, "plugin": {}})
    both = merged(found, {KEY: {"width": 4}}, {KEY: {"answers": "new"}, "head.mlp": {"builds": "said"}})
    assert both.expected_failures == {
        KEY: {"answers": "new", "rows_differ": "kept"},
        "plugin": {},
        "head.mlp": {"builds": "said"},
    }
    assert both.options == {KEY: {"width": 4}}


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("rows = 3", "rows is 3. It must be a table: write [rows]"),
        ("[rows]\ntable = 'one'", "in [rows], table is 'one'. It must be a list"),
        ("[options]\n'encoder.vit' = 3", "in [options], encoder.vit is 3. It must be a table"),
        ("[expected_failures]\n'encoder.vit' = 'slow'", "in [expected_failures], encoder.vit is 'slow'"),
        ("[expected_failures.'encoder.vit']\nanswers = true", "answers is True. It must be a reason"),
        ("[expected_failures.encoder.vit]\nanswers = 'slow'", "stands in quotes"),
        ("[option]", "Did you mean 'options'"),
    ],
)
def test_a_table_of_another_shape_is_refused_by_name(tmp_path: Path, text: str, says: str) -> None:
    (tmp_path / "conformance.toml").write_text(text)
    with pytest.raises(ConfigError) as refused:
        read_declared(tmp_path)
    assert says in str(refused.value)
    assert str(tmp_path / "conformance.toml") in str(refused.value)


def test_a_misspelt_way_to_build_is_refused_with_the_nearest() -> None:
    options = {"source.toy@plain": {"rows": 20}, "source.toy@split": {"rows": 20}}
    Suite("fixture", options=options, expected_failures={"source.toy@plain": {"stable_order": "why"}})
    with pytest.raises(ConfigError, match=r"way to build 'source.toy' 'plian'.*Did you mean 'plain'"):
        Suite("fixture", options=options, expected_failures={"source.toy@plian": {"stable_order": "why"}})
    with pytest.raises(ConfigError, match=r"way to build 'encoder.hash_text' 'small'"):
        Suite("fixture", expected_failures={"encoder.hash_text@small": {"answers": "why"}})
