"""Mini-GPT: everything a small GPT is made of, in the order of the lessons.

The rooms, each importing only from those before it: ``text`` (lesson 1), ``autograd`` (2),
``functional`` and ``nn`` (3 and 4), ``training`` and ``checklist`` (5), ``generation`` (6),
``checkpoints``. Beside them ``corpora``, ``checks``, ``plots`` and ``widgets``.
"""

from minigpt_helpers.autograd import Tensor, no_grad, stack
from minigpt_helpers.checklist import run_checklist
from minigpt_helpers.checkpoints import load_checkpoint, save_checkpoint
from minigpt_helpers.corpora import corpus_entropy_rate, list_corpora, load_corpus, read_text
from minigpt_helpers.functional import cross_entropy_loss, softmax
from minigpt_helpers.generation import generate, next_token_probs
from minigpt_helpers.nn import (
    Embedding,
    FeedForward,
    LayerNorm,
    Linear,
    MiniGPT,
    Module,
    SelfAttention,
    TransformerBlock,
)
from minigpt_helpers.pretrained import load_pretrained
from minigpt_helpers.text import (
    CharTokenizer,
    bigram_loss,
    bigram_probs,
    get_batch,
    train_val_split,
)
from minigpt_helpers.training import (
    SGD,
    AdamW,
    DivergenceError,
    History,
    clip_grad_norm,
    cosine_schedule,
    evaluate,
    train,
)
