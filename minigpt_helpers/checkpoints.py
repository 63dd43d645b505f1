"""Saving and loading a trained model with its tokenizer (lesson 5).

One ``safetensors`` file: the parameters by name, and as text in its header the model's
configuration and the vocabulary. Nothing in it is ever executed, unlike a pickle.
"""

from __future__ import annotations

import json
import os
import threading

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from minigpt_helpers.nn import MiniGPT
from minigpt_helpers.text import CharTokenizer
from minigpt_helpers.validation import FileError, MissingFileError, check_dtype, check_path

_FORMAT = "minigpt-checkpoint-1"


def save_checkpoint(
    path: str | os.PathLike, model: MiniGPT, tokenizer: CharTokenizer, *, dtype=None
) -> None:
    """Writes ``model`` and ``tokenizer`` to one file; an older file there is replaced as a whole.

    The numbers keep the model's float type, or are rounded to ``dtype``: in ``np.float16`` a file
    is a quarter of one in float64, and every number right to three digits.
    The new file is written beside the old one and then takes its name in one step: a crash or a
    full disk can't leave half a file. Raises ``ValueError`` when the two don't belong together,
    or when there is no such folder.
    """
    path = check_path(path)
    if not isinstance(model, MiniGPT) or not isinstance(tokenizer, CharTokenizer):
        raise ValueError(f"needs MiniGPT and CharTokenizer, not {model!r:.60}, {tokenizer!r:.30}")
    _check_fit(model.vocab_size, tokenizer.vocab_size, "can't save")
    if not path.parent.is_dir():
        raise MissingFileError(f"there is no folder {str(path.parent)!r} to save {path.name!r} in")
    if path.is_dir():
        raise FileError(f"{str(path)!r} is a folder. Add the name of a file to it.")
    header = {
        "format": _FORMAT,
        "config": json.dumps(model.config),
        "vocabulary": json.dumps(tokenizer.chars),
    }
    state = model.state_dict()
    if dtype is not None:
        dtype = check_dtype(dtype)
        state = {name: array.astype(dtype) for name, array in state.items()}
    content = save(state, metadata=header)
    part = path.with_name(f".{os.getpid()}-{threading.get_ident()}.part")
    try:
        with open(part, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(part, path)
    except OSError as error:
        raise FileError(f"{str(path)!r} can't be written: {error.strerror or error}") from error
    finally:
        part.unlink(missing_ok=True)  # if it is still there: not the whole file


def load_checkpoint(path: str | os.PathLike) -> tuple[MiniGPT, CharTokenizer]:
    """The model and the tokenizer that ``save_checkpoint`` wrote to ``path``.

    The model has the file's float type; of float16, which is for files only, it makes float64.
    Raises ``ValueError`` for a file that is missing, cut short, from elsewhere, or does not fit.
    """
    path = check_path(path)
    if not path.is_file():
        raise MissingFileError(f"there is no file {str(path)!r}. Save one with save_checkpoint.")
    try:
        with safe_open(path, framework="numpy") as file:
            header = file.metadata() or {}
            state = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError, TypeError, ValueError, KeyError) as error:
        raise ValueError(
            f"{str(path)!r} is not a whole safetensors file ({error}). It was cut short, or it is "
            "something else; load one that save_checkpoint wrote."
        ) from error
    if header.get("format") != _FORMAT:
        raise ValueError(
            f"{str(path)!r} is a safetensors file, but not a Mini-GPT checkpoint: its format is "
            f"{header.get('format')!r}, expected {_FORMAT!r}"
        )
    if "head.bias" in state:
        raise ValueError(
            f"{str(path)!r} was saved by an earlier version of Mini-GPT, in which the head had a "
            "bias; now it has none, as in GPT-2. Train the model again and save it again."
        )
    try:
        config, chars = json.loads(header["config"]), json.loads(header["vocabulary"])
        dtype = state["head.weight"].dtype.type
        dtype = np.float64 if dtype is np.float16 else dtype
        tokenizer = CharTokenizer(chars)
        _check_fit(config["vocab_size"], tokenizer.vocab_size, "can't load")
        vocab_size, embed_dim = state["token_embedding.weight"].shape
        layers = {name.split(".")[1] for name in state if name.startswith("blocks.")}
        found = dict(
            vocab_size=vocab_size,
            embed_dim=embed_dim,
            num_layers=len(layers),
            max_seq_len=len(state["position_embedding.weight"]),
        )
        if config | found != config:  # asked first: a model of any size might be claimed
            raise ValueError(f"the configuration is {config}, but the parameters are of {found}")
        model = MiniGPT(**config, rng=np.random.default_rng(0), dtype=dtype)
        model.load_state_dict(state)
    except (KeyError, TypeError, ValueError, IndexError, RecursionError) as error:
        raise ValueError(f"the parts of {str(path)!r} don't fit together: {error}") from error
    return model, tokenizer


def _check_fit(model_size: int, tokenizer_size: int, doing: str) -> None:
    if model_size != tokenizer_size:
        raise ValueError(
            f"{doing}: the model has vocab_size={model_size}, but the tokenizer has "
            f"{tokenizer_size} characters. Use the tokenizer that the model was trained with."
        )
