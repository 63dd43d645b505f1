"""To GPT-2's format and back: the model of the lessons in Hugging Face ``transformers``.

``MiniGPT`` has GPT-2's parts in GPT-2's order, so nothing is converted: the parameters get other
names, and the head is turned round. ``transformers`` then computes the same logits, and what is
trained further there comes back. Needs numpy and ``safetensors`` only. Not part of a lesson:
``notebooks/extras/07_scale.ipynb`` uses it.

After Language Models are Unsupervised Multitask Learners, Radford et al., 2019, in the file
format of ``GPT2LMHeadModel``.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from safetensors import SafetensorError, deserialize
from safetensors.numpy import save

from minigpt_helpers.nn import LayerNorm, MiniGPT, Module
from minigpt_helpers.text import CharTokenizer
from minigpt_helpers.validation import MissingFileError, check_sizes

CONFIG, WEIGHTS, TOKENIZER = "config.json", "model.safetensors", "tokenizer.json"
EPS = 1e-5  # what every LayerNorm adds to the variance, here and in GPT-2
FLOATS = {"F16": "<f2", "F32": "<f4", "F64": "<f8"}  # as safetensors and as numpy call them

# GPT-2's name of each size of a MiniGPT, and of each part.
SIZES = {
    "vocab_size": "vocab_size",
    "max_seq_len": "n_positions",
    "embed_dim": "n_embd",
    "num_layers": "n_layer",
    "num_heads": "n_head",
}
BLOCK = {
    "norm1": "ln_1",
    "attention.qkv": "attn.c_attn",
    "attention.proj": "attn.c_proj",
    "norm2": "ln_2",
    "feed_forward.expand": "mlp.c_fc",
    "feed_forward.contract": "mlp.c_proj",
}
HEAD = "lm_head.weight"

# What GPT-2 can be told to compute otherwise than MiniGPT; in brackets what is meant if left out.
SAME = {
    "activation_function": ("gelu_new", "gelu_pytorch_tanh"),
    "layer_norm_epsilon": (EPS,),
    "scale_attn_weights": (True,),
    "scale_attn_by_inverse_layer_idx": (False,),
    "add_cross_attention": (False,),
}


def parameter_names(num_layers: int) -> Iterator[tuple[str, str]]:
    """Each parameter's name in ``MiniGPT`` and in ``GPT2LMHeadModel``."""
    yield "token_embedding.weight", "transformer.wte.weight"
    yield "position_embedding.weight", "transformer.wpe.weight"
    parts = [
        (f"blocks.{i}.{ours}", f"transformer.h.{i}.{theirs}")
        for i in range(num_layers)
        for ours, theirs in BLOCK.items()
    ]
    for ours, theirs in [*parts, ("final_norm", "transformer.ln_f")]:
        yield f"{ours}.weight", f"{theirs}.weight"
        yield f"{ours}.bias", f"{theirs}.bias"
    yield "head.weight", HEAD


def shapes(config: dict[str, int]) -> dict[str, tuple[int, ...]]:
    """The shape of each parameter of ``GPT2LMHeadModel``, by its name there, for our sizes.

    A linear layer is ``(D_in, D_out)`` as here (GPT-2 calls it Conv1D); the head ``(V, D)``.
    """
    V, T, D = config["vocab_size"], config["max_seq_len"], config["embed_dim"]
    widths = {
        "attn.c_attn": (D, 3 * D),
        "attn.c_proj": (D, D),
        "mlp.c_fc": (D, 4 * D),
        "mlp.c_proj": (4 * D, D),
    }
    found = {}
    for _, name in parameter_names(config["num_layers"]):
        part, _, kind = name.rpartition(".")
        full = widths.get(".".join(part.split(".")[-2:]), (D,))
        found[name] = full if kind == "weight" else full[-1:]
    return found | {
        "transformer.wte.weight": (V, D),
        "transformer.wpe.weight": (T, D),
        HEAD: (V, D),
    }


# There


