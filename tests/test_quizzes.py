"""The quizzes: ten questions a lesson, one right answer each, in a form that Moodle and Canvas import."""

from __future__ import annotations

import zipfile
from xml.etree import ElementTree as ET

import pytest

from tools.launcher.project import here
from tools.teaching import quizzes

SOURCES = sorted((here().root / "docs" / "quizzes").glob("*.gift"))
QTI = {"q": quizzes.QTI}


def test_each_lesson_has_a_quiz():
    lessons = [path.stem for path in here().notebooks.glob("0*.ipynb")]
    assert [path.stem for path in SOURCES] == sorted(lessons)


@pytest.mark.parametrize("source", SOURCES, ids=lambda path: path.stem)
def test_ten_questions_with_four_answers_and_one_right(source):
    text = source.read_text(encoding="utf-8")
    found = quizzes.questions(text)
    assert len(found) == 10 == text.count("::Lesson")
    for question in found:
        assert len(set(question.answers)) == 4
        assert question.text.endswith((".", "?"))
    assert len({question.right for question in found}) > 2  # not always at the same place


@pytest.mark.parametrize("source", SOURCES, ids=lambda path: path.stem)
def test_the_archive_for_canvas_holds_the_same_questions(source, tmp_path):
    one, two = (quizzes.write(source, tmp_path / name) for name in "ab")
    assert one.read_bytes() == two.read_bytes()
    with zipfile.ZipFile(one) as archive:
        manifest = ET.fromstring(archive.read("imsmanifest.xml"))
        [file] = manifest.iter(f"{{{quizzes.PACKAGE}}}file")
        quiz = ET.fromstring(archive.read(file.get("href")))
    items = quiz.findall(".//q:item", QTI)
    for item, question in zip(items, quizzes.questions(source.read_text(encoding="utf-8")), strict=True):
        assert item.find("q:presentation/q:material/q:mattext", QTI).text == question.text
        labels = {label.get("ident"): label.find(".//q:mattext", QTI).text
                  for label in item.findall(".//q:response_label", QTI)}
        assert list(labels.values()) == question.answers
        right = item.find(".//q:varequal", QTI).text
        assert labels[right] == question.answers[question.right]


def test_signs_of_gift_are_read_and_two_right_answers_refused():
    [question] = quizzes.questions("::A:: What is a \\{b\\} \\= c? {\n\t=x \\~ y\n\t~z\n}\n")
    assert (question.text, question.answers) == ("What is a {b} = c?", ["x ~ y", "z"])
    for answers, said in {
        "=x =y": "one answer with =",
        "=1/4 ~2 ~0.25": "two of its answers are equal",
        "=x#y ~z": r"write \\# for #",
        "=a:b ~z": r"write \\: for :",
    }.items():
        with pytest.raises(ValueError, match=said):
            quizzes.questions("::A:: b? {\n\t" + "\n\t".join(answers.split()) + "\n}\n")
