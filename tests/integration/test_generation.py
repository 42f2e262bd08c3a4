"""A product whose answers a generator writes, from the command line to its answers."""

import json
from pathlib import Path
from typing import Any

import pytest

import matrixhub as mh
from matrixhub.artifacts.manifest import read_manifest
from matrixhub.cli.main import main
from matrixhub.plan.history import read_records
from tests.command import command
from tests.toys import FAST, toy_options, write_products

ECHO = ("generator=echo", "product.split.fractions=[0.4,0.1,0.5]")
PROMPT = 'product.outputs.answer.prompt="{text} END and more"'


def write_questions(path: Path, rows: int = 60) -> Path:
    """Texts of several lengths; every second one is to be said as it is, the others are longer than said."""
    lines = []
    for i in range(rows):
        text = " ".join([f"row{i}", *["again"] * (i % 7), "blue"])
        lines.append(f"{text},{text if i % 2 else text + ' but green'},{'even' if i % 2 else 'odd'}")
    path.write_text("\n".join(["text,answer,label", *lines]))
    return path


def options(folder: Path) -> list[str]:
    questions = write_questions(folder / "questions.csv")
    return ["product=generation", f"product.source.path={questions}", *ECHO, *toy_options(folder)]


@pytest.fixture(scope="module")
def echoed(tmp_path_factory: pytest.TempPathFactory) -> mh.Run:
    """With a prompt that goes on behind its stop."""
    folder = tmp_path_factory.mktemp("echoed")
    return mh.run([*options(folder), PROMPT, "generate.stop=[END]"], quiet=True)


def test_a_generator_is_planned_without_encoder_and_head(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["plan", *options(tmp_path)]) == 0
    page = capsys.readouterr().out
    assert "generation-echo: fixture.echo writes its answers" in page
    assert "generate generation-echo" in page
    assert "encode" not in page and "train" not in page
    assert main(["plan", *options(tmp_path), "--mermaid"]) == 0
    assert "generation on echo" in capsys.readouterr().out


def test_a_generator_that_nothing_trains_needs_test_rows_only(tmp_path: Path) -> None:
    (tmp_path / "q.csv").write_text("text,answer,fold\na,a,train\nb,b,test\n")
    words = ["product=generation", f"product.source.path={tmp_path}/q.csv", "product.split.column=fold"]
    made = mh.run([*words, "generator=echo", *toy_options(tmp_path)], quiet=True)
    assert made.records[0]["status"] == "done", made.records[0]["error"]
    assert made.records[0]["num_rows"] == {"train": 0, "validation": 0, "test": 1}


def test_it_is_scored_on_its_test_rows(echoed: mh.Run) -> None:
    (record,) = echoed.records
    assert record["status"] == "done"
    assert (record["encoder"], record["head"]) == ("echo", "")
    right, rows = record["metrics"]["answer"]["exact_match"], record["num_rows"]["test"]
    assert 0 < right < 1
    assert record["outputs"]["answer"]["num_wrong"] == round(rows * (1 - right))
    assert record["metrics"]["answer"]["f1"] == pytest.approx(
        record["baselines"]["answer"]["the input itself"]["f1"]
    )
    assert record["baselines"]["answer"]["commonest answer"]["f1"] < record["metrics"]["answer"]["f1"]
    low, high = record["outputs"]["answer"]["interval"]
    assert low < record["metrics"]["answer"]["f1"] < high
    worst = record["outputs"]["answer"]["errors"][0]
    assert worst["truth"] == f"{worst['answer']} but green" == f"{worst['input']['text']} but green"
    assert record["parameters"] == {"generator": 64, "trained": 0}
    assert record["latency_ms"] > 0


def test_the_artifact_writes_as_the_cell_did(echoed: mh.Run) -> None:
    product = echoed.load("generation")
    assert product("say it again") == mh.Prediction("say it again")
    found = product(["one", {"text": "two words"}, "three words here"])
    assert [answer.value for answer in found] == ["one", "two words", "three words here"]
    long = product(" ".join(["word"] * 100))
    assert long.truncated
    manifest = read_manifest(product.folder)
    assert manifest["generator"]["name"] == "fixture.echo"
    assert sorted(manifest["files"]) == ["README.md", "generator/generator.safetensors"]
    card = (product.folder / "README.md").read_text()
    assert "`fixture.echo` writes the answers" in card
    assert "text-generation" in card
    with pytest.raises(mh.DataError, match="row 2: a prompt takes texts and numbers, not NoneType"):
        product(["one", None])


def test_what_has_no_stream_says_so(echoed: mh.Run) -> None:
    with pytest.raises(mh.ConfigError, match=r"'fixture.echo' has no stream: call the product"):
        echoed.load("generation").stream("say it again")