def export_gpt2(model: MiniGPT, tokenizer: CharTokenizer, directory: str | os.PathLike) -> None:
    """Writes what ``GPT2LMHeadModel`` and ``AutoTokenizer`` of ``transformers`` load.

    Both read it by ``from_pretrained(directory)``; the model keeps its float type. The folder is
    made if there is none; in one that is there, an earlier export is replaced and other files stay.
    All is written apart first and then takes its place: an error leaves what was there before.

    Raises ``ValueError`` when model and tokenizer don't belong together, when the model has other
    parts than a ``MiniGPT``, and for a character that no file can hold (half of a surrogate pair).
    """
    directory = Path(directory)
    _check_exportable(model, tokenizer)
    if directory.exists() and not directory.is_dir():
        raise ValueError(f"{str(directory)!r} is a file. Name a folder to export to.")
    if not directory.parent.is_dir():
        raise MissingFileError(
            f"there is no folder {str(directory.parent)!r} to make {directory.name!r} in"
        )
    state = {}
    own = dict(model.named_parameters())
    for ours, theirs in parameter_names(model.config["num_layers"]):
        value = own[ours].data
        value = value.T if theirs == HEAD else value
        # safetensors writes memory as it lies: a transposed view would come out in wrong order.
        state[theirs] = np.ascontiguousarray(value, value.dtype.newbyteorder("<"))
    _write(
        directory,
        {
            TOKENIZER: _to_json(_tokenizer_json(tokenizer)),
            "tokenizer_config.json": _to_json(
                {
                    "tokenizer_class": "PreTrainedTokenizerFast",
                    "clean_up_tokenization_spaces": False,
                }
            ),
            WEIGHTS: save(state, metadata={"format": "pt"}),
            CONFIG: _to_json(_gpt2_config(model)),
        },
    )


def _check_exportable(model: MiniGPT, tokenizer: CharTokenizer) -> None:
    if not isinstance(model, MiniGPT) or not isinstance(tokenizer, CharTokenizer):
        raise ValueError(
            "export_gpt2 takes a MiniGPT and its CharTokenizer, not "
            f"{type(model).__name__} and {type(tokenizer).__name__}"
        )
    _check_vocabulary(model.config["vocab_size"], tokenizer)
    expected, own = shapes(model.config), dict(model.named_parameters())
    names = dict(parameter_names(model.config["num_layers"]))
    if unlike := sorted(own.keys() ^ names.keys()):
        raise ValueError(
            f"GPT-2 has the parts of a MiniGPT, no other: this model differs in {unlike}"
        )
    for name, parameter in own.items():
        shape = expected[names[name]]
        shape = shape[::-1] if names[name] == HEAD else shape
        if parameter.shape != shape:
            raise ValueError(f"{name} has shape {parameter.shape}, but GPT-2 needs {shape}")
        if parameter.dtype != model.head.weight.dtype or parameter.dtype.itemsize > 8:
            raise ValueError(
                f"{name} is of type {parameter.dtype}: a file holds float16, float32 or float64, "
                "the same for all parameters"
            )
    for eps in {norm.eps for norm in _norms(model)} - {EPS}:
        raise ValueError(f"a LayerNorm of this model has eps={eps}, but only {EPS} comes back")
    for char in tokenizer.chars:
        if "\ud800" <= char <= "\udfff":
            raise ValueError(
                f"the vocabulary holds {char!r}, half of a surrogate pair, which no text file can "
                "hold. Remove it from the text and train again."
            )


def _norms(module: Module) -> Iterator[LayerNorm]:
    for value in vars(module).values():
        for part in value if isinstance(value, list) else [value]:
            if isinstance(part, LayerNorm):
                yield part
            elif isinstance(part, Module):
                yield from _norms(part)


def _check_vocabulary(vocab_size: int, tokenizer: CharTokenizer) -> None:
    if vocab_size != tokenizer.vocab_size:
        raise ValueError(
            f"the model has vocab_size={vocab_size}, but the tokenizer has {tokenizer.vocab_size} "
            "characters. Use the tokenizer that the model was trained with."
        )


def _gpt2_config(model: MiniGPT) -> dict:
    return {
        "model_type": "gpt2",
        "architectures": ["GPT2LMHeadModel"],
        **{theirs: model.config[ours] for ours, theirs in SIZES.items()},
        "n_inner": None,  # 4 * n_embd
        **{name: values[0] for name, values in SAME.items()},
        "tie_word_embeddings": False,  # our head has weights of its own
        "attn_pdrop": 0.0,
        "embd_pdrop": 0.0,
        "resid_pdrop": 0.0,  # GPT-2's own is 0.1
        "bos_token_id": None,
        "eos_token_id": None,
        "dtype": model.head.weight.dtype.name,
        "torch_dtype": model.head.weight.dtype.name,
    }


