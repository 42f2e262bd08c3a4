"""Reliability row 25: whatever is typed wrong gives exit code 2 and one short message that helps."""

import contextlib
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import matrixhub as mh
from matrixhub.cli.main import main
from matrixhub.config.groups import unknown_option
from tests.command import Done, command
from tests.fixture_plugin.fake import FAULTS, write_plugin

TOY = ("plan", "product=toy", "encoder/text=hash")

BAD: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    # what is wrong: (what was typed, what the message must say)
    "no product": (("plan",), ("product=NAME", "toy")),
    "null product": (("plan", "product=null"), ("product=NAME", "toy")),
    "unknown product": (("plan", "product=toi"), ("Unknown product 'toi'", "Did you mean 'toy'")),
    "unknown root key": (("plan", "produt=toy"), ("Unknown key 'produt'", "Did you mean 'product'")),
    "unknown key": ((*TOY, "trainer.lrr=3"), ("Unknown key 'trainer.lrr'", "Did you mean 'trainer.lr'?")),
    "far key": ((*TOY, "trainer.zzz=3"), ("Allowed in trainer:", "batch_size", "warmup")),
    "key in a mapping": ((*TOY, "trainer={lrr: 1}"), ("Unknown key 'trainer.lrr'", "'trainer.lr'")),
    "key of a head": ((*TOY, "head.dropuot=0"), ("Did you mean 'head.dropout'",)),
    "key of an encoder": ((*TOY, "encoder.text.dimm=8"), ("Did you mean 'encoder.text.dim'",)),
    "key of a source": ((*TOY, "product.source.rws=8"), ("Did you mean 'product.source.rows'",)),
    "key of an input": (
        (*TOY, "product.inputs.text.modalty=x"),
        ("Did you mean 'product.inputs.text.modality'",),
    ),
    "new input": ((*TOY, "product.inputs.b.column=x"), ("+product.inputs={b: {column: COLUMN, modality:",)),
    "new input with +": ((*TOY, "+product.inputs.b.column=x"), ("+product.inputs={b: {column: COLUMN,",)),
    "new output": ((*TOY, "product.outputs.b.task=x"), ("+product.outputs={b: {task: classification,",)),
    "+unknown": ((*TOY, "+foo=3"), ("Unknown key 'foo'", "trainer")),
    "++unknown": ((*TOY, "++foo=3"), ("Unknown key 'foo'", "trainer")),
    "+unknown below": ((*TOY, "+trainer.foo=3"), ("Unknown key 'trainer.foo'", "batch_size")),
    "+ alone": ((*TOY, "+="), ("'+=' is not an override",)),
    "+unknown mapping": ((*TOY, "+foo.bar=3"), ("Unknown key 'foo'",)),
    "+ on a chosen group": ((*TOY, "+head=mlp"), ("head=NAME without '+'",)),
    "~value": ((*TOY, "~trainer.lr"), ("only set: trainer.lr=VALUE",)),
    "~unknown": ((*TOY, "~heads"), ("'~heads'", "not there")),
    "unknown group": ((*TOY, "encoder/txt=hash"), ("'encoder/txt'", "Did you mean 'encoder/text'")),
    "far group": ((*TOY, "foo/bar=baz"), ("Unknown config group 'foo/bar'", "product/source")),
    "encoder without modality": ((*TOY, "encoder=hash"), ("encoder/text=NAME", "encoder/image=NAME")),
    "unknown head": ((*TOY, "head=linaer"), ("Unknown head 'linaer'", "Did you mean 'linear'", "mlp")),
    "unknown full name": ((*TOY, "head=heads.lineer"), ("Did you mean 'heads.linear'",)),
    "far head": ((*TOY, "head=zzz"), ("Unknown head 'zzz'", "Allowed: ", "linear, mlp, pair")),
    "unknown encoder": (("plan", "product=toy", "encoder/text=hsh"), ("Did you mean 'hash'",)),
    "unknown source": ((*TOY, "product/source=toyy"), ("Unknown product/source 'toyy'", "'toy'")),
    "unknown trainer": ((*TOY, "trainer=finetun"), ("Did you mean 'finetune'", "frozen")),
    "unknown fusion": ((*TOY, "fusion=concta"), ("Did you mean 'concat'",)),
    "unknown matrix": ((*TOY, "matrix=dmeo"), ("Unknown matrix 'dmeo'",)),
    "number for a group": ((*TOY, "head=3"), ("Unknown head '3'", "linear")),
    "unknown plugin command": (("plugin", "nwe"), ("Unknown plugin command 'nwe'", "Did you mean 'new'")),
    "unknown transform": ((*TOY, "product/transform=[joyn]"), ("Unknown product/transform 'joyn'", "'join'")),
    "null for several": ((*TOY, "product/transform=null"), ("product/transform=[]",)),
    "several without -m": ((*TOY, "product/transform=join,longer"), ("add -m", "[a,b]")),
    "key of a transform": (
        (*TOY, "product/transform=join", "product.transform.join.intoo=x"),
        ("Did you mean 'product.transform.join.into'",),
    ),
    "no transform": ((*TOY, "+product.transform.least=3"), ("product.transform.least is no transform",)),
    "list for a group": ((*TOY, "head=[linear,mlp]"), ("choose one", "-m head=NAME,NAME")),
    "null for a group": ((*TOY, "trainer=null"), ("~trainer",)),
    "word for a number": ((*TOY, "trainer.lr=fast"), ("trainer.lr=fast: not a number",)),
    "fraction for a count": ((*TOY, "trainer.epochs=1.5"), ("trainer.epochs=1.5: not a whole number",)),
    "word for a switch": ((*TOY, "trainer.train_encoder=perhaps"), ("not true or false",)),
    "word for a list": ((*TOY, "product.split.fractions=half"), ("not a list", "[a,b]")),
    "word for a mapping": ((*TOY, "product.inputs.text=foo"), ("{column: ..., modality: ...",)),
    "list for a word": ((*TOY, "output_dir=[1]"), ("output_dir=[1]: takes a single value",)),
    "null for a number": ((*TOY, "trainer.lr=null"), ("null is not allowed",)),
    "type of a head": ((*TOY, "head.dropout=abc"), ("head.dropout=abc: not a number",)),
    "type of an encoder": ((*TOY, "encoder.text.dim=wide"), ("encoder.text.dim=wide: not a whole number",)),
    "type of a source": ((*TOY, "product.source.rows=all"), ("product.source.rows=all: not a whole number",)),
    "no equals sign": ((*TOY, "head"), ("'head' is not an override", "KEY=VALUE")),
    "nothing": ((*TOY, ""), ("'' is not an override",)),
    "no key": ((*TOY, "=3"), ("'=3' is not an override",)),
    "open bracket": ((*TOY, "trainer.lr=[1"), ("'trainer.lr=[1' cannot be read", "quote")),
    "unknown function": (
        (*TOY, "-m", "trainer.seed=rnge(0,3)"),
        ("'trainer.seed=rnge(0,3)' cannot be read",),
    ),
    "comma without -m": ((*TOY, "head=linear,mlp"), ("'head=linear,mlp'", "add -m")),
    "empty range": ((*TOY, "-m", "trainer.seed=range(0,0)"), ("sweep is empty",)),
    "empty glob": ((*TOY, "-m", "head=glob(x*)"), ("sweep is empty",)),
    "one bad name of a sweep": (("plan", "-m", "product=toy,toi"), ("Unknown product 'toi'",)),
    "one bad value of a sweep": ((*TOY, "-m", "trainer.lr=1e-3,fast"), ("trainer.lr=fast: not a number",)),
    "launch swept over": ((*TOY, "-m", "launch.num_processes=1,2"), ("launch.* cannot be swept",)),
    "required": (("plan", "product=text"), ("product.source.path is not set", "product.source.path=VALUE")),
    "required by an encoder": (
        ("plan", "product=toy", "encoder/text=text.transformer"),
        ("encoder.text.checkpoint is not set",),
    ),
    "no head": ((*TOY, "~head"), ("No head is chosen", "head=NAME")),
    "no encoder": (("plan", "product=toy", "~encoder/text"), ("encoder/text=NAME", "hash")),
    "no source": ((*TOY, "product.source=null"), ("No source is chosen", "product/source=NAME")),
    "schedule": ((*TOY, "trainer.schedule=foo"), ("'foo'", "constant, cosine, linear")),
    "precision": ((*TOY, "launch.mixed_precision=bf17"), ("Did you mean 'bf16'",)),
    "no processes": ((*TOY, "launch.num_processes=0"), ("launch.num_processes=0: must be at least 1",)),
    "modality": ((*TOY, "product.inputs.text.modality=txt"), ("Unknown modality 'txt'", "'text'")),
    "task": ((*TOY, "product.outputs.label.task=classify"), ("'classify'", "regression")),
    "monitor": ((*TOY, "trainer.monitor=colour.f1"), ("loss, label.METRIC",)),
    "interpolation": ((*TOY, "trainer.lr=${foo}"), ("'foo' not found",)),
    "folder as a name": ((*TOY, "product.name=../up"), ("product.name='../up'", "letters")),
    "config folder": ((*TOY, "--config-dir", "/nowhere"), ("--config-dir /nowhere", "no such folder")),
    "unknown flag": ((*TOY, "--sweep"), ("--sweep", "matrixhub plan --help")),
    "hydra's own group": ((*TOY, "hydra/launcher=joblib"), ("Unknown hydra/launcher 'joblib'",)),
    "unknown kind": (("list", "heads_"), ("Unknown kind 'heads_'", "Did you mean 'head'")),
    "unknown component": (("show", "linaer"), ("Unknown component or preset 'linaer'", "Did you mean")),
    "unknown command": (("rnu",), ("Unknown command 'rnu'", "Did you mean 'run'")),
    "no argument": (("show",), ("NAME", "matrixhub show --help")),
}

