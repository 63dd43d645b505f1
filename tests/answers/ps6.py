"""Answers to problem set 6."""

import functools
import heapq
import math

import numpy as np

from minigpt_helpers import (
    AdamW,
    CharTokenizer,
    MiniGPT,
    Tensor,
    cross_entropy_loss,
    generate,
    load_corpus,
    next_token_probs,
    no_grad,
    softmax,
    train,
)


def soft(z):
    return softmax(Tensor(z)).data


# ---- 1: the nucleus -----------------------------------------------------------------------------


def nucleus(z, T, p):
    probs = soft(z / T)
    order = np.argsort(-probs, kind="stable")
    kept = order[np.cumsum(probs[order]) - probs[order] < p]
    new = np.zeros(len(z))
    new[kept] = probs[kept]
    return new / new.sum()


def nucleus_by_search(logits, temperature, top_p):
    probs = soft(logits / temperature)
    order = np.argsort(-probs, kind="stable")
    last = np.searchsorted(np.cumsum(probs[order]), top_p)  # V if rounding leaves the sum below 1
    z = np.full(len(logits), -np.inf)
    z[order[: last + 1]] = logits[order[: last + 1]] / temperature
    return soft(z)


def nucleus_by_loop(logits, temperature, top_p):
    scaled = [z / temperature for z in logits.tolist()]
    exps = [math.exp(z - max(scaled)) for z in scaled]
    probs = [e / sum(exps) for e in exps]
    kept, total = {}, 0.0
    for i in sorted(range(len(probs)), key=lambda i: (-probs[i], i)):
        kept[i] = probs[i]
        total += probs[i]
        if total >= top_p:
            break
    return [kept.get(i, 0) / total for i in range(len(probs))]


def nucleus_by_heap(logits, temperature, top_p):
    probs = next_token_probs(logits, temperature)
    heap = [(-p, i) for i, p in enumerate(probs)]
    heapq.heapify(heap)
    out, mass = np.zeros_like(probs), 0.0
    while heap and (mass < top_p or not mass):
        p, i = heapq.heappop(heap)
        out[i], mass = -p, mass - p
    return Tensor(out / out.sum())


def nucleus_in_float32(logits, temperature, top_p):
    z = np.float32(logits) / np.float32(temperature)
    return nucleus_by_search(z, 1, top_p).astype(np.float32)


# ---- 2: the generator ---------------------------------------------------------------------------


def writer(crop="end", temperature="divide", less=0, returns="all"):
    def write(model, ids, steps, temp, top_k, choose):
        text = list(ids)
        for _ in range(steps):
            window = text[-model.max_seq_len :] if crop == "end" else text[: model.max_seq_len]
            logits = model(window).data[-1]
            logits = logits / temp if temperature == "divide" else logits * temp
            kept = np.argsort(-logits, kind="stable")[: top_k - less]
            probs = np.zeros(len(logits))
            probs[kept] = np.exp(logits[kept] - logits[kept].max())
            text.append(choose(probs / probs.sum()))
        return text if returns == "all" else text[len(ids) :]

    return write


def write_logits(model, ids, steps, temperature, top_k, choose):
    text = list(ids)
    for _ in range(steps):
        text.append(choose(model(text[-model.max_seq_len :]).data[-1] / temperature))
    return text


def write_with_the_package(model, ids, steps, temperature, top_k, choose):
    text = np.array(ids)
    for _ in range(steps):
        with no_grad():
            row = model(text[-model.max_seq_len :]).data[-1]
        text = np.append(text, choose(next_token_probs(row, temperature, top_k)))
    return text


def write_with_minus_infinity(model, ids, steps, temperature, top_k, choose):
    def one_more(text, _):
        z = model(np.array([text[max(0, len(text) - model.max_seq_len) :]])).data[0, -1]
        z = z / temperature
        if top_k < len(z):
            cut = sorted(z.tolist(), reverse=True)[top_k - 1]
            z = np.where(z < cut, -np.inf, z)
        return [*text, choose(soft(z).tolist())]

    return functools.reduce(one_more, range(steps), ids)