def test_predict_and_evaluate(echoed: mh.Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    artifact, questions = echoed.records[0]["artifact"], write_questions(tmp_path / "new.csv", 10)
    assert main(["predict", artifact, str(questions)]) == 0
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [row["predicted_answer"] for row in rows] == [row["text"] for row in rows]
    assert main(["evaluate", artifact, str(questions), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["num_rows"] == 10
    assert found["metrics"]["answer"]["exact_match"] == 0.5


def test_the_report_bears_it(echoed: mh.Run) -> None:
    page = (echoed.folder / "report.html").read_text()
    assert "exact_match" in page and "but green" in page
    assert main(["report", str(echoed.folder)]) == 0


def test_a_matrix_of_generators_and_heads(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """One plan, one leaderboard; the generator's cell has no head, so it is there once."""
    conf = write_products(tmp_path / "conf")
    sweep = ["product=generation,text", "head=linear,mlp", "trainer.epochs=2"]
    argv = ["run", "-m", *options(tmp_path)[1:], *sweep, "--config-dir", str(conf)]
    assert main(argv) == 0
    out = capsys.readouterr().out
    assert "echo" in out and "mlp" in out
    (folder,) = (tmp_path / "runs").iterdir()
    records = read_records(folder)
    assert [record["name"] for record in records] == [
        "generation-echo", "text-hash-linear", "text-hash-mlp",
    ]  # fmt: skip
    assert {record["status"] for record in records} == {"done"}
    assert main(argv) == 0  # taken over
    assert len(list((tmp_path / "runs").iterdir())) == 2


def test_two_ranks_write_the_same(tmp_path: Path) -> None:
    """Drawn words too: they do not depend on the batch."""
    drawn = ("generate.temperature=1", "generate.seed=3", "generate.batch_size=4")
    alone = mh.run([*options(tmp_path), *drawn, f"output_dir={tmp_path}/alone"], quiet=True)
    ranks = ("launch.num_processes=2", "launch.cpu=true", "launch.timeout=60")
    done = command("run", *options(tmp_path), *drawn, *ranks)
    assert done.returncode == 0, done.stderr
    (folder,) = (tmp_path / "runs").iterdir()
    (record,) = read_records(folder)
    assert record["metrics"] == alone.records[0]["metrics"]
    assert record["outputs"] == alone.records[0]["outputs"]
    assert record["metrics"]["answer"]["exact_match"] < 0.3


def test_options_of_a_generator_are_part_of_its_cell(tmp_path: Path) -> None:
    def cell(*overrides: str) -> str:
        return next(iter(mh.plan([*options(tmp_path), *overrides]).cells))

    first = cell()
    assert cell("trainer.lr=0.5", "head=mlp") == first
    others = {cell("generate.seed=1"), cell("generator.times=2"), cell(PROMPT)}
    assert len({first, *others}) == 4


WRONG: dict[str, tuple[str, str]] = {
    "no generator": ("~generator", "No generator is chosen"),
    "unknown": ("generator=ecko", "Unknown generator 'ecko'. Did you mean 'echo'"),
    "unknown option": ("generator.tims=2", "Did you mean 'generator.times'"),
    "prompt without input": ("product.outputs.answer.prompt=hello", "names no input: write {text}"),
    "prompt of another": ("product.outputs.answer.prompt='{txt}'", "Did you mean 'text'"),
    "an image": ("product.inputs.text.modality=image", "reads texts only, and text (image)"),
    "temperature": ("generate.temperature=-1", "generate.temperature=-1.0: must be at least 0"),
    "top_p": ("generate.top_p=0", "generate.top_p=0.0: must be above 0"),
    "several tasks": (
        "+product.outputs={label: {task: classification, target: label}}",
        "generation does not go with classification",
    ),
}


@pytest.mark.parametrize("fault", WRONG)
def test_what_cannot_be_is_refused(fault: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    override, message = WRONG[fault]
    assert main(["plan", *options(tmp_path), override]) == 2
    assert message in capsys.readouterr().err


FAILING: dict[str, tuple[list[str], str]] = {
    "no room": (
        ["generate.max_new_tokens=128"],
        "leaves no room for a prompt: the generator holds 128 tokens",
    ),
    "no column": (["product.outputs.answer.target=anser"], "Unknown column 'anser'. Did you mean 'answer'"),
}


@pytest.mark.parametrize("fault", FAILING)
def test_what_fails_is_a_record(fault: str, tmp_path: Path) -> None:
    overrides, message = FAILING[fault]
    run = mh.run([*options(tmp_path), *overrides], quiet=True)
    assert message in run.records[0]["error"]
    assert run.records[0]["exit_code"] == 2


def test_several_inputs_and_outputs(tmp_path: Path) -> None:
    product: Any = mh.run(
        [
            *options(tmp_path),
            "+product.inputs={who: {column: label, modality: text}}",
            "+product.outputs={other: {task: generation, target: label, prompt: '{who} is {text}'}}",
            "product.outputs.answer.prompt='{text}, {who}!'",
            *FAST,
        ],
        quiet=True,
    ).load("generation")
    answer = product({"text": "it", "who": "nobody"})
    assert answer == {"answer": mh.Prediction("it, nobody!"), "other": mh.Prediction("nobody is it")}
