"""What the first input is answered by the tokens of the others."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

import matrixhub as mh
from tests.toys import IMAGE, LABEL, TEXT, run_toy, write_products

DIMS = {"asking": 4, "one": 6, "other": 3}


def cross(**options: Any) -> Any:
    torch.manual_seed(0)
    return mh.create("fusion", "cross", dims=DIMS, **{"dim": 8, "heads": 2, **options}).eval()


def features(tokens: int = 3) -> dict[str, Any]:
    made = torch.Generator().manual_seed(1)

    def one(dim: int) -> mh.Features:
        mask_BT = torch.arange(tokens) < torch.tensor([[1], [tokens]])
        drawn = [torch.randn(2, *shape, generator=made) for shape in ((dim,), (tokens, dim))]
        return mh.Features(drawn[0], drawn[1], mask_BT)

    return {name: one(dim) for name, dim in DIMS.items()}


def changed(given: dict[str, Any], name: str, tokens_BTD: Tensor) -> dict[str, mh.Features]:
    return {**given, name: mh.Features(given[name].pooled_BD, tokens_BTD, given[name].mask_BT)}


@pytest.mark.parametrize("queries", ["pooled", "tokens"])
def test_real_tokens_of_every_other_input_count_and_padding_does_not(queries: str) -> None:
    module, given = cross(queries=queries), features()
    fused = module(given).pooled_BD
    assert fused.shape == (2, module.dim) == (2, 24)
    for name in ("one", "other"):
        more = given[name].tokens_BTD + 10 * torch.tensor([0.0, 1, 1])[:, None] * torch.randn(DIMS[name])
        found = module(changed(given, name, more)).pooled_BD
        torch.testing.assert_close(found[0], fused[0])
        assert (found[1] - fused[1]).abs().max() > 1e-3


@pytest.mark.parametrize(("queries", "counts"), [("pooled", False), ("tokens", True)])
def test_tokens_of_the_first_input_count_where_they_ask(queries: str, counts: bool) -> None:
    module, given = cross(queries=queries), features()
    found = module(changed(given, "asking", torch.randn(2, 3, 4))).pooled_BD
    assert ((found - module(given).pooled_BD).abs().max() > 1e-3) == counts


def test_it_is_attention_as_torch_computes_it() -> None:
    module, given = cross(), features()
    seen: dict[str, Tensor] = {}
    module.after.register_forward_hook(lambda _, inputs, output: seen.update(found=inputs[0]))
    module(given)
    sequences = [torch.cat([given[n].pooled_BD[:, None], given[n].tokens_BTD], dim=1) for n in DIMS]
    asking, *others = (layer(one) for layer, one in zip(module.project, sequences, strict=True))
    asked = torch.cat(others, dim=1)
    padded = torch.nn.functional.pad(~given["one"].mask_BT, (1, 0))
    attention = torch.nn.MultiheadAttention(8, 2, batch_first=True).eval()
    with torch.no_grad():
        layers = (module.query, module.key, module.value)
        attention.in_proj_weight.copy_(torch.cat([layer.weight for layer in layers]))
        attention.in_proj_bias.copy_(torch.cat([layer.bias for layer in layers]))
        attention.out_proj.load_state_dict(module.out.state_dict())
    ask = asking[:, :1]
    wanted, _ = attention(module.before(ask), asked, asked, key_padding_mask=torch.cat([padded] * 2, dim=1))
    torch.testing.assert_close(seen["found"], ask + wanted)


def test_inputs_without_tokens_are_asked_by_what_they_have() -> None:
    given = {name: mh.Features(one.pooled_BD) for name, one in features().items()}
    assert torch.isfinite(cross(queries="tokens")(given).pooled_BD).all()


@pytest.mark.parametrize("options", [{"dim": 9}, {"heads": 0}, {"queries": "all"}, {"dropout": 1.0}])
def test_what_cannot_be_right_is_named(options: dict[str, Any]) -> None:
    with pytest.raises(mh.ConfigError, match="dim must be a multiple of heads"):
        cross(**options)


def test_tokens_are_stored_for_it_beside_pooled_features(tmp_path: Path) -> None:
    """And the loaded product answers the same: its features are those of training."""
    conf = write_products(tmp_path / "conf")
    joined = {"inputs": {"text": TEXT, "image": IMAGE}, "outputs": {"label": LABEL}}
    source = {"rows": 300, "given_split": True}
    product = {
        "defaults": [{"source": "fixture.toy"}, "_self_"],
        "name": "joined",
        "source": source,
        **joined,
    }
    (conf / "product" / "joined.yaml").write_text(json.dumps(product))
    planned = [
        "product=joined",
        "fusion=cross,concat",
        "head=linear",
        "encoder/text=hash",
        "encoder/image=mean_image",
    ]
    plan = mh.plan(planned, config_dir=conf, multirun=True)
    levels = [(s.spec["column"], s.spec["level"], len(s.cells)) for s in plan.stages if s.kind == "encode"]
    assert sorted(levels) == [("image", "pooled", 2), ("text", "both", 1), ("text", "pooled", 1)]
    run = run_toy(tmp_path, "product=joined", "fusion=cross", "head=linear", "trainer.lr=0.01")
    (record,) = run.records
    assert record["status"] == "done", record["error"]
    assert record["metrics"]["label"]["accuracy"] > 0.9
    again = mh.load(record["artifact"]).predict_table(mh.create("source", "fixture.toy", rows=300).read())
    table = mh.create("source", "fixture.toy", rows=300, given_split=True).read().to_pylist()
    tested = [i for i, row in enumerate(table) if row[mh.SPLIT_COLUMN] == "test"]
    right = sum(again[i].value == table[i]["label"] for i in tested)
    assert right / len(tested) == pytest.approx(record["metrics"]["label"]["accuracy"])