AS_PROCESSES = (
    "unknown product", "unknown key", "+unknown", "null for a group", "word for a number", "open bracket",
    "comma without -m", "required", "schedule", "launch swept over", "unknown command",
)  # fmt: skip


def check(code: int, out: str, err: str, words: tuple[str, ...]) -> None:
    assert code == 2, err
    assert out == ""
    assert err.startswith("matrixhub: ")
    assert "Traceback" not in err
    message = err.removeprefix("matrixhub: ").rstrip("\n")
    assert "\n" not in message
    assert len(message) < 400
    for word in words:
        assert word in message


@pytest.mark.parametrize("name", BAD)
def test_a_bad_command_line_gets_one_short_message(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    argv, words = BAD[name]
    code = main(argv)
    check(code, *capsys.readouterr(), words)


@pytest.mark.parametrize("name", AS_PROCESSES)
def test_a_bad_command_line_ends_the_process_with_exit_code_2(name: str) -> None:
    argv, words = BAD[name]
    done = command(*argv)
    check(done.returncode, done.stdout, done.stderr, words)


def test_run_refuses_what_plan_refuses_before_it_makes_a_folder(tmp_path: Path) -> None:
    done = command("run", *TOY[1:], "trainer.lrr=3", "output_dir=runs", cwd=tmp_path)
    check(done.returncode, done.stdout, done.stderr, ("Did you mean 'trainer.lr'",))
    assert not list(tmp_path.iterdir())


def with_broken_plugin(site: Path, *argv: str) -> Done:
    write_plugin(site, "acme", FAULTS["missing_dependency"].code)
    return command(*argv, site=site)


@pytest.mark.parametrize("choice", ["head=acme.vit", "encoder/text=acme.vit", "product/source=acme.vit"])
def test_a_config_that_needs_a_plugin_set_aside_prints_the_cause(tmp_path: Path, choice: str) -> None:
    done = with_broken_plugin(tmp_path, *TOY, choice)
    words = ("'acme' (fake-acme) was set aside", FAULTS["missing_dependency"].cause)
    check(done.returncode, done.stdout, done.stderr, words)


def test_other_configs_do_not_mind_a_plugin_set_aside(tmp_path: Path) -> None:
    done = with_broken_plugin(tmp_path, *TOY)
    assert (done.returncode, done.stderr) == (0, "")


def test_options_that_come_with_a_package_that_is_not_installed_name_it() -> None:
    done = command(*TOY, "head=linear", MATRIXHUB_PLUGINS="fixture")
    check(done.returncode, done.stdout, done.stderr, ("pip install matrixhub-heads",))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (b"name: [a\nb: {", ("mine.yaml, line 2: not YAML",)),
        (b"\xff\xfe", ("cannot be read",)),
        (b"- a\n", ("product/mine.yaml: takes a mapping", "name: ...")),
        (b"nmae: mine\n", ("product/mine.yaml: Unknown key 'product.nmae'", "'product.name'")),
        (b"defaults: [source: fixture.toi]\n", ("Unknown product/source 'fixture.toi'", "'fixture.toy'")),
        (b"outputs: {label: {taks: x}}\n", ("product/mine.yaml: Unknown key", "outputs.label.task'")),
        (
            b"defaults: [override /encoder/text: hash]\n",
            ("product/mine.yaml: write 'override /encoder/text@_global_.encoder.text: NAME'",),
        ),
        (b"split: {seed: soon}\n", ("product/mine.yaml: product.split.seed: 'soon' is not a whole number",)),
    ],
)
def test_a_mistake_in_ones_own_yaml_names_the_file(
    tmp_path: Path, text: bytes, words: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "product").mkdir()
    (tmp_path / "product" / "mine.yaml").write_bytes(text)
    code = main(["plan", "--config-dir", str(tmp_path), "product=mine"])
    check(code, *capsys.readouterr(), words)


SNIPPETS = (
    "product",
    "trainer",
    "lr",
    "head",
    "encoder/text",
    "toy",
    "linear",
    "null",
    "hydra",
    "choice",
    "???",
)


@settings(max_examples=80, deadline=None)
@given(
    pieces=st.lists(st.sampled_from(SNIPPETS) | st.text("=,.:+~@/$[]{}()'\"\\ \n1é", max_size=3), max_size=6),
    multirun=st.booleans(),
)
def test_nothing_that_is_typed_escapes_as_another_exception(pieces: list[str], multirun: bool) -> None:
    with contextlib.suppress(mh.MatrixHubError):
        assert mh.plan(["product=toy", "".join(pieces)], multirun=multirun).cells


def test_a_group_without_options_says_so() -> None:
    assert str(unknown_option("callback", "bell", ())) == (
        "Unknown callback 'bell'. No installed plugin has one."
    )
