"""The project's own sets are graded: solutions, sets that nobody has touched, odd answers."""

from __future__ import annotations

import re
import shutil

import nbformat

from test_grading import cell, grade, table
from tools.launcher.project import here
from tools.teaching import problems

BY_GLOBAL_RANDOM = """\
import random

def generate(model, start_ids, max_new_tokens, temperature=1.0):
    ids = list(start_ids)
    for _ in range(max_new_tokens):
        z = to_array(model(ids[-model.max_seq_len:]))[-1]
        if temperature == 0:
            ids.append(int(z.argmax()))
            continue
        p = np.exp((z - z.max()) / temperature)
        ids += random.choices(range(len(p)), weights=p)
    return ids"""


def test_the_global_generators_that_a_notebook_draws_from_are_seeded(tmp_path):
    """They live in the notebook's process, and the check that asks twice in another one."""
    notebook = nbformat.read(here().notebooks / "problems" / "ps7_capstone.ipynb", as_version=4)
    cell(notebook, "generate-solution").source = BY_GLOBAL_RANDOM
    (tmp_path / "in").mkdir()
    nbformat.write(notebook, tmp_path / "in" / "ada_ps7_capstone.ipynb")
    done = grade(tmp_path / "in", "--out", tmp_path / "out")
    assert done.returncode == 0, done.stdout + done.stderr
    points = {row["problem"]: row["score"] for row in table(tmp_path / "out" / "problems.csv")}
    assert float(points["generate-test"]) == 3


def test_solutions_have_all_points_and_untouched_sets_none(tmp_path):
    own = here().notebooks
    folder, out = tmp_path / "in", tmp_path / "out"
    shutil.copytree(own / "solutions", folder / "solved")
    shutil.copytree(own / "problems", folder / "untouched")
    done = grade(folder, "--out", out)
    assert done.returncode == 0, done.stdout + done.stderr
    rows = table(out / "scores.csv")
    assert len(rows) == 2 * len(list((own / "solutions").glob("*.ipynb"))) >= 14
    for row in rows:
        most, open_most = float(row["max_score"]), float(row["open_max_score"])
        assert most >= 20 and open_most > 0
        solved = row["student"] == "solved"
        assert float(row["score"]) == (most if solved else 0), row
        assert float(row["open_waiting"]) == (open_most if solved else 0), row
        solution = nbformat.read(own / "solutions" / f"{row['set']}.ipynb", as_version=4)
        html = (out / row["feedback"]).read_text(encoding="utf-8")
        for seed in problems.seeds(solution):
            assert not re.search(rf"seed\W+{seed}\b", html)
        problem_count = sum(
            line["set"] == row["set"] and line["student"] == "untouched"
            for line in table(out / "problems.csv")
        )
        assert 5 <= problem_count <= 12
