"""What is written for each kind of component."""

from dataclasses import dataclass

from matrixhub.errors import ConfigError, UnknownNameError
from matrixhub.registry import KINDS

TEXT, IMAGE = "text", "image"


@dataclass(frozen=True, slots=True)
class Template:
    """The working component that an author starts from.

    Attributes:
        folder: below ``templates``.
        alias: of the component.
        file: the module that the author replaces.
        summary: what it does.
        requires: packages beside ``matrixhub``.
    """

    folder: str
    alias: str
    file: str
    summary: str
    requires: tuple[str, ...] = ()


_TORCH, _PILLOW, _PYARROW = "torch>=2.6", "pillow>=10.4", "pyarrow>=18"

_ENCODERS = {
    TEXT: Template("encoder_text", "words", "words.py", "the mean of hashed word vectors", (_TORCH,)),
    IMAGE: Template(
        "encoder_image", "colours", "colours.py", "the mean colours of a grid", (_PILLOW, _TORCH)
    ),
}
_OTHER = Template("encoder_other", "numbers", "numbers.py", "the numbers of a row", (_TORCH,))
_KINDS = {
    "source": Template("source", "lines", "lines.py", "rows of a text file", (_PYARROW,)),
    "transform": Template("transform", "clean", "clean.py", "text without HTML tags", (_PYARROW,)),
    "fusion": Template("fusion", "summed", "summed.py", "inputs of one width, summed", (_TORCH,)),
    "head": Template("head", "cosine", "cosine.py", "the class of the nearest direction", (_TORCH,)),
    "generator": Template("generator", "chain", "chain.py", "a Markov chain of words", (_TORCH,)),
    "callback": Template("callback", "journal", "journal.py", "a line of JSON for each event"),
}


def template_of(kind: str, modality: str | None = None) -> Template:
    """The template of a kind; encoders have one for text, one for images and one for anything else.

    Raises:
        UnknownNameError: no such kind, with the nearest ones.
        ConfigError: a modality that is no name, or one for a kind that has none.
    """
    if kind not in KINDS:
        raise UnknownNameError("kind", kind, KINDS)
    if kind != "encoder":
        if modality is not None:
            raise ConfigError(f"--modality is what an encoder reads: a {kind} has none. Leave it out.")
        return _KINDS[kind]
    modality = TEXT if modality is None else modality
    if not (modality.isidentifier() and modality.isascii() and modality.islower()):
        raise ConfigError(f"--modality {modality}: use lower-case letters, digits and '_', such as audio.")
    return _ENCODERS.get(modality, _OTHER)