def write_into_the_prompt(model, ids, steps, temperature, top_k, choose):
    for _ in range(steps):
        row = model(ids[-model.max_seq_len :]).data[-1]
        ids.append(choose(next_token_probs(row, temperature, top_k)))
    return ids


def write_without_choosing(model, ids, steps, temperature, top_k, choose):
    return generate(model, ids, steps, temperature, top_k, np.random.default_rng(0))


def write_with_a_finite_mask(model, ids, steps, temperature, top_k, choose):
    """The logits that are not kept become smaller, but not minus infinity."""
    text = list(ids)
    for _ in range(steps):
        z = model(text[-model.max_seq_len :]).data[-1] / temperature
        z[np.argsort(-z, kind="stable")[top_k:]] -= 12
        text.append(choose(soft(z)))
    return text


# ---- 4: predictions -----------------------------------------------------------------------------


def ends_by_extremes(logits):
    def entropy(temperature):
        z = (logits - logits.max()) / temperature
        p = np.exp(z) / np.exp(z).sum()
        p = p[p > 0]
        return -(p * np.log(p)).sum()

    return [entropy(1e-9), entropy(1e12)]


def ends_by_counting(logits):
    values = logits.tolist()
    return np.log([values.count(max(values)), sum(z > float("-inf") for z in values)])


def positions_by_formula(prompt, new, window, use_cache):
    fits = max(0, min(new, window - prompt + 1))  # new characters before the window slides
    slid = (new - fits) * window
    if not fits:
        return slid
    grown = prompt + fits - 1 if use_cache else fits * prompt + fits * (fits - 1) // 2
    return grown + slid


def positions_by_walking(prompt, new, window, use_cache):
    text, cached, total = prompt, 0, 0
    for _ in range(new):
        if text > window or not use_cache:
            total += min(text, window)
        else:
            total += text - cached
            cached = text
        text += 1
    return np.int64(total)


# ---- 5: the loss of a line ----------------------------------------------------------------------


def surprises(model, tokenizer, line):
    ids, T = tokenizer.encode("\n" + line), model.max_seq_len
    found = []
    for i in range(1, len(ids)):
        row = model(ids[max(0, i - T) : i]).data[-1]
        found.append(-math.log(soft(row)[ids[i]]))
    return found


def line_loss(model, tokenizer, line):
    return sum(surprises(model, tokenizer, line)) / len(line)


def line_loss_in_one_batch(model, tokenizer, line):
    """All at once while the window is not full, then one window for each further character."""
    ids, T = np.array(tokenizer.encode("\n" + line)), model.max_seq_len
    first = cross_entropy_loss(model(ids[:-1][:T]), ids[1:][:T]).item() * min(T, len(line))
    rest = [cross_entropy_loss(model(ids[i - T : i])[-1], ids[i]).item()
            for i in range(T + 1, len(ids))]
    return Tensor((first + sum(rest)) / len(line))


def line_loss_with_packaged_probs(model, tokenizer, line):
    total, past = 0, [tokenizer.char_to_idx["\n"]]
    for char in line:
        row = model(past[-model.max_seq_len :])[-1]
        total -= np.log(next_token_probs(row.data)[tokenizer.char_to_idx[char]])
        past = past + tokenizer.encode(char)
    return total / len(line)


def line_loss_in_blocks(model, tokenizer, line):
    ids, T, found = tokenizer.encode("\n" + line), model.max_seq_len, []
    for i in range(0, len(ids) - 1, T):
        y = ids[i + 1 : i + T + 1]
        found += [cross_entropy_loss(model(ids[i : i + len(y)]), y).item()] * len(y)
    return np.mean(found)


def line_loss_unshifted(model, tokenizer, line):
    ids = tokenizer.encode(line)
    return cross_entropy_loss(model(ids), ids)


def odd(score):
    return lambda model, tokenizer, lines: int(np.argmax(
        [score(model, tokenizer, line) for line in lines]))


def odd_by_max(model, tokenizer, lines):
    return max(range(len(lines)), key=lambda i: line_loss(model, tokenizer, lines[i]))


