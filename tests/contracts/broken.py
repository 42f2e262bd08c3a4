"""Plugins that are deliberately broken: sources that work, and one change for each check of the kit."""

from dataclasses import dataclass
from pathlib import Path

from tests.fixture_plugin.fake import write_plugin

ENTRY = '''
from dataclasses import dataclass
from matrixhub import hookimpl

@dataclass
class Config:
    """What it can be told."""

    size: int = 8
    """How large it is."""

@hookimpl
def matrixhub_components(register):
    register(KIND, "thing", "MODULE:build", config=Config, consumes=CONSUMES, produces=PRODUCES)
'''

ENCODER = """
import copy, os, random, socket, zlib
import torch
from torch import nn
from matrixhub import DataError, Features

class Processor:
    def prepare(self, values):
        return [self.ids(value, row) for row, value in enumerate(values)]

    def ids(self, value, row):
        if isinstance(value, str):
            words = value.split()[:64]
        elif isinstance(value, (list, tuple)) and all(isinstance(one, str) for one in value):
            words = list(value)[:64]
        else:
            raise DataError("text is a string or a list of words", row=row)
        return [1 + zlib.crc32(word.encode("utf-8", "replace")) % 500 for word in words]

    def size(self, item):
        return max(1, len(item))

    def collate(self, items):
        width = max(self.size(item) for item in items)
        return {"ids_BT": torch.tensor([item + [0] * (width - len(item)) for item in items])}

class Encoder(nn.Module):
    modality = "text"

    def __init__(self, size):
        super().__init__()
        self.dim, self.budget, self.processor = size, 1024, Processor()
        seeded = torch.Generator().manual_seed(0)
        self.table = nn.Embedding(501, size, _weight=torch.randn(501, size, generator=seeded))
        self.linear = nn.Linear(size, size)
        with torch.no_grad():
            self.linear.weight.normal_(generator=seeded)
            self.linear.bias.zero_()

    def forward(self, batch):
        mask_BT = batch["ids_BT"] > 0
        tokens_BTD = self.linear(self.table(batch["ids_BT"])) * mask_BT[..., None]
        pooled_BD = tokens_BTD.sum(1) / mask_BT.sum(1, keepdim=True).clamp(min=1)
        return Features(pooled_BD.float(), tokens_BTD.float(), mask_BT)

def build(*, size):
    return Encoder(size)
"""

LAYERED = """
import copy
from matrixhub_fixture.text import HashText

class Encoder(HashText):
    pass

def build(*, size):
    return Encoder(dim=size, buckets=64, max_length=32, budget=512, seed=0, layers=2)
"""

FUSION = """
import torch
from torch import nn
from matrixhub import Features

class Fusion(nn.Module):
    def __init__(self, dims, size):
        super().__init__()
        self.names, self.dim = list(dims), size
        self.linear = nn.Linear(sum(dims.values()), size)

    def forward(self, features):
        joined = torch.cat([features[name].pooled_BD for name in self.names], -1)
        return Features(self.linear(joined))

def build(*, dims, size):
    return Fusion(dims, size)
"""

HEAD = """
import torch
from torch import nn
from torch.nn.functional import cross_entropy
from matrixhub import Prediction

class Head(nn.Module):
    level, metric, higher_is_better = "LEVEL", "accuracy", True

    def __init__(self, dim, target):
        super().__init__()
        self.classes = target.classes
        self.linear = nn.Linear(dim, target.num_outputs)

    def forward(self, features):
        return self.linear(features.LEVEL_FEATURES)

    def loss(self, outputs, targets):
        return cross_entropy(outputs.flatten(0, -2), targets.flatten(), ignore_index=-100)

    def decode(self, outputs, mask_BT=None):
        return DECODED

    def metrics(self, outputs, targets):
        real = targets != -100
        return {"accuracy": float((outputs.argmax(-1) == targets)[real].float().mean())}

def build(*, dim, target, size):
    return Head(dim, target)
"""
CLASSES = (
    HEAD.replace("LEVEL_FEATURES", "pooled_BD")
    .replace("LEVEL", "pooled")
    .replace(
        "DECODED",
        "[Prediction(self.classes[i], s, dict(zip(self.classes, p))) for i, s, p in "
        "zip(outputs.argmax(-1).tolist(), "
        "outputs.softmax(-1).amax(-1).tolist(), outputs.softmax(-1).tolist())]",
    )
)
TAGS = (
    HEAD.replace("LEVEL_FEATURES", "tokens_BTD")
    .replace("LEVEL", "tokens")
    .replace(
        "DECODED",
        "[Prediction([self.classes[i] for i in row[: int(m.sum())]]) for row, m in "
        "zip(outputs.argmax(-1).tolist(), mask_BT)]",
    )
)

