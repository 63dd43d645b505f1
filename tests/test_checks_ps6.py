"""Problem set 6's checks accept right answers in any style and name what is wrong with others."""

import functools
import heapq
import itertools
import math

import numpy as np
import pytest

from minigpt_helpers import (
    AdamW,
    CharTokenizer,
    MiniGPT,
    Tensor,
    checks,
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


def nucleus(z, T, p, keep=lambda n: n, cut=None):
    probs = soft(z / T)
    by = probs if cut is None else cut
    order = np.argsort(-by, kind="stable")
    number = int((np.cumsum(by[order]) - by[order] < p).sum())
    kept = order[: keep(number)]
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


def nucleus_by_heap(logits, temperature, top_p, eps=0.0):
    probs = next_token_probs(logits, temperature)
    heap = [(-p, i) for i, p in enumerate(probs)]
    heapq.heapify(heap)
    out, mass = np.zeros_like(probs), 0.0
    while heap and (mass < top_p or not mass):
        p, i = heapq.heappop(heap)
        out[i], mass = -p, mass - p
    return Tensor(out / out.sum())


def nucleus_by_sort_descending(z, T, p):
    probs = soft(z / T)
    order = np.argsort(probs)[::-1]  # equal ones: the highest id first
    kept = order[np.cumsum(probs[order]) - probs[order] < p]
    new = np.zeros(len(z))
    new[kept] = probs[kept]
    return new / new.sum()


def nucleus_in_float32(logits, temperature, top_p):
    z = np.float32(logits) / np.float32(temperature)
    return nucleus_by_search(z, 1, top_p).astype(np.float32)


def nucleus_by_argmax(z, T, p):
    probs = soft(z / T)
    order = np.argsort(-probs, kind="stable")
    kept = order[: np.argmax(np.cumsum(probs[order]) >= p) + 1]  # the first, if none reaches p
    new = np.zeros(len(z))
    new[kept] = probs[kept]
    return new / new.sum()


def nucleus_overflowing(z, T, p):
    exps = np.exp(z / T)
    return nucleus(np.log(exps / exps.sum()), 1.0, p)


def sorted_nucleus(z, T, p):
    return np.sort(nucleus(z, T, p))[::-1]


def threshold(z, T, p):
    probs = soft(z / T)
    return probs * (probs >= p) / (probs * (probs >= p)).sum()


def min_p(z, T, p):
    probs = soft(z / T)
    kept = probs * (probs >= p * probs.max())
    return kept / kept.sum()


# ---- 2: the generator ---------------------------------------------------------------------------


def writer(crop="end", temperature="divide", less=0, returns="all", row=-1, feed=True):
    def write(model, ids, steps, temp, top_k, choose):
        text = list(ids)
        for _ in range(steps):
            seen = text if feed else ids
            window = seen[-model.max_seq_len :] if crop == "end" else seen[: model.max_seq_len]
            logits = model(window).data[row]
            logits = {"divide": logits / temp, "multiply": logits * temp, "none": logits}[
                temperature]
            kept = np.argsort(-logits, kind="stable")[: top_k - less]
            probs = np.zeros(len(logits))
            probs[kept] = soft(logits[kept])
            text.append(choose(probs))
        return {"all": text, "new": text[len(ids) :], "cropped": text[-model.max_seq_len :]}[
            returns]

    return write


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


def write_after_top_k(model, ids, steps, temperature, top_k, choose):
    """The temperature is applied to probabilities."""
    text = list(ids)
    for _ in range(steps):
        row = model(text[-model.max_seq_len :]).data[-1]
        text.append(choose(next_token_probs(row, 1.0, top_k) / temperature))
    return text


def write_with_a_finite_mask(model, ids, steps, temperature, top_k, choose):
    """The logits that are not kept become smaller, but not minus infinity."""
    text = list(ids)
    for _ in range(steps):
        z = model(text[-model.max_seq_len :]).data[-1] / temperature
        z[np.argsort(-z, kind="stable")[top_k:]] -= 12
        text.append(choose(soft(z)))
    return text


def write_without_the_maximum(model, ids, steps, temperature, top_k, choose):
    text = list(ids)
    for _ in range(steps):
        z = model(text[-model.max_seq_len :]).data[-1] / temperature
        kept = np.argsort(-z, kind="stable")[:top_k]
        probs = np.zeros(len(z))
        with np.errstate(all="ignore"):
            probs[kept] = np.exp(z[kept]) / np.exp(z[kept]).sum()
        text.append(choose(probs))
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


def anew(prompt, new, window):
    return sum(min(prompt + i, window) for i in range(new))


def positions(cached=positions_by_formula, plain=positions_by_formula):
    def positions_computed(prompt, new, window, use_cache):
        return (cached if use_cache else plain)(prompt, new, window, use_cache)

    return positions_computed


# ---- 5: the loss of a line ----------------------------------------------------------------------


def surprises(model, tokenizer, line, start="\n", window=None):
    ids, T = tokenizer.encode(start + line), window or model.max_seq_len
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


def line_loss_of_windows(model, tokenizer, line):
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
    ("top_p_probs", nucleus),
    ("top_p_probs", nucleus_by_search),
    ("top_p_probs", nucleus_by_loop),
    ("top_p_probs", nucleus_by_heap),
    ("top_p_probs", nucleus_in_float32),
    ("write", writer()),
    ("write", write_with_the_package),
    ("write", write_with_minus_infinity),
    ("greedy_misses", LANGUAGE),
    ("greedy_misses", (np.array([0.51, 0.49]), np.array([[0.51, 0.49], [0.01, 0.99]]))),
    ("greedy_misses", ([Tensor(0.3), 0.24, 0.23, 0.23], [[0.28, 0.24, 0.24, 0.24], [0, 0, 1, 0],
                                                        [0, 1, 0, 0], [1, 0, 0, 0]])),
    ("entropy_ends", ends_by_extremes),
    ("entropy_ends", ends_by_counting),
    ("positions_computed", positions_by_formula),
    ("positions_computed", positions_by_walking),
    ("line_loss", line_loss),
    ("line_loss", line_loss_in_one_batch),
    ("line_loss", line_loss_with_packaged_probs),
    ("odd_one_out", odd(line_loss)),
    ("odd_one_out", odd_by_max),
    ("odd_one_out", odd_by_loop),
    ("guesses_before", guesses_by_loop),
    ("guesses_before", guesses_by_where),
    ("guesses_before", lambda log_p, sampled: sum(math.exp(-s) for s in sampled if s > log_p)
     / len(sampled)),
    ("name_generator", names_of_the_package),
    ("name_generator", names_as_arrays),
]