def odd_by_loop(model, tokenizer, lines):
    worst, where = -1.0, None
    for number, line in enumerate(lines):
        loss = np.mean(surprises(model, tokenizer, line))
        if loss > worst:
            worst, where = loss, number
    return np.int64(where)


# ---- 6: guesses ---------------------------------------------------------------------------------


def guesses_by_loop(log_p, sampled):
    total = 0
    for other in sampled:
        total += 1 / math.exp(other) if other > log_p else 0
    return total / len(sampled)


def guesses_by_where(log_p, sampled):
    return np.where(sampled > log_p, np.exp(-np.asarray(sampled)), 0).mean()


# ---- 7: names -----------------------------------------------------------------------------------


@functools.cache
def names_of_the_package():
    """A generator of names, trained for a moment on 200 of the shipped ones."""
    every = load_corpus("names").split()
    every = [every[i] for i in np.random.default_rng(3).permutation(len(every))]
    names, held_out = every[:300], every[300:340]
    tokenizer = CharTokenizer("\nabcdefghijklmnopqrstuvwxyz")
    model = MiniGPT(tokenizer.vocab_size, 16, 2, 1, 12, rng=np.random.default_rng(0))
    ids = tokenizer.encode("\n" + "\n".join(names) + "\n")
    train(model, ids, steps=150, batch_size=16, lr=1e-2, rng=np.random.default_rng(1))
    rng = np.random.default_rng(2)
    lines = tokenizer.decode(generate(model, tokenizer.encode("\n"), 260, 0.8, rng=rng))
    new = {line for line in lines.split("\n")[1:-1] if line} - set(names) - set(held_out)
    return names, held_out, model, tokenizer, sorted(new)


def names_with(**changes):
    work = dict(zip(("names", "held_out", "model", "tokenizer", "new"), names_of_the_package()))
    return tuple({**work, **changes}.values())


@functools.cache
def untrained():
    return MiniGPT(27, 16, 2, 1, 12, rng=np.random.default_rng(0))


@functools.cache
def learnt_by_heart():
    names, _, _, tokenizer, _ = names_of_the_package()
    model = MiniGPT(27, 32, 2, 1, 12, rng=np.random.default_rng(0))
    ids = tokenizer.encode("\n" + "\n".join(names[:60]) + "\n")
    train(model, ids, steps=500, batch_size=16, rng=np.random.default_rng(1),
          optimizer=AdamW(model.parameters(), lr=0.02))
    return model


def names_as_arrays():
    names, held_out, model, tokenizer, new = names_of_the_package()
    return np.array(names), tuple(held_out), model, tokenizer, np.array(new)


BACK = dict(zip("abcdefghijklmnopqrstuvwxyz", "zqxjkvbpygfwmucldrhsnioate"))
LANGUAGE = [0.4, 0.35, 0.25], [[0.34, 0.33, 0.33], [0, 1, 0], [0.2, 0.3, 0.5]]

RIGHT = [
    ("ps6_top_p_probs", nucleus),
    ("ps6_top_p_probs", nucleus_by_search),
    ("ps6_top_p_probs", nucleus_by_loop),
    ("ps6_top_p_probs", nucleus_by_heap),
    ("ps6_top_p_probs", nucleus_in_float32),
    ("ps6_write", writer()),
    ("ps6_write", write_with_the_package),
    ("ps6_write", write_with_minus_infinity),
    ("ps6_greedy_misses", LANGUAGE),
    ("ps6_greedy_misses", (np.array([0.51, 0.49]), np.array([[0.51, 0.49], [0.01, 0.99]]))),
    ("ps6_greedy_misses", ([Tensor(0.3), 0.24, 0.23, 0.23], [[0.28, 0.24, 0.24, 0.24], [0, 0, 1, 0],
                                                        [0, 1, 0, 0], [1, 0, 0, 0]])),
    ("ps6_entropy_ends", ends_by_extremes),
    ("ps6_entropy_ends", ends_by_counting),
    ("ps6_positions_computed", positions_by_formula),
    ("ps6_positions_computed", positions_by_walking),
    ("ps6_line_loss", line_loss),
    ("ps6_line_loss", line_loss_in_one_batch),
    ("ps6_line_loss", line_loss_with_packaged_probs),
    ("ps6_odd_one_out", odd(line_loss)),
    ("ps6_odd_one_out", odd_by_max),
    ("ps6_odd_one_out", odd_by_loop),
    ("ps6_guesses_before", guesses_by_loop),
    ("ps6_guesses_before", guesses_by_where),
    ("ps6_guesses_before", lambda log_p, sampled: sum(math.exp(-s) for s in sampled if s > log_p)
     / len(sampled)),
    ("ps6_name_generator", names_of_the_package()),
    ("ps6_name_generator", names_as_arrays()),
]

