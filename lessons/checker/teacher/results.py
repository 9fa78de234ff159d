"""What a grading finds: a record per student and exercise, and what is said of it in the terminal."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from lessons.checker import words
from lessons.checker.teacher.submissions import HandedIn

STATUSES = ("passed", "wrong", "not_started", "missing", "error")


@dataclass
class Record:
    """One student's result in one exercise.

    status: of STATUSES; "error" is no judgement but says that the teacher must look. score: 1 or 0; points:
    score times max_points. key, params: the diagnosis, the same in any language, and says its words; case:
    the smallest trial that shows it. hints_used, attempts, gave_up: what the student's own progress.json
    says, for information. left_out: (name, line) of statements that the code refers to and that were not
    run; imports: what it imports of this project beyond what it was given. sha256: of the code that ran.
    """

    student: str
    name: str
    exercise: str
    status: str = "missing"
    score: float = 0.0
    points: float = 0.0
    max_points: float = 0.0
    key: str | None = None
    says: str = ""
    params: dict[str, Any] = field(default_factory=dict)
    case: dict[str, Any] | None = None
    line: int | None = None
    seconds: float = 0.0
    hints_used: int | None = None
    attempts: int | None = None
    gave_up: bool | None = None
    left_out: list[tuple[str, int]] = field(default_factory=list)
    imports: list[str] = field(default_factory=list)
    sha256: str = ""
    version: str = ""


@dataclass
class Student:
    """One row of the tables: the records of one student, in the order of the exercises."""

    handed: HandedIn
    records: list[Record]
    seconds: float

    @property
    def points(self) -> float:
        return sum(record.points for record in self.records)


@dataclass
class Grading:
    """A whole class. exercises: name -> title and points; equal: functions that several students share."""

    secret: str
    language: str
    limit: float
    version: str
    exercises: dict[str, dict[str, Any]]
    students: list[Student] = field(default_factory=list)
    equal: list[dict[str, Any]] = field(default_factory=list)

    def add(self, handed: HandedIn, records: list[Record], seconds: float) -> None:
        self.students.append(Student(handed, records, seconds))

    def records(self) -> list[Record]:
        return [record for student in self.students for record in student.records]

    @property
    def most(self) -> float:
        """The points of all exercises."""
        return sum(each["points"] for each in self.exercises.values())

    def say(self, key: str, **params: Any) -> str:
        return words.say(f"grade_{key}", self.language, **params)


def titles_and_points(exercises: Sequence[str], language: str) -> dict[str, dict[str, Any]]:
    """Title and points of each exercise."""
    found = {}
    for exercise in exercises:
        about = words.catalogue(exercise)["exercise"]
        found[exercise] = {"title": about["title"][language], "points": about["points"]}
    return found


def student_lines(handed: HandedIn, records: Sequence[Record], seconds: float, language: str) -> str:
    """The lines of one student for the terminal."""
    passed = sum(record.status == "passed" for record in records)
    points, most = sum(r.points for r in records), sum(r.max_points for r in records)
    who = f"{handed.student} {handed.name}" if handed.name not in ("", handed.student) else handed.student
    numbers = {
        "passed": passed,
        "of": len(records),
        "points": points,
        "most": most,
        "seconds": f"{seconds:.1f}",
    }
    lines = [words.say("grade_student", language, who=who, **numbers)]
    lines += [words.say(line.key, language, **line.params) for line in handed.lines]
    missing = [record.exercise[:2] for record in records if record.status == "missing"]
    if missing and len(missing) == len(records):
        lines.append(words.say("grade_all_missing", language))
    elif missing:
        lines.append(words.say("grade_some_missing", language, names=missing))
    lines += [f"{r.exercise[:2]}: {r.says}" for r in records if r.status == "error"]
    for r in records:
        names = [f"{name} ({line})" for name, line in r.left_out]
        lines += [f"{r.exercise[:2]}: {words.say('grade_left_out', language, names=names)}"] if names else []
        if r.imports:
            lines.append(f"{r.exercise[:2]}: {words.say('grade_imports', language, names=r.imports)}")
    return "\n    ".join(lines)


def short_number(number: float) -> float | int:
    return int(number) if number == int(number) else number