WRONG = [
    ("write", writer(crop="start"), "beginning of the text"),
    ("write", writer(temperature="multiply"), "the temperature multiplies"),
    ("write", writer(temperature="none"), "The temperature is missing"),
    ("write", writer(less=1), "one token too few"),
    ("write", writer(less=-1), "One token too many"),
    ("write", writer(crop="start", temperature="multiply"), "multiplies"),
    ("write", writer(crop="start", temperature="multiply", less=1, returns="new"), "Still there"),
    ("write", writer(returns="new"), "The prompt is lost"),
    ("write", writer(returns="cropped"), "cropped for the model only"),
    ("write", writer(row=0), "Does not hold"),
    ("write", writer(feed=False), "new ids are not read"),
    ("write", write_into_the_prompt, "changes its input"),
    ("write", write_without_choosing, "Once for each new id"),
    ("write", write_after_top_k, "before the softmax"),
    ("write", write_with_a_finite_mask, "Small is not 0"),
    ("write", write_without_the_maximum, "no exp may overflow"),
    ("greedy_misses", ([0.5, 0.3, 0.2], np.eye(3)), "Greedy's text is the likeliest"),
    ("greedy_misses", ([0.4, 0.35, 0.25], [[0.7, 0.2, 0.1], [0, 1, 0], [1, 0, 0]]),
     "right direction"),
    ("greedy_misses", ([0.5, 0.5], [[0.6, 0.4], [0, 1]]), "a little likelier"),
    ("greedy_misses", ([0.6, 0.6], [[0.6, 0.4], [0, 1]]), "do not sum to 1"),
    ("greedy_misses", ([1.5, -0.5], [[0.6, 0.4], [0, 1]]), "negative"),
    ("greedy_misses", ([0.6, 0.4], [[0.6, 0.4]]), "V rows of V"),
    ("greedy_misses", ([0.6, 0.4], [[0.6, 0.4], [1.0]]), "different shapes"),
    ("line_loss", lambda m, t, line: sum(surprises(m, t, line)), "That is the sum"),
    ("line_loss", lambda m, t, line: line_loss(m, t, line) / math.log(2), "in bits"),
    ("line_loss", lambda m, t, line: -line_loss(m, t, line), "minus"),
    ("line_loss", lambda m, t, line: math.exp(line_loss(m, t, line)), "perplexity"),
    ("line_loss", lambda m, t, line: max(surprises(m, t, line)), "largest surprise"),
    ("line_loss", lambda m, t, line: np.mean(surprises(m, t, line, "")), "line break before"),
    ("line_loss", lambda m, t, line: line_loss(m, t, line + "\n"), "line break at the end"),
    ("line_loss", lambda m, t, line: sum(surprises(m, t, line)) / (len(line) + 1), "Divide by"),
    ("line_loss", lambda m, t, line: line_loss(m, t, line[: m.max_seq_len]), "end of a long"),
    ("line_loss", line_loss_of_windows, "window slides by one"),
    ("line_loss", line_loss_unshifted, "max_seq_len=6"),
    ("line_loss", lambda m, t, line: np.mean(surprises(m, t, line, window=1)), "expected"),
    ("line_loss", lambda m, t, line: cross_entropy_loss(
        m(t.encode("\n" + line)[:-1]), t.encode(line)), "max_seq_len=6"),
    ("odd_one_out", lambda m, t, lines: int(np.argmax(
        [sum(surprises(m, t, line)) for line in lines])), "the sums"),
    ("odd_one_out", lambda m, t, lines: int(np.argmin(
        [line_loss(m, t, line) for line in lines])), "lowest loss"),
    ("odd_one_out", lambda m, t, lines: odd_by_max(m, t, lines) + 1, "counted from 0"),
    ("odd_one_out", lambda m, t, lines: lines[odd_by_max(m, t, lines)], "the line itself"),
    ("odd_one_out", lambda m, t, lines: max(line_loss(m, t, line) for line in lines), "its loss"),
    ("odd_one_out", lambda m, t, lines: len(lines) - 1, "expected"),
    ("odd_one_out", lambda m, t, lines: int(np.argmax([len(x) for x in lines])), "expected"),
    ("name_generator", lambda: names_with(names=names_of_the_package()[0][:40]), "different names"),
    ("name_generator", lambda: names_with(held_out=names_of_the_package()[0][:20]), "both lists"),
    ("name_generator", lambda: names_with(new=names_of_the_package()[0][:20]), "not new"),
    ("name_generator", lambda: names_with(new=names_of_the_package()[4] * 2), "there twice"),
    ("name_generator", lambda: names_with(names="anna berta"), "not a list"),
    ("name_generator", lambda: names_with(new=["é" + n for n in names_of_the_package()[4]]),
     "does not know"),
    ("name_generator", lambda: names_with(new=["".join(BACK[c] for c in n)
                                               for n in names_of_the_package()[0][:30]]),
     "Did the model write them"),
    ("name_generator", lambda: names_with(model=untrained()), "hardly been trained"),
    ("name_generator", lambda: names_with(names=names_of_the_package()[0][:60],
                                          model=learnt_by_heart()), "by heart"),
    ("name_generator", lambda: names_with(new=["a\nb", *names_of_the_package()[4]]), "line breaks"),
]