WRONG = [
    ("ps6_write", writer("start", "multiply"), "(?s)beginning of the text.*multiplies"),
    ("ps6_write", writer("start", "multiply", 1), "(?s)beginning.*multiplies.*too few"),
    ("ps6_write", writer("start", less=1, returns="new"), "(?s)beginning.*too few.*prompt is lost"),
    ("ps6_write", writer("end", "multiply", 1, "new"), "(?s)multiplies.*too few.*prompt is lost"),
    ("ps6_write", write_into_the_prompt, "changes its input"),
    ("ps6_write", write_without_choosing, "choose was called 0 times"),
    ("ps6_write", write_with_a_finite_mask, "Small is not 0"),
    ("ps6_write", write_logits, "In words"),
    ("ps6_greedy_misses", ([0.5, 0.3, 0.2], np.eye(3)), "Greedy's text is the likeliest"),
    ("ps6_greedy_misses", ([0.4, 0.35, 0.25], [[0.7, 0.2, 0.1], [0, 1, 0], [1, 0, 0]]),
     "right direction"),
    ("ps6_greedy_misses", ([0.5, 0.5], [[0.6, 0.4], [0, 1]]), "a little likelier"),
    ("ps6_greedy_misses", ([0.6, 0.6], [[0.6, 0.4], [0, 1]]), "do not sum to 1"),
    ("ps6_greedy_misses", ([1.5, -0.5], [[0.6, 0.4], [0, 1]]), "negative"),
    ("ps6_greedy_misses", ([0.6, 0.4], [[0.6, 0.4]]), "V rows of V"),
    ("ps6_greedy_misses", ([0.6, 0.4], [[0.6, 0.4], [1.0]]), "different shapes"),
    ("ps6_line_loss", line_loss_in_blocks, "window slides by one"),
    ("ps6_line_loss", line_loss_unshifted, "max_seq_len=6"),
    ("ps6_line_loss", lambda m, t, line: cross_entropy_loss(
        m(t.encode("\n" + line)[:-1]), t.encode(line)), "max_seq_len=6"),
    ("ps6_line_loss", lambda m, t, line: line_loss(m, t, line[::-1]), "In words"),
    ("ps6_odd_one_out", lambda m, t, lines: len(lines) - 1, "expected"),
    ("ps6_odd_one_out", lambda m, t, lines: -1, "expected"),
    ("ps6_name_generator", names_with(names=names_of_the_package()[0][:40]), "different names"),
    ("ps6_name_generator", names_with(held_out=names_of_the_package()[0][:20]), "both lists"),
    ("ps6_name_generator", names_with(new=names_of_the_package()[0][:20]), "not new"),
    ("ps6_name_generator", names_with(new=names_of_the_package()[4] * 2), "there twice"),
    ("ps6_name_generator", names_with(names="anna berta"), "not a list"),
    ("ps6_name_generator", names_with(new=["é" + n for n in names_of_the_package()[4]]),
     "does not know"),
    ("ps6_name_generator", names_with(new=["".join(BACK[c] for c in n)
                                               for n in names_of_the_package()[0][:30]]),
     "Did the model write them"),
    ("ps6_name_generator", names_with(model=untrained()), "hardly been trained"),
    ("ps6_name_generator", names_with(names=names_of_the_package()[0][:60],
                                          model=learnt_by_heart()), "by heart"),
    ("ps6_name_generator", names_with(new=["a\nb", *names_of_the_package()[4]]), "line breaks"),
]
