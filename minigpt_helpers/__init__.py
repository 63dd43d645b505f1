"""Mini-GPT: everything a small GPT is made of, in the order of the lessons.

Modules in that order, each importing only earlier ones: ``validation`` and ``machine`` (all
lessons), ``text`` (lesson 1), ``autograd`` (2), ``functional`` and ``nn`` (3 and 4), ``optim``,
``parallel``, ``training`` and ``checklist`` (5), ``generation`` (6), ``checkpoints``. Packages and
modules built on them: ``corpora``, ``pretrained``, ``checks``, ``plots``, ``widgets``, ``bridge``.
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
from minigpt_helpers.optim import SGD, AdamW, clip_grad_norm, cosine_schedule
from minigpt_helpers.pretrained import load_pretrained
from minigpt_helpers.text import (
    CharTokenizer,
    bigram_loss,
    bigram_probs,
    get_batch,
    train_val_split,
)
from minigpt_helpers.training import DivergenceError, History, evaluate, train

__version__ = "1.0.0"

__all__ = [
    *"""
    SGD AdamW CharTokenizer DivergenceError Embedding FeedForward History LayerNorm Linear
    MiniGPT Module SelfAttention Tensor TransformerBlock bigram_loss bigram_probs clip_grad_norm
    corpus_entropy_rate cosine_schedule cross_entropy_loss evaluate generate get_batch
    list_corpora load_checkpoint load_corpus load_pretrained next_token_probs no_grad read_text
    run_checklist save_checkpoint softmax stack train train_val_split
    """.split()
]
