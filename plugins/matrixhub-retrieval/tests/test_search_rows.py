"""A product that is trained, indexed and searched through the command line."""

import csv
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from matrixhub_retrieval import index as indexing
from matrixhub_retrieval.index import SearchIndex

import matrixhub as mh
from matrixhub import ConfigError, DataError
from matrixhub.cli.main import main
from matrixhub.run import score

COLOURS = "red green blue gold pink grey teal lime plum navy rust sand jade mint rose wine"
WORDS = re.findall(r"\w+", COLOURS)
Told = Callable[..., tuple[int, str, str]]


def phrases(count: int, start: int = 0) -> list[dict[str, str]]:
    """Rows whose document says what the query says, and more."""
    rows = []
    for i in range(start, start + count):
        words = [WORDS[i % 16], WORDS[(i // 16 + 3 * i + 1) % 16], WORDS[(i // 5 + 7) % 16]]
        rows.append(
            {"query": " ".join(words), "document": f"the {' and '.join(words)} number {i}", "id": str(i)}
        )
    return rows


def write(path: Path, rows: list[dict[str, str]]) -> Path:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return path


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The artifact of a product that finds documents."""
    folder = tmp_path_factory.mktemp("search")
    table = write(folder / "faq.csv", phrases(240))
    run = mh.run(
        [
            *("product=search", "encoder/text=hash", "fusion.dim=32", "fusion.hidden=0", "trainer.lr=0.03"),
            *(f"product.source.path={table}", f"output_dir={folder}/runs", f"cache_dir={folder}/cache"),
            *("trainer.epochs=15", "fusion.dropout=0.0"),
        ],
        quiet=True,
    )
    (record,) = run.records
    assert record["status"] == "done", record
    assert not [note for note in record["notes"] if "tells nothing" in note]
    scores, plain = record["metrics"]["match"], record["baselines"]["match"]
    assert set(plain) == {"chance", "TF-IDF, untrained"} or set(plain) == {"chance"}
    assert scores["recall_at_10"] > 0.8 > plain["chance"]["recall_at_10"] * 2
    wrong = record["outputs"]["match"]
    assert len(wrong["errors"]) == min(wrong["num_wrong"], 10)
    assert all("number" in error["truth"] != error["answer"] for error in wrong["errors"])
    return Path(record["artifact"])


@pytest.fixture
def told(capsys: pytest.CaptureFixture[str]) -> Told:
    """Runs a command: its exit code, what it printed, and what it said."""

    def call(*argv: Any) -> tuple[int, str, str]:
        code = main([str(one) for one in argv])
        out = capsys.readouterr()
        return code, out.out, out.err

    return call


def test_an_exact_document_is_found_first(trained: Path, tmp_path: Path, told: Told) -> None:
    rows, index = write(tmp_path / "rows.csv", phrases(60)), tmp_path / "index"
    assert told("index", trained, rows, "--out", index)[0] == 0
    wanted = phrases(60)[17]
    code, out, _ = told("search", index, wanted["document"], "--by", "document", "-k", 3, "--json")
    found = [json.loads(line) for line in out.splitlines()]
    assert (code, len(found), found[0]["id"]) == (0, 3, "17")
    assert found[0]["similarity"] == pytest.approx(1, abs=1e-5)
    assert found == sorted(found, key=lambda one: -one["similarity"])
    assert set(found[0]) == {"similarity", "query", "document", "id"}


def test_a_query_finds_its_document_and_the_table_shows_it(trained: Path, tmp_path: Path, told: Told) -> None:
    index = tmp_path / "index"
    told("index", trained, write(tmp_path / "rows.csv", phrases(60)), "--out", index)
    hits = 0
    for row in phrases(60)[:20]:
        code, out, _ = told("search", index, row["query"], "-k", 5)
        assert code == 0 and out.splitlines()[0].split() == ["query", "document", "id"]
        hits += any(line.split()[-1] == row["id"] for line in out.splitlines()[1:])
    assert hits >= 15


def test_an_index_grows_and_encodes_only_what_is_new(trained: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    encoded: list[int] = []
    embed = SearchIndex.embed

    def counted(self: SearchIndex, name: str, rows: Any) -> Any:
        encoded.append(len(rows))
        return embed(self, name, rows)

    monkeypatch.setattr(SearchIndex, "embed", counted)
    product = mh.load(trained)
    grown, whole = SearchIndex(product), SearchIndex(product)
    table = pa.Table.from_pylist(phrases(50))
    assert grown.add(table.slice(0, 30)) == 30
    again = table.slice(20, 30).append_column("price", pa.array(range(30)))
    assert grown.add(table.slice(20, 30)) == 20 and len(grown) == 50
    assert grown.add(again) == 0 and len(grown) == 80  # other columns, the same documents
    assert encoded == [30, 20]
    whole.add(table)
    assert [f.row["id"] for f in whole.search("red gold", k=9)] == [
        f.row["id"] for f in _once(grown.search("red gold", k=18))
    ][:9]
    np.testing.assert_array_equal(grown.vectors.get(25), whole.vectors.get(25))


def _once(found: list[Any]) -> list[Any]:
    return list({one.row["id"]: one for one in found}.values())


def test_an_index_stands_beside_its_artifact_and_grows_there(
    trained: Path, tmp_path: Path, told: Told
) -> None:
    first, more = write(tmp_path / "a.csv", phrases(30)), write(tmp_path / "b.csv", phrases(20, 30))
    assert "30 rows added (30 encoded), 30 in" in told("index", trained, first)[2]
    assert "20 rows added (20 encoded), 50 in" in told("index", trained, first, more)[2]
    code, out, _ = told("search", trained, phrases(1, 44)[0]["document"], "--by", "document", "-k", 1)
    assert code == 0 and out.splitlines()[1].endswith("44")


def test_bad_input_gives_one_line(trained: Path, tmp_path: Path, told: Told) -> None:
    rows = write(tmp_path / "rows.csv", [{"query": "a", "text": "b"}])
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "note.txt").write_text("mine")
    good = write(tmp_path / "good.csv", phrases(5))
    cases: dict[str, tuple[Any, ...]] = {
        "no column 'document'": ("index", trained, rows, "--out", tmp_path / "i"),
        "is no index, and has none": ("search", tmp_path, "red"),
        "there is no folder": ("search", tmp_path / "nowhere", "red"),
        "QUERY is empty": ("search", tmp_path, " "),
        "is no index. Make one": ("index", trained, good, "--out", tmp_path / "full"),
        "no number of rows": ("search", tmp_path, "red", "-k", "0"),
        "write KEY=VALUE": ("index", trained, good, "--set", "format"),
        "Unknown option of core.table 'form'": ("index", trained, good, "--set", "form=csv"),
        "the following arguments are required": ("search", tmp_path),
    }
    for said, argv in cases.items():
        code, out, err = told(*argv)
        assert (code, out) == (2, "") and said in err and err.count("\n") == 1, err


def test_how_a_source_is_read_can_be_set(trained: Path, tmp_path: Path, told: Told) -> None:
    rows = write(tmp_path / "rows.txt", phrases(9)).rename(tmp_path / "rows.table")
    code, _, err = told("index", trained, rows, "--out", tmp_path / "i", "--set", "format=csv", "limit=4")
    assert code == 0 and "4 rows added" in err, err


def test_a_file_is_no_words_for_a_product_of_texts(trained: Path, tmp_path: Path, told: Told) -> None:
    rows = write(tmp_path / "rows.csv", phrases(9))
    told("index", trained, rows, "--out", tmp_path / "i")
    code, _, err = told("search", tmp_path / "i", rows)
    assert code == 2 and "this product reads text alone" in err and "--by query" in err
    assert told("search", tmp_path / "i", rows, "--by", "query")[0] == 0


@pytest.mark.parametrize(
    ("query", "k", "message"),
    [("", 1, "not an empty one"), (["a", "b"], 1, "one value"), ("red", 0, "k=0"), ("red", -1, "k=-1")],
)
def test_a_query_from_python_is_looked_at(trained: Path, query: Any, k: int, message: str) -> None:
    found = SearchIndex(mh.load(trained))
    assert found.add(phrases(9)) == 9
    with pytest.raises(DataError, match=message):
        found.search(query, k=k)
    with pytest.raises(DataError, match="an Arrow table, or mappings"):
        found.add(["red"])
    with pytest.raises(DataError, match=r"'x' is no product: give what matrixhub.load"):
        SearchIndex("x")


def test_a_damaged_index_is_refused(trained: Path, tmp_path: Path, told: Told) -> None:
    index = tmp_path / "index"
    told("index", trained, write(tmp_path / "rows.csv", phrases(9)), "--out", index)
    vectors = index / "vectors.usearch"
    vectors.write_bytes(vectors.read_bytes()[:-1] + b"x")
    code, _, err = told("search", index, "red")
    assert code == 2 and "vectors.usearch is damaged" in err


def test_a_product_that_finds_nothing_is_refused() -> None:
    class Other:
        name, outputs = "topics", {"label": {"task": "classification"}}

    with pytest.raises(DataError, match="trained for classification, not for retrieval"):
        SearchIndex(Other())


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["product.inputs.document.column=query"], "Both inputs read the column query"),
        (["fusion=weighted"], "mixes the two inputs"),
        (["product.inputs.document.optional=true"], "cannot be optional"),
        (["trainer.accumulation=2"], "its own part of the batch alone"),
        (["trainer=finetune", "trainer.accumulation=2"], "its own part of the batch alone"),
        (["head=linear"], "Head 'heads.linear' learns"),
    ],
)
def test_what_cannot_be_found_is_refused_before_any_work(
    tmp_path: Path, overrides: list[str], message: str
) -> None:
    table = write(tmp_path / "faq.csv", phrases(5))
    base = ["product=search", "encoder/text=hash", f"product.source.path={table}"]
    with pytest.raises(ConfigError, match=message):
        mh.plan([*base, *overrides])


def test_the_ten_nearest_of_a_few_rows_are_told_to_say_nothing(tmp_path: Path, told: Told) -> None:
    table = write(tmp_path / "faq.csv", phrases(32))
    code, out, _ = told(
        "run", "product=search", "encoder/text=hash", f"product.source.path={table}", "trainer.epochs=1",
        f"output_dir={tmp_path}/runs", f"cache_dir={tmp_path}/cache",
    )  # fmt: skip
    assert code == 0
    assert "match: recall_at_10 tells nothing on these test rows, for chance has 1 as well." in out
    assert "Next: matrixhub index " in out


def test_rows_are_told_from_those_of_all_batches(
    trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    table = write(tmp_path / "rows.csv", phrases(60))

    def scores() -> dict[str, Any]:
        assert main(["evaluate", str(trained), str(table), "--json"]) == 0
        found: dict[str, Any] = json.loads(capsys.readouterr().out)
        return found

    at_once = scores()
    monkeypatch.setattr(score, "BATCH_ROWS", 7)
    assert str(scores()) == str(at_once)


def test_an_index_whose_writer_was_ended_is_still_there(trained: Path, tmp_path: Path, told: Told) -> None:
    """It has two renames, and may be killed between them."""
    index, rows = tmp_path / "index", write(tmp_path / "rows.csv", phrases(9))
    told("index", trained, rows, "--out", index)
    index.rename(tmp_path / ".index.old")
    code, _, err = told("index", trained, rows, "--out", index)
    assert code == 0 and "0 rows added (0 encoded), 9 in" in err
    index.rename(tmp_path / ".index.old")
    assert told("search", index, "red")[0] == 0


def test_a_failure_in_the_middle_names_the_row_and_leaves_the_index_as_it_was(
    trained: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(indexing, "ROWS_AT_ONCE", 8)
    found = SearchIndex(mh.load(trained))
    found.add(pa.Table.from_pylist(phrases(10)))
    bad = phrases(30)  # the first 10 are there already, so that the bad one is the 15th of 20 new ones
    bad[24]["document"] = "bad"
    embed, encoded = SearchIndex.embed, []

    def strict(self: SearchIndex, name: str, rows: Any) -> Any:
        for place, text in enumerate(rows["document"].to_pylist()):
            encoded.append(text)
            if text == "bad":
                raise DataError("is no text", row=place, column="document")
        return embed(self, name, rows)

    monkeypatch.setattr(SearchIndex, "embed", strict)
    with pytest.raises(DataError, match=r"^row 25, column 'document': is no text"):
        found.add(pa.Table.from_pylist(bad))
    assert len(encoded) == 15 and (len(found), len(found.vectors)) == (10, 10)
    assert found.add(pa.Table.from_pylist(phrases(30))) == 20
    assert (len(found), len(found.vectors)) == (30, 30)


def test_vectors_are_put_into_an_index_all_or_none(trained: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = SearchIndex(mh.load(trained))
    found.add(pa.Table.from_pylist(phrases(10)))

    class Ended(type(found.vectors)):  # type: ignore[misc]
        def add(self, keys: Any, vectors: Any) -> None:
            super().add(keys[:3], vectors[:3])
            raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(found.vectors, "__class__", Ended)
        with pytest.raises(KeyboardInterrupt):
            found.add(pa.Table.from_pylist(phrases(20)))
    assert (len(found), len(found.vectors)) == (10, 10)
    assert found.add(pa.Table.from_pylist(phrases(20))) == 10 and len(found.vectors) == 20
    assert found.search(phrases(20)[15]["document"], by="document", k=1)[0].row["id"] == "15"


def test_a_query_goes_through_the_transforms_that_its_column_went_through(trained: Path) -> None:
    product = mh.load(trained)
    found = SearchIndex(product)
    found.add(pa.Table.from_pylist(phrases(60)))
    text = phrases(60)[15]["query"]
    wanted = found.search(text, k=1)

    def spaced(table: pa.Table) -> pa.Table:
        queries = [one.replace("-", " ") for one in table["query"].to_pylist()]
        return table.set_column(table.column_names.index("query"), "query", pa.array(queries))

    product.transform.transforms.append(("spaced", spaced))
    assert found.search(text.replace(" ", "-"), k=1) == wanted
    assert found.search({"query": text.replace(" ", "-"), "more": 1}, k=1) == wanted
    with pytest.raises(DataError, match="transforms read tables, and no table holds it"):
        found.search(object())


def test_the_graph_of_a_large_index_finds_what_comparing_all_finds(
    trained: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found, rows = SearchIndex(mh.load(trained)), phrases(600)
    found.add(pa.Table.from_pylist(rows))

    def nearest() -> list[set[str]]:
        return [{one.row["id"] for one in found.search(row["query"], k=10)} for row in rows[::20]]

    exact = nearest()
    monkeypatch.setattr(indexing, "EXACT_ROWS", 100)
    same = [len(a & b) / len(a) for a, b in zip(exact, nearest(), strict=True)]
    assert sum(same) / len(same) > 0.95
