"""Answers to problem set 5."""

import itertools
import math
from fractions import Fraction

import numpy as np

from minigpt_helpers import SGD, Tensor, cross_entropy_loss, no_grad, softmax

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


def padded_changes_its_input(logits, targets):
    targets[targets < 0] = 0
    return losses(logits, targets).mean()


def padded_as_the_first_row(z, t):
    """Takes every row to be as long as the first one."""
    t = np.where(np.arange(t.shape[1]) < (t[0] >= 0).sum(), t, -1)
    return losses(z, t)[t >= 0].mean()


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


def steps_shifted_the_other_way(model, windows, lr):
    return good_steps(model, [ids[:, ::-1] for ids in windows], lr)


def steps_losing_the_last_character(model, windows, lr):
    return good_steps(model, [ids[:, :-1] if ids.shape[1] > 2 else ids for ids in windows], lr)


def steps_up_and_zeroed_after(model, windows, lr):
    found = []
    for ids in windows:
        loss = cross_entropy_loss(model(ids[:, :-1]), ids[:, 1:])
        loss.backward()
        for p in model.parameters():
            p.data = p.data + lr * p.grad
            p.grad = 0.0
        found.append(loss.item())
    return found


def steps_that_change_the_ids(model, windows, lr):
    found = good_steps(model, windows, lr)
    for ids in windows:
        ids[:, -1] = 0
    return found


def steps_without_return(model, windows, lr):
    good_steps(model, windows, lr)


# ---- 3: parts -----------------------------------------------------------------------------------


def parts(size=None):
    def step_in_parts(model, x, y, lr, rows_at_once):
        rows, total = size or rows_at_once, 0.0
        for p in model.parameters():
            p.grad = 0.0
        for i in range(0, len(x), rows):
            part, targets = x[i : i + rows], y[i : i + rows]
            loss = cross_entropy_loss(model(part), targets) * (len(part) / len(x))
            loss.backward()
            total += loss.item()
        for p in model.parameters():
            p.data -= lr * p.grad
        return total

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


def bits_by_blocks(model, ids):
    ids, T = np.asarray(ids), model.max_seq_len
    nats = math.log(model.vocab_size)
    for x, y in zip(range(0, len(ids) - 1, T), range(1, len(ids), T)):
        targets = ids[y : y + T]
        loss = cross_entropy_loss(model(ids[x : x + len(targets)]), targets)
        nats += loss.item() * len(targets)
    return nats / len(ids) / math.log(2)


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
    ("ps5_padded_loss", padded_by_mask),
    ("ps5_padded_loss", padded_by_loop),
    ("ps5_padded_loss", padded_by_lengths),
    ("ps5_padded_loss", padded_by_the_package),
    ("ps5_padded_loss", padded_by_a_generator),
    ("ps5_padded_loss", lambda z, t: padded_by_mask(z.astype(np.float32), t).astype(np.float32)),
    ("ps5_train_steps", good_steps),
    ("ps5_train_steps", steps_with_an_optimizer),
    ("ps5_train_steps", steps_row_by_row),
    ("ps5_train_steps", steps_one_after_the_other),
    ("ps5_step_in_parts", parts()),
    ("ps5_step_in_parts", parts(size=1)),
    ("ps5_step_in_parts", parts_row_by_row),
    ("ps5_step_in_parts", parts_with_sums),
    ("ps5_steps_to_read", lambda n, t, b: math.ceil(n / (t * b))),
    ("ps5_steps_to_read", lambda n, t, b: float(np.ceil(n / t / b))),
    ("ps5_steps_to_read", steps_by_search),
    ("ps5_share_never_drawn", lambda n, t, w: (1 - 1 / (n - t)) ** w),
    ("ps5_share_never_drawn", lambda n, t, w: np.power(1 - 1 / np.float64(n - t), w)),
    ("ps5_share_never_drawn", never_by_loop),
    ("ps5_too_long_by", lambda t, a, b: (1 - a**t) / math.sqrt(1 - b**t)),
    ("ps5_too_long_by", lambda t, a, b: (1 - a**t) * np.sqrt(1 - b**t) / (1 - b**t)),
    ("ps5_too_long_by", too_long_by_running),
    ("ps5_lower_is_worse", (TRAIN, VAL, 0.01, 100)),
    ("ps5_lower_is_worse", ("abcd" * 5, "abdc" * 5, np.float64(1e-6), 1)),
    ("ps5_lower_is_worse", ("a" * 15 + "ä" * 15, "aä" * 15, 1e-3, np.array(10))),
    ("ps5_exact_match", match_by_partition),
    ("ps5_exact_match", match_by_characters),
    ("ps5_exact_match", match(lambda text, s: text.split("\n", 1)[0] == f"{s:03}")),
    ("ps5_bits_by_program", lambda text, press: len(press(text.encode())) * 8 / len(text)),
    ("ps5_bits_by_program", lambda text, press: 8 * len(press(bytes(text, "utf8"))) / len(list(text))),
    ("ps5_bits_by_model", bits_by_steps),
    ("ps5_bits_by_model", bits_by_blocks),
]

