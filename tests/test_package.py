"""The package as a whole: its public names, its order, and that importing it costs little."""

import ast
import importlib
import inspect
import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import numpy as np
import pytest

import minigpt_helpers

pytestmark = pytest.mark.filterwarnings("error")

PACKAGE = Path(minigpt_helpers.__file__).parent
ORDER = ["validation", "machine", "text", "graph", "autograd", "functional", "nn", "optim",
    "parallel", "training", "checklist", "generation", "checkpoints"]
OUTSIDE = {room: {"numpy"} for room in ORDER} | {
    "machine": {"threadpoolctl"},
    "checkpoints": {"numpy", "safetensors"},
}
PUBLIC = """
    CharTokenizer load_corpus list_corpora read_text corpus_entropy_rate train_val_split get_batch
    Tensor softmax cross_entropy_loss Module Linear Embedding LayerNorm FeedForward SelfAttention
    TransformerBlock MiniGPT SGD AdamW no_grad train generate save_checkpoint load_checkpoint
    run_checklist
""".split()


def imports_of(path: Path) -> set[str]:
    """Every module that a file imports, also inside functions, as full names."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path.name} imports relatively"
            if node.module == "minigpt_helpers":
                found |= {f"minigpt_helpers.{alias.name}" for alias in node.names}
            else:
                found.add(node.module)
    return found


def own(names: set[str]) -> set[str]:
    return {name.split(".")[1] for name in names if name.startswith("minigpt_helpers.")}


# Order


@pytest.mark.parametrize("room", ORDER)
def test_a_room_imports_only_earlier_rooms(room):
    allowed = set(ORDER[: ORDER.index(room)])
    assert own(imports_of(PACKAGE / f"{room}.py")) <= allowed


@pytest.mark.parametrize("room", ORDER)
def test_the_core_imports_little_from_outside(room):
    outside = {name.split(".")[0] for name in imports_of(PACKAGE / f"{room}.py")}
    outside -= set(sys.stdlib_module_names) | {"minigpt_helpers"}
    assert outside <= OUTSIDE[room]


def test_the_corpora_import_no_room_but_the_checks_of_arguments():
    for path in (PACKAGE / "corpora").glob("*.py"):
        assert own(imports_of(path)) <= {"corpora", "validation"}, path.name


def test_no_room_of_the_core_imports_what_is_built_on_it():
    for room in ORDER:
        assert not own(imports_of(PACKAGE / f"{room}.py")) & {"checks", "plots", "widgets",
            "pretrained"}


@pytest.mark.parametrize("room", ORDER)
def test_a_room_of_the_core_can_be_read_in_one_sitting(room):
    lines = (PACKAGE / f"{room}.py").read_text(encoding="utf-8").splitlines()
    assert len(lines) <= 350
    assert max(map(len, lines)) <= 100


# Names


@pytest.mark.parametrize("name", PUBLIC)
def test_the_public_names_are_there(name):
    assert hasattr(minigpt_helpers, name)


def test_all_names_are_listed_once_and_there():
    exported = minigpt_helpers.__all__
    assert len(exported) == len(set(exported)) and set(PUBLIC) <= set(exported)
    assert all(hasattr(minigpt_helpers, name) for name in exported)
    imported = {name for name, value in vars(minigpt_helpers).items()
                if not name.startswith("_") and not inspect.ismodule(value)}
    assert imported == set(exported)


def test_the_version_is_the_projects():
    project = tomllib.loads((PACKAGE.parent / "pyproject.toml").read_text(encoding="utf-8"))
    assert project["project"]["version"] == minigpt_helpers.__version__


@pytest.mark.parametrize("name", ["checks", "plots", "widgets"])
def test_the_rooms_beside_the_core_can_be_imported(name):
    assert inspect.ismodule(importlib.import_module(f"minigpt_helpers.{name}"))


def public_objects():
    for room in ORDER:
        module = importlib.import_module(f"minigpt_helpers.{room}")
        for name, value in vars(module).items():
            defined_here = getattr(value, "__module__", None) == module.__name__
            if not name.startswith("_") and callable(value) and defined_here:
                yield f"{room}.{name}", value


@pytest.mark.parametrize("name, value", list(public_objects()),
    ids=lambda v: v if isinstance(v, str) else "")
def test_every_public_function_and_class_says_what_it_does(name, value):
    doc = value.__doc__
    assert doc and len(doc.split()) >= 4
    assert not doc.startswith(f"{value.__name__}("), "a dataclass without a docstring of its own"


@pytest.mark.parametrize("room", ORDER)
def test_every_room_says_what_it_is_for_and_in_which_lesson(room):
    doc = importlib.import_module(f"minigpt_helpers.{room}").__doc__
    assert doc and re.search(r"lesson", doc)


@pytest.mark.parametrize("cls, names", [
    ("Tensor", "data grad shape backward exp log sum mean max reshape transpose"),
    ("CharTokenizer", "from_text vocab_size encode decode"),
    ("Module", "parameters named_parameters state_dict load_state_dict"),
    ("MiniGPT", "forward attention_weights"), ("SGD", "step zero_grad"),
    ("AdamW", "step zero_grad"),
])
def test_the_public_methods_are_there(cls, names):
    assert set(names.split()) <= set(dir(getattr(minigpt_helpers, cls)))


@pytest.mark.parametrize("function, parameters", [
    ("get_batch", "data block_size batch_size rng"), ("train_val_split", "data val_fraction"),
    ("generate", "model start_ids max_new_tokens temperature top_k rng"),
    ("save_checkpoint", "path model tokenizer"), ("load_checkpoint", "path"),
    ("run_checklist", "model data rng"), ("cross_entropy_loss", "logits targets"),
    ("softmax", "x axis"),
    ("MiniGPT", "vocab_size embed_dim num_heads num_layers max_seq_len rng dtype"),
    ("AdamW", "params lr betas eps weight_decay"), ("SGD", "params lr"),
    ("Linear", "in_features out_features"), ("Embedding", "num_embeddings embedding_dim"),
    ("LayerNorm", "dim eps"), ("FeedForward", "embed_dim hidden_dim"),
    ("SelfAttention", "embed_dim num_heads"), ("TransformerBlock", "embed_dim num_heads"),
])
def test_parameters_have_the_names_and_the_order_of_the_design(function, parameters):
    signature = inspect.signature(getattr(minigpt_helpers, function))
    names = [n for n in signature.parameters]
    wanted = parameters.split()
    assert [n for n in names if n in wanted] == wanted
    assert names[: len(wanted) - 2] == wanted[: len(wanted) - 2]


@pytest.mark.parametrize("name", [
    "Linear", "Embedding", "LayerNorm", "FeedForward", "SelfAttention", "TransformerBlock",
    "MiniGPT",
])
def test_every_layer_takes_a_generator_by_keyword(name):
    parameter = inspect.signature(getattr(minigpt_helpers, name)).parameters["rng"]
    assert parameter.kind is inspect.Parameter.KEYWORD_ONLY and parameter.default is None


def test_what_train_takes():
    parameters = inspect.signature(minigpt_helpers.train).parameters
    wanted = "val_data steps batch_size block_size optimizer lr rng callbacks".split()
    assert list(parameters)[:2] == ["model", "data"]
    for name in wanted:
        assert parameters[name].kind is inspect.Parameter.KEYWORD_ONLY
    assert parameters["callbacks"].default == ()


# Import

PROBE = """
import json, os, random, sys, threading, warnings
import numpy as np
from threadpoolctl import threadpool_info

