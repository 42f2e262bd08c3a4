"""Several products on one trunk: whose turn it is, what is shared, and what each keeps for itself."""

from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import torch

import matrixhub as mh
from matrixhub.errors import NonFiniteError
from matrixhub.run.joint_loop import JointModel, fit_jointly, turn_order, turns
from matrixhub.run.loop import fit
from matrixhub.run.model import ProductModel
from tests.toys import FAST, record_of, run_toy, toy_options, write_products
from tests.unit.run import tiny

TRAINER = tiny.JOINT


def trained(trainer: dict[str, Any], **how: Any) -> tuple[list[ProductModel], Any]:
    members, tasks = tiny.text_products(**how)
    return members, fit_jointly(members, tasks, trainer=trainer, accelerator=tiny.accelerator())


@pytest.mark.parametrize(
    ("joint", "temperature", "counts"),
    [
        ("proportional", 2.0, [64, 16, 1]),
        # Shares of 8, 4 and 1 in 13, of 81 steps: 49.85, 24.92 and 6.23.
        ("temperature", 2.0, [50, 25, 6]),
        ("temperature", 1.0, [64, 16, 1]),
        ("temperature", 1e12, [27, 27, 27]),
        ("round_robin", 2.0, [27, 27, 27]),
    ],
)  # fmt: skip
def test_turns_in_an_epoch(joint: str, temperature: float, counts: list[int]) -> None:
    assert turns([64, 16, 1], {"joint": joint, "joint_temperature": temperature}) == counts


def test_every_product_has_a_turn() -> None:
    assert turns([1000, 1], {"joint": "temperature", "joint_temperature": 0.1}) == [1001, 1]


def test_the_order_is_shuffled_by_seed_and_epoch_or_strictly_in_turn() -> None:
    drawn = [turn_order([5, 3], {**TRAINER, "seed": s}, epoch=e) for s, e in ((0, 0), (0, 0), (0, 1), (1, 0))]
    assert drawn[0] == drawn[1]
    assert drawn[0] != drawn[2] and drawn[0] != drawn[3]
    assert all(Counter(one) == {0: 5, 1: 3} for one in drawn)
    assert turn_order([2, 2, 2], {**TRAINER, "joint": "round_robin"}, epoch=4) == [0, 1, 2, 0, 1, 2]


def test_the_trunk_is_one_and_each_product_reaches_it() -> None:
    members, tasks = tiny.text_products()
    model = JointModel(members)
    names = [name for name, _ in model.named_parameters()]
    assert len(names) == len(set(names))
    (trunk,) = model.encoders.values()
    for place, (member, task) in enumerate(zip(members, tasks, strict=True)):
        assert member.encoders["text"] is trunk
        model.zero_grad()
        model.turn_to(place)
        assert model.readout is member.readout
        _, inputs = next(task.feed.inputs([task.train[:4]]))
        outputs, _ = model(inputs)
        torch.stack([output.square().sum() for output in outputs.values()]).sum().backward()  # type: ignore[no-untyped-call]
        assert any(p.grad is not None and bool(p.grad.any()) for p in trunk.parameters())
        for other, readout in enumerate(model.readouts):
            assert all((p.grad is not None) == (other == place) for p in readout.parameters())


def test_all_learn_take_their_turns_and_end_with_the_same_epoch() -> None:
    members, histories = trained({**TRAINER, "epochs": 12})
    assert [history.num_steps for history in histories] == [36, 12]
    assert all(h.epochs[-1]["train_loss"] < h.epochs[0]["train_loss"] for h in histories)
    assert len({history.best_epoch for history in histories}) == 1
    means = [sum(h.epochs[e]["loss"] for h in histories) / 2 for e in range(12)]
    assert histories[0].best_epoch == 1 + means.index(min(means))
    assert members[0].encoders["text"] is members[1].encoders["text"]


def test_a_product_by_itself_trains_as_it_does_in_the_loop() -> None:
    """The joint loop adds nothing to the steps: with one member they are those of ``fit``."""
    (member, _), (task, _) = tiny.text_products()
    (history,) = fit_jointly([member], [task], trainer=TRAINER, accelerator=tiny.accelerator())
    alone, same = tiny.text_model()
    wanted = fit(alone, same, trainer=TRAINER, accelerator=tiny.accelerator())
    assert history == wanted
    assert tiny.apart(tiny.weights(member), tiny.weights(alone)) == 0


def test_a_small_product_goes_through_its_rows_again_where_it_has_more_turns() -> None:
    _, histories = trained({**TRAINER, "joint": "round_robin"})
    assert [history.num_steps for history in histories] == [6, 6]