WRONG = [
    ("ps5_padded_loss", lambda z, t: cross_entropy_loss(Tensor(z), t), "out of range"),
    ("ps5_padded_loss", padded_as_the_first_row, "mean loss of those, and of no others"),
    ("ps5_padded_loss", padded_changes_its_input, "changes its input"),
    ("ps5_padded_loss", lambda z, t: 1.2345, "expected"),
    ("ps5_train_steps", buggy_steps(shifted=False, summed=True), "(?s)learns to repeat.*is a sum"),
    ("ps5_train_steps", buggy_steps(zero=False, sign=1), "(?s)earlier steps.*up the slope"),
    ("ps5_train_steps", buggy_steps(False, True, True, 1), "(?s)repeat.*is a sum.*up the slope"),
    ("ps5_train_steps", buggy_steps(True, True, False, 1), "(?s)is a sum.*earlier.*up the slope"),
    ("ps5_train_steps", steps_up_and_zeroed_after, "(?s)up the slope.*to 0 after the step"),
    ("ps5_train_steps", steps_shifted_the_other_way, "targets one further on"),
    ("ps5_train_steps", steps_losing_the_last_character, "mean loss"),
    ("ps5_train_steps", steps_that_change_the_ids, "(?s)changes the ids.*on a copy"),
    ("ps5_train_steps", steps_without_return, "is a `return` missing"),
    ("ps5_step_in_parts", parts(size=9), "rows at once"),
    ("ps5_step_in_parts", lambda model, x, y, lr, rows: 1.6, "never called"),
    ("ps5_steps_to_read", lambda n, t, b: 78, "expected"),
    ("ps5_share_never_drawn", lambda n, t, w: 0.3662, "expected"),
    ("ps5_too_long_by", lambda t, a, b: 10**0.5, "expected"),
    ("ps5_lower_is_worse", (TRAIN, VAL, 100, 0.01), "swap the two smoothings"),
    ("ps5_lower_is_worse", (TRAIN, TRAIN, 0.01, 100), "the two texts are the same"),
    ("ps5_lower_is_worse", (TRAIN, "ab" * 11 + "cd", 0.01, 100), "other characters"),
    ("ps5_lower_is_worse", (TRAIN[:8], VAL[:8], 0.01, 100), "too few"),
    ("ps5_lower_is_worse", (TRAIN, VAL, 0, 100), "above 0"),
    ("ps5_lower_is_worse", (TRAIN, VAL, float("nan"), 100), "above 0"),
    ("ps5_lower_is_worse", (TRAIN, "ba" * 12, 0.01, 100), "brings new pairs"),
    ("ps5_lower_is_worse", (TRAIN, VAL, 1.0, 1.001), "on train_text"),
    ("ps5_lower_is_worse", ([1, 2, 1, 2] * 6, VAL, 0.01, 100), "not a string"),
    ("ps5_exact_match", match(lambda text, s: text.split()[0] == f"{s:03d}"),
     "before the first line break"),
    ("ps5_exact_match", match(lambda text, s: line(text) == f"{s:03d}", "{:02d} + {:02d} ="),
     "it knows questions such as"),
    ("ps5_exact_match", lambda complete, sums: 0.99, "expected"),
    ("ps5_bits_by_program", lambda text, press: 8 * len(press(text.encode())) / 300, "8 bits a byte"),
    ("ps5_bits_by_model", lambda model, ids: 2.5, "log2 V for the first"),
]
