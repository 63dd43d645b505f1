"""Ten questions a lesson, for Canvas: ``python -m tools.teaching.quizzes FOLDER``.

The questions are written in Moodle's GIFT format (`docs/quizzes/*.gift`), which Moodle imports as it
is. Canvas imports QTI 1.2 in a zip archive: one is made of each file. The same questions give the
same bytes.
"""

from __future__ import annotations

import re
import sys
import zipfile
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from xml.etree import ElementTree as ET

from tools.launcher.project import here

TIME = (2000, 1, 1, 0, 0, 0)
QTI = "http://www.imsglobal.org/xsd/ims_qtiasiv1p2"
PACKAGE = "http://www.imsglobal.org/xsd/imsccv1p1/imscp_v1p1"
QUESTION = re.compile(
    r"::(?P<title>.+?)::\s*(?P<text>.+?)\s*(?<!\\)\{\n(?P<answers>.+?)\n\}", re.DOTALL
)

SIGN = re.compile(r"(?<!\\)[~=#{}:]")  # Moodle's own


@dataclass
class Question:
    """One question with a single right answer; `answers` in the order in which they are shown."""

    title: str
    text: str
    answers: list[str]
    right: int


def questions(gift: str) -> list[Question]:
    """The questions of a GIFT file.

    Raises ValueError where one has not just one right answer, has two equal ones, or a sign that
    Moodle would read as its own.
    """
    gift = re.sub(r"^//.*\n", "", gift, flags=re.MULTILINE)
    found = []
    for match in QUESTION.finditer(gift):
        lines = [line.strip() for line in match["answers"].splitlines()]
        right = [number for number, line in enumerate(lines) if line.startswith("=")]
        if len(right) != 1 or not all(line.startswith(("=", "~")) for line in lines):
            raise ValueError(f"{match['title']}: there must be one answer with = and others with ~")
        for words in (match["text"], *(line[1:] for line in lines)):
            if found_sign := SIGN.search(words):
                raise ValueError(
                    f"{match['title']}: write \\{found_sign[0]} for {found_sign[0]} in {words!r}"
                )
        answers = [plain(line[1:]) for line in lines]
        if len(set(map(value, answers))) < len(answers):
            raise ValueError(f"{match['title']}: two of its answers are equal: {answers}")
        found.append(Question(plain(match["title"]), plain(match["text"]), answers, right[0]))
    return found


def value(answer: str) -> object:
    """What an answer says: 1/4 and 0.25 are one number."""
    try:
        return Fraction(answer.replace(",", ""))
    except (ValueError, ZeroDivisionError):
        return answer


def plain(text: str) -> str:
    return re.sub(r"\\(.)", r"\1", text.strip())


def qti(name: str, title: str, several: list[Question]) -> bytes:
    """A quiz as QTI 1.2: multiple choice, one point each."""
    root = ET.Element("questestinterop", xmlns=QTI)
    assessment = ET.SubElement(root, "assessment", ident=name, title=title)
    section = ET.SubElement(assessment, "section", ident="root_section")
    for number, question in enumerate(several, start=1):
        item = ET.SubElement(section, "item", ident=f"{name}_{number}", title=question.title)
        fields = ET.SubElement(ET.SubElement(item, "itemmetadata"), "qtimetadata")
        for label, entry in [
            ("question_type", "multiple_choice_question"),
            ("points_possible", "1"),
        ]:
            field = ET.SubElement(fields, "qtimetadatafield")
            ET.SubElement(field, "fieldlabel").text = label
            ET.SubElement(field, "fieldentry").text = entry
        shown = ET.SubElement(item, "presentation")
        material(shown, question.text)
        response = ET.SubElement(shown, "response_lid", ident="response1", rcardinality="Single")
        choices = ET.SubElement(response, "render_choice")
        for place, answer in enumerate(question.answers):
            label = ET.SubElement(choices, "response_label", ident=f"{number}{place}")
            material(label, answer)
        scoring = ET.SubElement(item, "resprocessing")
        outcomes = ET.SubElement(scoring, "outcomes")
        ET.SubElement(
            outcomes, "decvar", maxvalue="100", minvalue="0", varname="SCORE", vartype="Decimal"
        )
        rule = ET.SubElement(scoring, "respcondition", {"continue": "No"})
        equal = ET.SubElement(
            ET.SubElement(rule, "conditionvar"), "varequal", respident="response1"
        )
        equal.text = f"{number}{question.right}"
        ET.SubElement(rule, "setvar", action="Set", varname="SCORE").text = "100"
    return document(root)


def material(parent: ET.Element, text: str) -> None:
    ET.SubElement(ET.SubElement(parent, "material"), "mattext", texttype="text/plain").text = text


def document(root: ET.Element) -> bytes:
    return ET.tostring(root, encoding="utf-8", xml_declaration=True)


def manifest(name: str) -> bytes:
    root = ET.Element("manifest", identifier=f"{name}_manifest", xmlns=PACKAGE)
    about = ET.SubElement(root, "metadata")
    ET.SubElement(about, "schema").text = "IMS Content"
    ET.SubElement(about, "schemaversion").text = "1.1.3"
    ET.SubElement(root, "organizations")
    resources = ET.SubElement(root, "resources")
    resource = ET.SubElement(resources, "resource", identifier=name, type="imsqti_xmlv1p2")
    ET.SubElement(resource, "file", href=f"{name}/{name}.xml")
    return document(root)


def write(source: Path, folder: Path) -> Path:
    """Make the archive for Canvas of one GIFT file."""
    name = f"quiz_{source.stem}"
    title = f"Mini-GPT, lesson {int(source.stem[:2])}"
    several = questions(source.read_text(encoding="utf-8"))
    folder.mkdir(parents=True, exist_ok=True)
    target = folder / f"{name}.zip"
    with zipfile.ZipFile(target, "w") as archive:
        for path, data in [
            ("imsmanifest.xml", manifest(name)),
            (f"{name}/{name}.xml", qti(name, title, several)),
        ]:
            archive.writestr(zipfile.ZipInfo(path, TIME), data)
    return target


def main(words: list[str]) -> int:
    folder = Path(words[0]) if words else here().root / "build" / "quizzes"
    for source in sorted((here().root / "docs" / "quizzes").glob("*.gift")):
        print(f"Written: {write(source, folder)}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