def test_readouts_of_others_stay_as_they_are_on_a_step() -> None:
    members, tasks = tiny.text_products()
    before = tiny.weights(members[1].readout)
    # Weight decay and momentum must not move what had no turn.
    poisoned = {**TRAINER, "weight_decay": 0.5, "joint": "round_robin", "epochs": 1}
    seen: list[float] = []

    def look(loss: torch.Tensor) -> None:
        seen.append(tiny.apart(before, tiny.weights(members[1].readout)))

    fit_jointly(members, tasks, trainer=poisoned, accelerator=tiny.accelerator(), on_step=look)
    assert seen[0] == 0
    assert seen[1] > 0 and seen[2] == seen[1]


def test_each_product_learns_what_its_loss_is_worth() -> None:
    members, _ = trained({**TRAINER, "epochs": 5}, balance="uncertainty")
    first, second = (member.readout.log_variances for member in members)
    assert first is None
    assert second is not None and bool(second.detach().abs().max() > 0)


def test_a_row_that_breaks_the_loss_is_named() -> None:
    members, tasks = tiny.text_products()
    tasks[1].targets["n"][3] = float("nan")
    with pytest.raises(NonFiniteError, match="at row 4;"):
        fit_jointly(members, tasks, trainer=TRAINER, accelerator=tiny.accelerator())


JOINT = ("trainer=finetune", "trainer.epochs=2", "trainer.joint=proportional", "head=linear", "fusion=concat")


def test_products_of_other_inputs_train_jointly_and_each_has_its_artifact(tmp_path: Path) -> None:
    options = [*FAST, *JOINT, "trainer.balance=uncertainty"]
    run = run_toy(tmp_path, "product=colour,pair,fused", *options, multirun=True)
    assert [record["status"] for record in run.records] == ["done"] * 3, run.records
    record = record_of(run, "colour")
    assert record["joint"] == ["pair", "fused"] or sorted(record["joint"]) == ["fused", "pair"]
    assert any(note.startswith("Trained jointly with ") for note in record["notes"])
    assert sum(note.startswith("Learned weights") for r in run.records for note in r["notes"]) == 3
    states = [mh.load(r["artifact"]).model.encoders["text"].state_dict() for r in run.records]
    assert all(tiny.apart(states[0], state) == 0 for state in states[1:])
    assert mh.load(record["artifact"])("a tiny red car").value in ("red", "green", "blue", "yellow")
    again = run_toy(tmp_path, "product=colour,pair,fused", *options, multirun=True)
    assert [record["from_run"] for record in again.records] == [run.folder.name] * 3


def test_low_rank_matrices_are_put_in_once(tmp_path: Path) -> None:
    options = [*FAST, *JOINT[1:4], "trainer=lora", "encoder.text.layers=2", "baseline=false"]
    run = run_toy(tmp_path, "product=colour,size", *options, "trainer.epochs=1", rows=60, multirun=True)
    assert [record["status"] for record in run.records] == ["done"] * 2, run.records
    first, second = (mh.load(r["artifact"]).model.encoders["text"].state_dict() for r in run.records)
    matrices = [name for name in first if "lora_B" in name]
    assert matrices and all(bool(first[name].any()) for name in matrices)
    assert tiny.apart(first, second) == 0


@pytest.mark.parametrize("product", ["broken", "colour"])
def test_one_that_fails_costs_its_group_and_no_others(tmp_path: Path, product: str) -> None:
    """Before training, by a column that is not there; and in it, by a loss that is not finite."""
    conf = write_products(tmp_path / "conf")
    lists = [[f"product={name}", *FAST, *JOINT] for name in ("size", "broken")]
    if product == "colour":
        lists = [[f"product={name}", *FAST, *JOINT, "trainer.lr=1e30", "trainer.clip=null"]
                 for name in ("size", "colour")]  # fmt: skip
    other = ["product=topics", *FAST, "trainer.epochs=1"]
    lists = [[*toy_options(tmp_path), *one] for one in (*lists, other)]
    run = mh.run(lists, config_dir=conf, quiet=True)
    status = {record["product"]: record["status"] for record in run.records}
    assert status.pop("topics") == "done"
    assert set(status.values()) == {"failed"}
    errors = {record["product"]: record["error"] for record in run.records if "error" in record}
    assert errors["size"].startswith("In joint training, product '")
    if product == "broken":
        assert "product 'broken' failed: " in errors["size"] and "txet" in errors["size"]