def settings():
    return {
        "error state": np.geterr(), "print options": str(np.get_printoptions()),
        "numpy seed": int(np.random.get_state()[1].sum()), "seed": hash(random.getstate()),
        "environment": dict(os.environ), "filters": len(warnings.filters),
        "recursion": sys.getrecursionlimit(), "threads": threading.active_count(),
        "blas": [pool["num_threads"] for pool in threadpool_info()], "folder": os.getcwd(),
        "display hook": sys.displayhook.__module__, "int digits": sys.get_int_max_str_digits(),
    }

before = settings()
import minigpt_helpers
after = settings()
print(json.dumps({
    "changed": [name for name in before if before[name] != after[name]],
    "modules": sorted({name.split(".")[0] for name in sys.modules}),
    "own": sorted(name for name in sys.modules if name.startswith("minigpt_helpers")),
}))
"""


@pytest.fixture(scope="module")
def fresh_import():
    result = subprocess.run(
        [sys.executable, "-W", "error", "-c", PROBE], capture_output=True, text=True,
        cwd=PACKAGE.parent, check=False)
    assert result.returncode == 0, result.stderr
    assert result.stderr == ""
    return json.loads(result.stdout)


@pytest.mark.parametrize("heavy", [
    "matplotlib", "ipywidgets", "IPython", "anywidget", "ipykernel", "traitlets", "pandas", "scipy",
    "torch", "PIL", "jupyterlab",
])
def test_importing_stays_light(fresh_import, heavy):
    assert heavy not in fresh_import["modules"]


def test_importing_loads_only_the_core(fresh_import):
    loaded = {name.split(".")[1] for name in fresh_import["own"] if "." in name}
    assert set(ORDER) <= loaded
    assert not loaded & {"plots", "widgets", "checks"}


def test_importing_changes_no_setting(fresh_import):
    assert fresh_import["changed"] == []


def test_using_the_core_changes_no_setting():
    before = np.geterr(), np.get_printoptions(), np.random.get_state()[1].tolist()
    model = minigpt_helpers.MiniGPT(5, 4, 1, 1, 4)
    minigpt_helpers.train(model, [0, 1, 2, 3, 4] * 4, steps=2)
    minigpt_helpers.generate(model, [0], 6)
    assert (np.geterr(), np.get_printoptions(), np.random.get_state()[1].tolist()) == before