def _tokenizer_json(tokenizer: CharTokenizer) -> dict:
    """Every character is a word of its own: cut the text everywhere, and join without spaces."""
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [],
        "normalizer": None,
        "pre_tokenizer": {
            "type": "Split",
            "pattern": {"Regex": r"[\s\S]"},
            "behavior": "Isolated",
            "invert": False,
        },
        "post_processor": None,
        "decoder": {"type": "Fuse"},
        # The name of the unknown is in no vocabulary: an unknown character is an error, as here.
        "model": {"type": "WordLevel", "vocab": tokenizer.char_to_idx, "unk_token": "unknown"},
    }


def _to_json(content: dict) -> bytes:
    return (json.dumps(content, ensure_ascii=False, indent=1) + "\n").encode("utf-8")


def _write(directory: Path, files: dict[str, bytes]) -> None:
    """All of ``files``, or nothing: the last of them is the one without which none is read."""
    new_folder = not directory.exists()
    at = directory.absolute()
    part = (at.parent if new_folder else at) / f".{at.name}.{os.getpid()}.part"
    moved = []  # where from, where to
    try:
        part.mkdir()
        for name, content in files.items():
            with open(part / name, "wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
        if new_folder:
            os.rename(part, directory)
            return
        *_, last = files
        (part / "before").mkdir()
        out = [name for name in [last, *files][:-1] if (directory / name).exists()]
        moves = [(directory / name, part / "before" / name) for name in out]
        moves += [(part / name, directory / name) for name in files]
        for start, end in moves:
            os.replace(start, end)
            moved.append((start, end))
    except BaseException:
        for start, end in reversed(moved):
            os.replace(end, start)
        raise
    finally:
        shutil.rmtree(part, ignore_errors=True)


# And back


def import_gpt2(directory: str | os.PathLike) -> tuple[MiniGPT, CharTokenizer]:
    """The model and the tokenizer that ``export_gpt2`` wrote, also after training elsewhere.

    Takes what ``save_pretrained(directory)`` of ``transformers`` writes, of the model and of the
    tokenizer. The model keeps its float type; bfloat16, which numpy lacks, becomes float32.

    Raises ``ValueError`` for another architecture or another kind of GPT-2, a tied or missing
    head, names or shapes that don't fit, a vocabulary that is not one of single characters or not
    the model's, and a file that is missing, cut short, or longer than its header says.
    """
    directory = Path(directory)
    if not directory.is_dir():
        raise MissingFileError(
            f"there is no folder {str(directory)!r}. Write one with export_gpt2."
        )
    config = _read_config(directory)
    tokenizer = read_tokenizer(directory)
    state = _read_weights(directory, config)
    _check_vocabulary(config["vocab_size"], tokenizer)
    names = parameter_names(config["num_layers"])
    state = {ours: state[theirs].T if theirs == HEAD else state[theirs] for ours, theirs in names}
    dtype = np.result_type(*state.values())
    rng = np.random.default_rng(0)
    model = MiniGPT(**config, rng=rng, dtype=dtype)  # pyright: ignore[reportArgumentType]
    model.load_state_dict({name: np.ascontiguousarray(value) for name, value in state.items()})
    return model, tokenizer


def _read_config(directory: Path) -> dict[str, int]:
    """Our sizes, after a look at all that would make this GPT-2 compute something else."""
    path = directory / CONFIG
    content = _read_json(path, "Save the model there: model.save_pretrained(directory).")
    kinds = content.get("architectures") or ["GPT2LMHeadModel"]
    if content.get("model_type") != "gpt2" or "GPT2LMHeadModel" not in kinds:
        raise ValueError(
            f"{str(path)!r} is of model_type {content.get('model_type')!r} and architectures "
            f"{kinds!r}; only 'gpt2' with 'GPT2LMHeadModel' has the parts of a MiniGPT"
        )
    if content.get("tie_word_embeddings", True) is not False:
        raise ValueError(
            f"{str(path)!r} has a tied head (tie_word_embeddings is not false): its weights are "
            "those of the token embedding. A MiniGPT's head has weights of its own."
        )
    for name, accepted in SAME.items():
        if content.get(name, accepted[0]) not in accepted:
            raise ValueError(
                f"{str(path)!r} has {name}={content[name]!r}, but a MiniGPT computes with "
                f"{accepted[0]!r}"
            )
    config = {ours: content.get(theirs, 0) for ours, theirs in SIZES.items()}
    try:
        check_sizes(**{SIZES[ours]: size for ours, size in config.items()})
    except ValueError as error:
        raise ValueError(f"{str(path)!r} can't be used: {error}") from error
    if config["embed_dim"] % config["num_heads"]:
        raise ValueError(
            f"{str(path)!r}: n_embd={config['embed_dim']} can't be split into "
            f"n_head={config['num_heads']} equal heads"
        )
    if content.get("n_inner") not in (None, 4 * config["embed_dim"]):
        raise ValueError(
            f"{str(path)!r} has n_inner={content['n_inner']!r}, but a MiniGPT's feed-forward is "
            f"4 times as wide as n_embd={config['embed_dim']}"
        )
    return config


def _read_weights(directory: Path, config: dict[str, int]) -> dict[str, np.ndarray]:
    """Every parameter by GPT-2's name, of the shape that ``config`` asks for."""
    path = directory / WEIGHTS
    if not path.is_file():
        raise MissingFileError(
            f"there is no file {str(path)!r}. Weights are read from this one file: save them with "
            "model.save_pretrained(directory), without a limit to the size of a file."
        )
    try:
        found = dict(deserialize(path.read_bytes()))
    except SafetensorError as error:
        raise ValueError(
            f"{str(path)!r} is not a whole safetensors file ({error}): it is shorter or longer "
            "than its header says, or something else. Save it again."
        ) from error
    if HEAD not in found:
        raise ValueError(
            f"{str(path)!r} has no {HEAD}: the model was saved with a tied head, or without one. "
            "Set tie_word_embeddings to false and save it again."
        )
    layers = len({name.split(".")[2] for name in found if name.startswith("transformer.h.")})
    if layers != config["num_layers"]:
        raise ValueError(f"{str(path)!r} has {layers} blocks, but n_layer={config['num_layers']}")
    expected = shapes(config)
    missing, extra = sorted(expected.keys() - found.keys()), sorted(found.keys() - expected.keys())
    if missing or extra:
        raise ValueError(f"{str(path)!r} does not fit GPT-2: missing {missing}, unknown {extra}")
    for name, shape in expected.items():
        if tuple(found[name]["shape"]) != shape:
            raise ValueError(
                f"{str(path)!r}: {name} has shape {tuple(found[name]['shape'])}, but by the "
                f"sizes in {CONFIG} it is {shape}"
            )
    return {name: _array(path, name, found[name]) for name in expected}


def _array(path: Path, name: str, tensor: dict) -> np.ndarray:
    kind, data = tensor["dtype"], tensor["data"]
    if kind == "BF16":  # the upper half of a float32
        array = (np.frombuffer(data, "<u2").astype("<u4") << 16).view("<f4")
    elif kind in FLOATS:
        array = np.frombuffer(data, FLOATS[kind])
    else:
        raise ValueError(f"{str(path)!r}: {name} is of type {kind}, not of a float type")
    return array.reshape(tensor["shape"])


def read_tokenizer(directory: Path) -> CharTokenizer:
    """The tokenizer alone, of such a folder."""
    path = directory / TOKENIZER
    content = _read_json(
        path, "Save the tokenizer there, too: tokenizer.save_pretrained(directory)."
    )
    model = content.get("model")
    model = model if isinstance(model, dict) else {}
    vocab = model.get("vocab")
    if not isinstance(vocab, dict) or model.get("type") != "WordLevel":
        raise ValueError(
            f"{str(path)!r} is no tokenizer of single characters, as export_gpt2 writes"
        )
    if content.get("added_tokens"):
        added = [token.get("content") for token in content["added_tokens"]]
        raise ValueError(f"{str(path)!r} has tokens added that are no characters: {added}")
    if sorted(vocab.values(), key=str) != sorted(range(len(vocab)), key=str):
        raise ValueError(f"{str(path)!r}: the ids are not 0 to {len(vocab) - 1}, each once")
    try:
        return CharTokenizer(sorted(vocab, key=lambda char: vocab[char]))
    except ValueError as error:
        raise ValueError(f"{str(path)!r} is no tokenizer of single characters: {error}") from error


def _read_json(path: Path, advice: str) -> dict:
    if not path.is_file():
        raise MissingFileError(f"there is no file {str(path)!r}. {advice}")
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{str(path)!r} is not JSON ({error}). Save it again.") from error
    if not isinstance(content, dict):
        raise ValueError(f"{str(path)!r} must hold one JSON object, not {content!r:.60}")
    return content