def ask(name, answer, seed=0):
    if name == "name_generator" and callable(answer):
        answer = answer()
    given = answer if name in ("greedy_misses", "name_generator") else (answer,)
    return getattr(checks, f"ps6_{name}")(*given, seed=seed)


@pytest.mark.parametrize("seed", [0, 1, 2, 3, 4, 5])
@pytest.mark.parametrize(("name", "answer"), RIGHT)
def test_a_right_answer_is_accepted(name, answer, seed):
    result = ask(name, answer, seed)
    assert result.passed and result.score == 1.0, result.message


@pytest.mark.parametrize(("name", "answer", "hint"), WRONG)
def test_a_wrong_answer_is_refused_with_the_fitting_hint(name, answer, hint):
    for seed in (0, 1):
        result = ask(name, answer, seed)
        assert result.message.startswith("not yet") and result.score < 1, result.message
        assert hint in result.message


def test_the_generator_with_all_four_bugs_earns_nothing():
    buggy = writer(crop="start", temperature="multiply", less=1, returns="new")
    assert ask("write", buggy).score == 0


def test_a_generator_that_is_half_mended_earns_a_part():
    assert 0 < ask("write", writer(temperature="multiply", less=1)).score < 1


def test_the_estimated_guesses_are_those_of_a_language_whose_texts_can_all_be_listed():
    chances = {}
    for length in range(1, 7):
        for text in itertools.product((0.5, 0.2), repeat=length):  # a letter of two, or the end
            chances[len(chances)] = math.prod(text) * 0.3
    p = np.array(sorted(chances.values(), reverse=True))
    drawn = np.random.default_rng(0).choice(p, size=20_000, p=p / p.sum())
    log_p = math.log(p[60])
    assert guesses_by_where(log_p, np.log(drawn)) * p.sum() == pytest.approx(
        (p > p[60] * (1 + 1e-9)).sum(), rel=0.2)


STUBS = {
    "top_p_probs": lambda logits, temperature, top_p: ...,
    "write": lambda model, ids, steps, temperature, top_k, choose: ...,
    "greedy_misses": (None, None),
    "entropy_ends": lambda logits: None,
    "positions_computed": lambda prompt, new, window, use_cache: None,
    "line_loss": lambda model, tokenizer, line: None,
    "odd_one_out": lambda model, tokenizer, lines: None,
    "guesses_before": lambda log_p, sampled: None,
    "name_generator": (None, None, None, None, None),
}


@pytest.mark.parametrize(("name", "stub"), STUBS.items())
def test_a_stub_is_not_done_yet(name, stub):
    result = ask(name, stub)
    assert result.score == 0 and result.message.startswith("not done yet"), result.message
