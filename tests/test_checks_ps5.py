"""Problem set 5's checks accept right answers in any style and name what is wrong with others."""

import itertools
import math
import zlib
from fractions import Fraction

import numpy as np
import pytest

from minigpt_helpers import SGD, Tensor, checks, cross_entropy_loss, evaluate, no_grad, softmax

# ---- 1: padding ---------------------------------------------------------------------------------


def log_softmax(z):
    z = np.asarray(z, dtype=float)
    z = z - z.max(axis=-1, keepdims=True)
    return z - np.log(np.exp(z).sum(axis=-1, keepdims=True))


def losses(logits, targets):
    return -np.take_along_axis(log_softmax(logits), targets[..., None], -1)[..., 0]


def padded_by_mask(logits, targets):
    mask = targets != -1
    return (losses(logits, targets) * mask).sum() / mask.sum()


def padded_by_loop(logits, targets):
    total, count = 0.0, 0
    for rows, ids in zip(logits.tolist(), targets.tolist()):
        for row, target in zip(rows, ids):
            if target == -1:
                continue
            m = max(row)
            total += m + math.log(sum(math.exp(z - m) for z in row)) - row[target]
            count += 1
    return total / count


def padded_by_lengths(logits, targets):
    lengths = (targets >= 0).sum(axis=1)
    parts = [losses(z, t)[:n] for z, t, n in zip(logits, targets, lengths)]
    return np.concatenate(parts).mean()


def padded_by_the_package(logits, targets):
    real = targets >= 0
    return cross_entropy_loss(Tensor(logits[real]), targets[real])


def padded_by_a_generator(logits, targets, padding=-1):
    def each():
        for b, t in np.ndindex(targets.shape):
            if targets[b, t] != padding:
                yield cross_entropy_loss(Tensor(logits[b, t]), targets[b, t]).item()

    found = list(each())
    return sum(found) / len(found)


def padded_naive(logits, targets):
    p = np.exp(logits) / np.exp(logits).sum(axis=-1, keepdims=True)
    return -np.log(np.take_along_axis(p, targets[..., None], -1)[..., 0])[targets >= 0].mean()


def padded_clipped(logits, targets):
    p = np.maximum(np.exp(log_softmax(logits)), 1e-12)
    return -np.log(np.take_along_axis(p, targets[..., None], -1)[..., 0])[targets >= 0].mean()


def padded_changes_its_input(logits, targets):
    targets[targets < 0] = 0
    return losses(logits, targets).mean()


def padded_as_the_first_row(z, t):
    """Takes every row to be as long as the first one."""
    t = np.where(np.arange(t.shape[1]) < (t[0] >= 0).sum(), t, -1)
    return losses(z, t)[t >= 0].mean()


def padded_row_means(logits, targets):
    return np.mean([losses(z, t)[t >= 0].mean() for z, t in zip(logits, targets)])


# ---- 2: the mended loop -------------------------------------------------------------------------


def steps_with_an_optimizer(model, windows, lr):
    optimizer, found = SGD(model.parameters(), lr), []
    for ids in windows:
        optimizer.zero_grad()
        loss = cross_entropy_loss(model(ids[:, :-1]), ids[:, 1:])
        loss.backward()
        optimizer.step()
        found.append(loss)
    return found


def steps_row_by_row(model, windows, lr):
    found = np.zeros(len(windows))
    for i, ids in enumerate(windows):
        for p in model.parameters():
            p.grad = np.zeros(p.shape)
        for row in ids.tolist():
            loss = cross_entropy_loss(model(row[:-1]), row[1:]) / len(ids)
            loss.backward()
            found[i] += loss.item()
        for p in model.parameters():
            p.data = p.data - lr * p.grad
    return found


def steps_one_after_the_other(model, windows, lr):
    for ids in windows:
        yield steps_with_an_optimizer(model, [ids], lr)[0].item()


