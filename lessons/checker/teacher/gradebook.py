"""What a grading has found as files for others: tables, JSON, JUnit's XML, a page.

docs/teaching.md describes them. Nothing that a student wrote gets into one of them unescaped.
"""

import csv
import io
import json
import re
import xml.etree.ElementTree as XML
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

from lessons.checker import words
from lessons.checker.teacher import class_page
from lessons.checker.teacher.results import Grading, Record, Student, short_number
from zero_ref.launch import printable
from zero_ref.launch.files import replacing

FORMATS = ("csv", "json", "junit", "html")


def write(grading: Grading, out: Path, formats: Sequence[str]) -> list[str]:
    """Write the files into `out`; their names."""
    out.mkdir(parents=True, exist_ok=True)
    texts: dict[str, str] = {}
    if "csv" in formats:
        texts |= {"grades.csv": per_student(grading), "records.csv": per_record(grading)}
    if "json" in formats:
        texts["results.json"] = json_text(results_json(grading), 1)
        for folder, student in name_folders(grading).items():
            texts[f"students/{folder}/check_result.json"] = json_text(check_result(student), 2)
    if "junit" in formats:
        texts["junit.xml"] = junit(grading)
    if "html" in formats:
        texts["class.html"] = class_page.page(grading)
    for name, text in texts.items():
        (out / name).parent.mkdir(parents=True, exist_ok=True)
        with replacing(out / name) as part:
            Path(part).write_bytes(text.encode("utf-8", "replace"))
    return [name for name in texts if "/" not in name] + (["students/"] if "json" in formats else [])


def name_folders(grading: Grading) -> dict[str, Student]:
    """A name that any file system takes -> student."""
    found: dict[str, Student] = {}
    for student in grading.students:
        plain = re.sub(r"[^\w()-]+", "_", student.handed.student)[:60].strip("_") or "student"
        name, number = plain, 2
        while name.lower() in (used.lower() for used in found):
            name, number = f"{plain}_{number}", number + 1
        found[name] = student
    return found


# Tables


def make_harmless(cell: Any) -> Any:
    """A text that a spreadsheet would take for a formula gets an apostrophe before it; all is visible."""
    cell = printable(cell) if isinstance(cell, str) else cell
    if isinstance(cell, str) and cell.lstrip()[:1] in tuple("=+-@\uff1d\uff0b\uff0d\uff20"):
        return "'" + cell
    return "" if cell is None else cell


def table(head: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    """CSV as spreadsheets read it on any system: with a mark that says UTF-8."""
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(head)
    writer.writerows([make_harmless(cell) for cell in row] for row in rows)
    return "\ufeff" + text.getvalue()


def per_student(grading: Grading) -> str:
    """grades.csv: a row per student, the points per exercise."""
    head = ["student", "name", *grading.exercises, "total", "max"]
    rows = []
    for each in grading.students:
        points = [short_number(record.points) for record in each.records]
        rows.append(
            [
                each.handed.student,
                each.handed.name,
                *points,
                short_number(each.points),
                short_number(grading.most),
            ]
        )
    return table(head, rows)


def per_record(grading: Grading) -> str:
    """records.csv: a row per student and exercise."""
    names = [each.name for each in fields(Record)]
    rows = [[to_cell(getattr(record, name)) for name in names] for record in grading.records()]
    return table(names, rows)


def to_cell(value: Any) -> Any:
    """A field of a record for a cell."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, dict | list):
        return json.dumps(value, ensure_ascii=False) if value else ""
    return short_number(value) if isinstance(value, float) else value


# JSON


def json_text(value: Any, indent: int) -> str:
    """JSON that can be shown in a terminal: what cannot be printed is escaped."""
    text = json.dumps(value, indent=indent, ensure_ascii=False)
    return "".join(c if c.isprintable() or c == "\n" else json.dumps(c)[1:-1] for c in text) + "\n"


def results_json(grading: Grading) -> dict[str, Any]:
    """results.json: all there is, and what is needed to do it again."""
    students = [
        {
            "student": each.handed.student,
            "name": each.handed.name,
            "source": each.handed.source,
            "points": each.points,
            "seconds": round(each.seconds, 2),
            "remarks": [
                {"key": line.key, "says": words.say(line.key, grading.language, **line.params)}
                for line in each.handed.lines
            ],
        }
        for each in grading.students
    ]
    return {
        "format": 1,
        "version": grading.version,
        "secret": grading.secret,
        "limit": grading.limit,
        "language": grading.language,
        "exercises": grading.exercises,
        "students": students,
        "records": [asdict(record) for record in grading.records()],
        "equal": grading.equal,
    }


def check_result(student: Student) -> dict[str, Any]:
    """check_result.json: what training camps' rankings read, with "total_exercations" spelled as theirs."""
    results = [{"name": r.exercise, "result": r.status == "passed"} for r in student.records]
    passed = sum(each["result"] for each in results)
    return {
        "exercises": results,
        "user_name": student.handed.student,
        "statistics": {
            "total_exercations": len(results),
            "total_succeeds": passed,
            "total_failures": len(results) - passed,
            "total_time": round(student.seconds),  # whole seconds: their programs read an integer
        },
    }


# XML


def junit(grading: Grading) -> str:
    """junit.xml: a test suite per student, a test per exercise."""
    root = XML.Element("testsuites", name="zero_ref")
    for student in grading.students:
        counts = Counter(record.status for record in student.records)
        suite = XML.SubElement(
            root,
            "testsuite",
            name=words.replace_illegal(printable(student.handed.student)),
            tests=str(len(student.records)),
            failures=str(counts["wrong"]),
            errors=str(counts["error"]),
            skipped=str(counts["missing"] + counts["not_started"]),
            time=f"{student.seconds:.2f}",
        )
        for record in student.records:
            test = XML.SubElement(suite, "testcase", name=record.exercise, time=f"{record.seconds:.2f}")
            test.set("classname", words.replace_illegal(printable(student.handed.student)))
            kind = {"wrong": "failure", "error": "error", "missing": "skipped", "not_started": "skipped"}
            if record.status in kind:
                inner = XML.SubElement(
                    test, kind[record.status], message=words.replace_illegal(printable(record.says))
                )
                if record.status in ("wrong", "error"):
                    inner.set("type", record.key or record.status)
    XML.indent(root)
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + XML.tostring(root, encoding="unicode") + "\n"