GENERATOR = """
import torch, zlib
from torch import nn
from matrixhub import Generation

WORDS = ("red", "green", "blue", "one", "two", "three", "here", "again")

class Generator(nn.Module):
    context = 32

    def __init__(self, size):
        super().__init__()
        seeded = torch.Generator().manual_seed(0)
        self.table = nn.Embedding(64, len(WORDS), _weight=torch.randn(64, len(WORDS), generator=seeded))

    def generate(self, prompts, *, max_new_tokens, stop=(), temperature=0.0, top_p=1.0, seed=0):
        return [self.answer(prompt, max_new_tokens, stop, temperature, seed) for prompt in prompts]

    def stream(self, prompt, **how):
        text = self.generate([prompt], **how)[0].text
        yield text[:3]
        yield text[3:]

    def answer(self, prompt, limit, stop, temperature, seed, push=0.0):
        sampler = torch.Generator().manual_seed(seed)
        words, new = prompt.encode("utf-8", "replace").split(), []
        room = max(1, self.context - limit)
        state = zlib.crc32(b" ".join(words[-room:])) % 64
        while len(new) < limit:
            scores = self.table.weight[state] + push
            if temperature:
                choice = int(torch.multinomial((scores / temperature).softmax(-1), 1, generator=sampler))
            else:
                choice = int(scores.argmax())
            new.append(WORDS[choice])
            state = (5 * state + choice + 1) % 64
            text = " ".join(new)
            ends = [text.index(one) for one in stop if one in text]
            if ends:
                return Generation(text[: min(ends)], len(new), "stop", len(words) > room)
        return Generation(" ".join(new), len(new), "length", len(words) > room)

def build(*, size):
    return Generator(size)
"""

WRITER = (
    GENERATOR.partition("def build")[0]
    + """
class Writer(Generator):
    width, spread = 4, 1.0

    def __init__(self, size):
        super().__init__(size)
        made = torch.randn(4, len(WORDS), generator=torch.Generator().manual_seed(1))
        self.read = nn.Parameter(made)

    def pushes(self, prompts, prefix_BPW):
        return [0.0] * len(prompts) if prefix_BPW is None else list(prefix_BPW.mean(1) @ self.read)

    def generate(self, prompts, *, max_new_tokens, stop=(), temperature=0.0, top_p=1.0, seed=0,
                 prefix_BPW=None):
        rest = (max_new_tokens, stop, temperature, seed)
        pairs = zip(prompts, self.pushes(prompts, prefix_BPW))
        return [self.answer(prompt, *rest, push) for prompt, push in pairs]

    def loss(self, prompts, answers, *, prefix_BPW=None):
        losses = []
        for prompt, answer, push in zip(prompts, answers, self.pushes(prompts, prefix_BPW)):
            scores = (self.table.weight[zlib.crc32(prompt.encode()) % 64] + push).log_softmax(-1)
            wanted = [zlib.crc32(word.encode()) % len(WORDS) for word in answer.split()]
            losses.append(-scores[wanted].mean())
        return torch.stack(losses)

    def num_tokens(self, prompts, answers, *, prefix_BPW=None):
        return [len(answer.split()) for answer in answers]

def build(*, size):
    return Writer(size)
"""
)

SOURCE = """
import os, random, time
import pyarrow as pa
from matrixhub import PATH_FIELD, SPLIT_COLUMN

class Source:
    def __init__(self, size):
        self.size = size

    def fingerprint(self):
        return f"numbers {self.size}"

    def read(self):
        return pa.table({"number": list(range(self.size)), "text": [f"row {i}" for i in range(self.size)]})

    def batches(self, batch_size):
        table = self.read()
        for start in range(0, table.num_rows, batch_size):
            yield table.slice(start, batch_size)

def build(*, size):
    return Source(size)
"""

TRANSFORM = """
import random
import pyarrow as pa
import pyarrow.compute as pc

class Transform:
    def __call__(self, table):
        column = pc.utf8_lower(table["text"])
        return table.set_column(table.column_names.index("text"), "text", column)

def build(*, size):
    return Transform()
"""

CALLBACK = """
class Callback:
    def on_cell_end(self, cell, record):
        self.last = record.get("metrics")

def build(*, size):
    return Callback()
"""

KINDS = {
    "encoder": ("encoder", ENCODER, "text", ("pooled", "tokens")),
    "layered": ("encoder", LAYERED, "text", ("pooled", "tokens", "layers")),
    "fusion": ("fusion", FUSION, (), ()),
    "head": ("head", CLASSES, "pooled", "classification"),
    "tags": ("head", TAGS, "tokens", "token_classification"),
    "generator": ("generator", GENERATOR, (), ()),
    "writer": ("generator", WRITER, ("text", "prefix"), "loss"),
    "source": ("source", SOURCE, (), ()),
    "transform": ("transform", TRANSFORM, (), ()),
    "callback": ("callback", CALLBACK, (), ()),
}
"""By a word: the kind, the module, what it consumes and produces."""


@dataclass(frozen=True, slots=True)
class Break:
    """A change that one check must catch.

    Attributes:
        check: its name.
        of: key of ``KINDS``.
        old, new: text of the component's module, or of the entry module, and what takes its place.
        says: what the message must hold.
        also: checks that may fail too, since the same fault is theirs.
    """

    check: str
    of: str
    old: str
    new: str
    says: str
    also: tuple[str, ...] = ()


def write(site: Path, namespace: str, broken: Break | None, of: str = "") -> None:
    """Install a plugin of one component, broken or not, into a folder."""
    kind, parts, consumes, produces = KINDS[broken.of if broken else of]
    module = f"fake_{namespace}_parts"
    entry = ENTRY
    if broken and broken.old in parts:
        parts = parts.replace(broken.old, broken.new)
    elif broken:
        assert broken.old in entry, broken
        entry = entry.replace(broken.old, broken.new)
    for word, value in (("KIND", kind), ("CONSUMES", consumes), ("PRODUCES", produces)):
        entry = entry.replace(word, repr(value))
    write_plugin(site, namespace, entry.replace("MODULE", module))
    (site / f"{module}.py").write_text(parts)
    with (site / f"fake_{namespace}-1.0.dist-info" / "METADATA").open("a") as metadata:
        metadata.write("Requires-Dist: matrixhub<1,>=0.1\n")