def buggy_steps(shifted=True, summed=False, zero=True, sign=-1):
    def train_steps(model, windows, lr):
        found = []
        for ids in windows:
            x, y = ids[:, :-1], ids[:, 1:] if shifted else ids[:, :-1]
            loss = cross_entropy_loss(model(x), y)
            if summed:
                loss = loss * y.size
            if zero:
                for p in model.parameters():
                    p.grad = 0.0
            loss.backward()
            for p in model.parameters():
                p.data += sign * lr * p.grad
            found.append(loss.item())
        return found

    return train_steps


good_steps = buggy_steps()


def steps_zeroed_after(model, windows, lr):
    found = []
    for ids in windows:
        loss = cross_entropy_loss(model(ids[:, :-1]), ids[:, 1:])
        loss.backward()
        for p in model.parameters():
            p.data -= lr * p.grad
            p.grad = 0.0
        found.append(loss.item())
    return found


def steps_zeroed_too_early(model, windows, lr):
    found = []
    for ids in windows:
        loss = cross_entropy_loss(model(ids[:, :-1]), ids[:, 1:])
        loss.backward()
        for p in model.parameters():
            p.grad = 0.0
            p.data -= lr * p.grad
        found.append(loss.item())
    return found


def steps_shifted_the_other_way(model, windows, lr):
    return good_steps(model, [ids[:, ::-1] for ids in windows], lr)


def steps_losing_the_last_character(model, windows, lr):
    return good_steps(model, [ids[:, :-1] if ids.shape[1] > 2 else ids for ids in windows], lr)


# ---- 3: parts -----------------------------------------------------------------------------------


def parts(zero="once", step="once", weigh="rows", returns="mean", size=None):
    def step_in_parts(model, x, y, lr, rows_at_once):
        rows = size or rows_at_once
        starts = list(range(0, len(x), rows))
        found = []
        if zero == "once":
            for p in model.parameters():
                p.grad = 0.0
        for i in starts:
            part, targets = x[i : i + rows], y[i : i + rows]
            weight = {"rows": len(part) / len(x), "parts": 1 / len(starts), "none": 1}[weigh]
            loss = cross_entropy_loss(model(part), targets) * weight
            if zero == "each":
                for p in model.parameters():
                    p.grad = 0.0
            loss.backward()
            if step == "each":
                for p in model.parameters():
                    p.data -= lr * p.grad
            found.append(loss.item())
        if step == "once":
            for p in model.parameters():
                p.data -= lr * p.grad
        return {"mean": sum(found), "last": found[-1]}[returns]

    return step_in_parts


def parts_row_by_row(model, x, y, lr, rows_at_once):
    sums, total = [0.0 for _ in model.parameters()], 0.0
    for ids, targets in zip(x, y):
        for p in model.parameters():
            p.grad = 0.0
        loss = cross_entropy_loss(model(ids.tolist()), targets.tolist())
        loss.backward()
        sums = [s + p.grad for s, p in zip(sums, model.parameters())]
        total += loss.item()
    for s, p in zip(sums, model.parameters()):
        p.data = p.data - lr * s / len(x)
    return total / len(x)


