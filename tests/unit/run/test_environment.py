"""``run.json`` says what a result may depend on, and nothing of other programs' arguments."""

import json
from pathlib import Path

import matrixhub
from matrixhub.run.environment import FACTS, run_facts, write_facts
from tests.command import python


def test_versions_machine_and_command_are_told() -> None:
    facts = run_facts(["/bin/matrixhub", "run", "product=news", "name=two words"])
    assert facts["command"] == "matrixhub run product=news 'name=two words'"
    assert facts["argv"][1:] == ["run", "product=news", "name=two words"]
    assert facts["packages"]["matrixhub"] == matrixhub.__version__
    assert {"torch", "matrixhub-heads"} <= facts["packages"].keys()
    assert facts["threads"] >= 1 and facts["cores"] >= 1 and facts["cpu"] and facts["python"]
    json.dumps(facts, allow_nan=False)


def test_another_program_s_arguments_are_its_own_business() -> None:
    facts = run_facts(["/srv/train.py", "--key", "secret"])
    assert "secret" not in json.dumps(facts) and "argv" not in facts


def test_a_second_call_keeps_the_command_of_the_first(tmp_path: Path) -> None:
    write_facts(tmp_path, ["matrixhub", "run", "product=news"])
    first = json.loads((tmp_path / FACTS).read_text())
    write_facts(tmp_path, ["worker.py"])
    second = json.loads((tmp_path / FACTS).read_text())
    assert (second["command"], second["started"]) == (first["command"], first["started"])
    assert [path.name for path in tmp_path.iterdir()] == [FACTS]


def test_the_parent_of_ranks_needs_no_torch_for_it() -> None:
    code = (
        "import json, sys; from matrixhub.run.environment import run_facts; run_facts(['x']);"
        "print(json.dumps(sorted({'torch', 'numpy', 'transformers'} & set(sys.modules))))"
    )
    assert python(code) == []