def parts_with_sums(model, x, y, lr, rows_at_once):
    optimizer = SGD(model.parameters(), lr)
    optimizer.zero_grad()
    total = 0
    for piece in np.array_split(np.arange(len(x)), -(-len(x) // rows_at_once)):
        loss = cross_entropy_loss(model(x[piece]), y[piece]) * y[piece].size
        (loss / y.size).backward()
        total = loss.item() + total
    optimizer.step()
    return np.array(total / y.size)


def whole_batch(model, x, y, lr, rows_at_once):
    return parts(size=len(x))(model, x, y, lr, rows_at_once)


# ---- 6 and 7 ------------------------------------------------------------------------------------


def match_by_partition(complete, sums):
    def answer(a, b):
        return complete(f"{a:02}+{b:02}=").partition("\n")[0]

    return np.mean([answer(a, b) == str(a + b).zfill(3) for a, b in sums])


def match_by_characters(complete, sums):
    hits = 0
    for pair in sums:
        text, digits = complete("%02d+%02d=" % tuple(pair)), ""
        for char in text:
            if char == "\n":
                break
            digits += char
        hits = hits + 1 if digits == "%03d" % sum(pair) else hits
    return Fraction(hits, len(sums)).__float__()


def match(right, prompt="{:02d}+{:02d}="):
    def exact_match(complete, sums):
        return sum(right(complete(prompt.format(a, b)), a + b) for a, b in sums) / len(sums)

    return exact_match


def line(text):
    return text.split("\n")[0]


def bits_by_steps(model, ids):
    """Every character asked for on its own, from the characters of its block."""
    T, bits = model.max_seq_len, [math.log2(model.vocab_size)]
    for i in range(1, len(ids)):
        start = (i - 1) // T * T
        with no_grad():
            probs = softmax(model(ids[start:i])).data[-1]
        bits.append(-np.log2(probs[ids[i]]))
    return sum(bits) / len(bits)


def bits_by_blocks(model, ids, base=2, first=True, divide=0):
    ids, T = np.asarray(ids), model.max_seq_len
    nats = math.log(model.vocab_size) * first
    for x, y in zip(range(0, len(ids) - 1, T), range(1, len(ids), T)):
        targets = ids[y : y + T]
        loss = cross_entropy_loss(model(ids[x : x + len(targets)]), targets)
        nats += loss.item() * len(targets)
    return nats / (len(ids) - divide) / math.log(base)


def bits_without_the_tail(model, ids):
    return evaluate(model, ids, model.max_seq_len) / math.log(2)


def bits_of_full_blocks(model, ids):
    T = model.max_seq_len
    starts = [i for i in range(0, len(ids) - 1, T) if i + T + 1 <= len(ids)]
    nats = [math.log(model.vocab_size)]
    for i in starts:
        z = log_softmax(model(ids[i : i + T]).data)
        nats += [-z[t, ids[i + 1 + t]] for t in range(T)]
    return float(np.mean(nats) / math.log(2))


def bits_unshifted(model, ids):
    z = np.concatenate([log_softmax(model(ids[i : i + 5]).data) for i in range(0, len(ids), 5)])
    return -z[np.arange(len(ids)), ids].mean() / math.log(2)


def steps_by_search(num_tokens, block_size, batch_size):
    return next(s for s in itertools.count() if s * block_size * batch_size >= num_tokens)


def never_by_loop(num_tokens, block_size, windows):
    starts, missed = len(range(num_tokens - block_size)), 1
    for _ in range(windows):
        missed *= (starts - 1) / starts
    return missed


def too_long_by_running(t, beta1, beta2):
    m = v = 0
    for _ in range(t):
        m, v = beta1 * m + (1 - beta1) * 3, beta2 * v + (1 - beta2) * 9
    return m / v**0.5


TRAIN, VAL = "ab" * 12, "aabb" * 6
RIGHT = [
    ("padded_loss", padded_by_mask),
    ("padded_loss", padded_by_loop),
    ("padded_loss", padded_by_lengths),
    ("padded_loss", padded_by_the_package),
    ("padded_loss", padded_by_a_generator),
    ("padded_loss", lambda z, t: padded_by_mask(z.astype(np.float32), t).astype(np.float32)),
    ("train_steps", good_steps),
    ("train_steps", steps_with_an_optimizer),
    ("train_steps", steps_row_by_row),
    ("train_steps", steps_one_after_the_other),
    ("step_in_parts", parts()),
    ("step_in_parts", parts(size=1)),
    ("step_in_parts", parts_row_by_row),
    ("step_in_parts", parts_with_sums),
    ("steps_to_read", lambda n, t, b: math.ceil(n / (t * b))),
    ("steps_to_read", lambda n, t, b: float(np.ceil(n / t / b))),
    ("steps_to_read", steps_by_search),
    ("share_never_drawn", lambda n, t, w: (1 - 1 / (n - t)) ** w),
    ("share_never_drawn", lambda n, t, w: np.power(1 - 1 / np.float64(n - t), w)),
    ("share_never_drawn", never_by_loop),
    ("too_long_by", lambda t, a, b: (1 - a**t) / math.sqrt(1 - b**t)),
    ("too_long_by", lambda t, a, b: (1 - a**t) * np.sqrt(1 - b**t) / (1 - b**t)),
    ("too_long_by", too_long_by_running),
    ("lower_is_worse", (TRAIN, VAL, 0.01, 100)),
    ("lower_is_worse", ("abcd" * 5, "abdc" * 5, np.float64(1e-6), 1)),
    ("lower_is_worse", ("a" * 15 + "ä" * 15, "aä" * 15, 1e-3, np.array(10))),
    ("exact_match", match_by_partition),
    ("exact_match", match_by_characters),
    ("exact_match", match(lambda text, s: text.split("\n", 1)[0] == f"{s:03}")),
    ("bits_by_program", lambda text, press: len(press(text.encode())) * 8 / len(text)),
    ("bits_by_program", lambda text, press: 8 * len(press(bytes(text, "utf8"))) / len(list(text))),
    ("bits_by_model", bits_by_steps),
    ("bits_by_model", bits_by_blocks),
]

WRONG = [
    ("padded_loss", lambda z, t: losses(z, t).mean(), "last column"),
    ("padded_loss", lambda z, t: cross_entropy_loss(Tensor(z), t), "out of range"),
    ("padded_loss", lambda z, t: cross_entropy_loss(Tensor(z), np.maximum(t, 0)), "as character 0"),
    ("padded_loss", lambda z, t: (losses(z, t) * (t >= 0)).mean(), "You divide by all places"),
    ("padded_loss", padded_row_means, "character in a short row weighs more"),
    ("padded_loss", padded_as_the_first_row, "mean loss of those, and of no others"),
    ("padded_loss", lambda z, t: losses(z, t)[t >= 0].sum(), "That is the sum"),
    ("padded_loss", lambda z, t: losses(z, t)[t > 0].mean(), "A target of 0 is a real"),
    ("padded_loss", lambda z, t: -padded_by_mask(z, t), "The minus is missing"),
    ("padded_loss", lambda z, t: losses(z, t)[t >= 0], "Take their mean"),
    ("padded_loss", padded_naive, "exp overflows"),
    ("padded_loss", padded_clipped, "Stay with logarithms"),
    ("padded_loss", padded_changes_its_input, "changes its input"),
    ("padded_loss", lambda z, t: 1.2345, "expected"),
    *(("train_steps", buggy_steps(**dict(bugs)), hint) for bugs, hint in [
        ([("shifted", False)], "learns to repeat."),
        ([("summed", True)], "the loss is a sum"),
        ([("zero", False)], "earlier steps"),
        ([("sign", 1)], "up the slope"),
        ([("shifted", False), ("summed", True)], "learns to repeat"),
        ([("zero", False), ("sign", 1)], "up the slope"),
        ([("shifted", False), ("summed", True), ("zero", False), ("sign", 1)], "Still there"),
    ]),
    ("train_steps", steps_zeroed_after, "gradients of earlier steps"),
    ("train_steps", steps_zeroed_too_early, "Nothing moves"),
    ("train_steps", steps_shifted_the_other_way, "Targets one further on"),
    ("train_steps", steps_losing_the_last_character, "mean per character"),
    ("train_steps", lambda *a: good_steps(*a)[-1:], "one for each step"),
    ("train_steps", lambda *a: float(np.mean(good_steps(*a))), "one for each step"),
    ("step_in_parts", whole_batch, "rows at once"),
    ("step_in_parts", parts(zero="each"), "Only the last part"),
    ("step_in_parts", parts(zero="each", weigh="none"), "Only the last part"),
    ("step_in_parts", parts(zero="never"), "before you"),
    ("step_in_parts", parts(step="each", zero="each", weigh="none"), "a step after each part"),
    ("step_in_parts", parts(step="each"), "a step after each part"),
    ("step_in_parts", parts(weigh="none"), "too much"),
    ("step_in_parts", parts(weigh="parts"), "counts alike"),
    ("step_in_parts", parts(returns="last"), "expected"),
    ("steps_to_read", lambda n, t, b: n // (t * b), "Rounded down"),
    ("steps_to_read", lambda n, t, b: n // (t * b) + 1, "comes out even"),
    ("steps_to_read", lambda n, t, b: n / (t * b), "made or not made"),
    ("steps_to_read", lambda n, t, b: round(n / (t * b)), "Rounded"),
    ("steps_to_read", lambda n, t, b: math.ceil(n / t), "batch_size windows"),
    ("steps_to_read", lambda n, t, b: math.ceil(n / b), "block_size characters"),
    ("steps_to_read", lambda n, t, b: math.ceil((n - t) / b), "at every place"),
    ("steps_to_read", lambda n, t, b: 78, "expected"),
    ("share_never_drawn", lambda n, t, w: (1 - 1 / n) ** w, "Not every character"),
    ("share_never_drawn", lambda n, t, w: (1 - 1 / (n - t + 1)) ** w, "last target"),
    ("share_never_drawn", lambda n, t, w: 1 - (1 - 1 / (n - t)) ** w, "that was drawn"),
    ("share_never_drawn", lambda n, t, w: 1 - w / (n - t), "may come twice"),
    ("share_never_drawn", lambda n, t, w: math.exp(-w / (n - t)), "not exact"),
    ("share_never_drawn", lambda n, t, w: 0.3662, "expected"),
    ("too_long_by", lambda t, a, b: math.sqrt(1 - b**t) / (1 - a**t), "upside down"),
    ("too_long_by", lambda t, a, b: (1 - a**t) / (1 - b**t), "divides by its root"),
    ("too_long_by", lambda t, a, b: (1 - b**t) / math.sqrt(1 - a**t), "swapped"),
    ("too_long_by", lambda t, a, b: (1 - a) / math.sqrt(1 - b), "Let t take part"),
    ("too_long_by", lambda t, a, b: 1 - a**t, "m alone"),
    ("too_long_by", lambda t, a, b: 1.0, "not by the same factor"),
    ("too_long_by", lambda t, a, b: 10**0.5, "expected"),
    ("lower_is_worse", (TRAIN, VAL, 100, 0.01), "swap the two smoothings"),
    ("lower_is_worse", (TRAIN, TRAIN, 0.01, 100), "the two texts are the same"),
    ("lower_is_worse", (TRAIN, "ab" * 11 + "cd", 0.01, 100), "other characters"),
    ("lower_is_worse", (TRAIN[:8], VAL[:8], 0.01, 100), "too few"),
    ("lower_is_worse", (TRAIN, VAL, 0, 100), "above 0"),
    ("lower_is_worse", (TRAIN, VAL, float("nan"), 100), "above 0"),
    ("lower_is_worse", (TRAIN, "ba" * 12, 0.01, 100), "brings new pairs"),
    ("lower_is_worse", (TRAIN, VAL, 1.0, 1.001), "on train_text"),
    ("lower_is_worse", ([1, 2, 1, 2] * 6, VAL, 0.01, 100), "not a string"),
    ("exact_match", match(lambda text, s: text == f"{s:03d}\n"), "before the first line break"),
    ("exact_match", match(lambda text, s: text[:3] == f"{s:03d}"), "0420 is not 042"),
    ("exact_match", match(lambda text, s: text[:4] == f"{s:03d}\n"), "without a line break"),
    ("exact_match", match(lambda text, s: f"{s:03d}" in text), "somewhere"),
    ("exact_match", match(lambda text, s: line(text).isdecimal() and int(line(text)) == s), "42"),
    ("exact_match", match(lambda text, s: int(line(text)) == s), "Compare as text"),
    ("exact_match", match(lambda text, s: line(text.strip()) == f"{s:03d}"), "empty answer"),
    ("exact_match", match(lambda text, s: line(text).strip() == f"{s:03d}"), "a blank before"),
    ("exact_match", match(lambda text, s: line(text) == str(s)), "expected"),
    ("exact_match", match(lambda text, s: line(text) == f"{s:03d}", "{}+{}="), "Two digits"),
    ("exact_match", match(lambda text, s: line(text) == f"{s:03d}", "{:02d}+{:02d}"), "sign ="),
    ("exact_match", lambda complete, sums: 100 * match_by_partition(complete, sums), "percent"),
    ("exact_match", lambda complete, sums: 1 - match_by_partition(complete, sums), "wrong answers"),
    ("exact_match", lambda complete, sums: match_by_partition(complete, set(sums)), "counts twice"),
    ("exact_match", lambda complete, sums: 0.99, "expected"),
    ("bits_by_program", lambda text, press: len(press(text.encode())) / len(text), "8 bits"),
    ("bits_by_program", lambda text, press: 8 * len(press(text.encode())) / len(text.encode()),
     "two bytes"),
    ("bits_by_program", lambda text, press: len(text) / len(press(text.encode())) / 8, "upside"),
    ("bits_by_program", lambda text, press: 8 * len(zlib.compress(text.encode())) / len(text),
     "that you are given"),
    ("bits_by_program", lambda text, press: 8 * len(press(text.encode())), "whole text"),
    ("bits_by_program", lambda text, press: 8 * len(press(text.encode("latin-1"))) / len(text),
     "those of UTF-8"),
    ("bits_by_program", lambda text, press: 8 * len(press(text)) / len(text), "TypeError"),
    ("bits_by_model", lambda model, ids: bits_by_blocks(model, ids, base=math.e), "in nats"),
    ("bits_by_model", lambda model, ids: bits_by_blocks(model, ids, first=False), "costs"),
    ("bits_by_model", lambda model, ids: bits_by_blocks(model, ids, first=False, divide=1),
     "first character"),
    ("bits_by_model", lambda model, ids: bits_by_blocks(model, ids, divide=1), "not N - 1"),
    ("bits_by_model", bits_without_the_tail, "and the end of the text are missing"),
    ("bits_by_model", bits_of_full_blocks, "The end of the text is missing"),
    ("bits_by_model", bits_unshifted, "Row t says"),
    ("bits_by_model", lambda model, ids: math.log2(model.vocab_size), "Ask the model"),
]


def ask(name, answer, seed=0):
    given = answer if name == "lower_is_worse" else (answer,)
    return getattr(checks, f"ps5_{name}")(*given, seed=seed)


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


def test_the_loop_with_all_four_bugs_earns_nothing():
    assert ask("train_steps", buggy_steps(False, True, False, 1)).score == 0


def test_the_whole_batch_at_once_earns_little():
    assert ask("step_in_parts", whole_batch).score < 0.3


def test_a_loop_that_is_half_mended_earns_a_part():
    assert 0 < ask("train_steps", buggy_steps(zero=False, sign=1)).score < 1


STUBS = {
    "padded_loss": lambda logits, targets: ...,
    "train_steps": lambda model, windows, lr: ...,
    "step_in_parts": lambda model, x, y, lr, rows_at_once: None,
    "steps_to_read": lambda num_tokens, block_size, batch_size: None,
    "share_never_drawn": lambda num_tokens, block_size, windows: None,
    "too_long_by": lambda t, beta1, beta2: None,
    "lower_is_worse": (None, None, None, None),
    "exact_match": lambda complete, sums: None,
    "bits_by_program": lambda text, compress: ...,
    "bits_by_model": lambda model, ids: None,
}


@pytest.mark.parametrize(("name", "stub"), STUBS.items())
def test_a_stub_is_not_done_yet(name, stub):
    result = ask(name, stub)
    assert result.score == 0 and result.message.startswith("not done yet"), result.message


def test_every_check_of_the_set_is_tested_here():
    names = {entry.name.removeprefix("ps5_") for entry in checks.catalogue("ps5")}
    assert names == set(STUBS)
    for name in names:
        assert sum(case[0] == name for case in RIGHT) >= 2, name
        assert sum(case[0] == name for case in WRONG) >= 4, name
