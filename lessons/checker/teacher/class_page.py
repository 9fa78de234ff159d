"""class.html: who stands where, what to teach again, who needs what. One file that asks for nothing else.

Nothing that a student wrote gets into it unescaped; names and texts are theirs.
"""

from collections import Counter
from collections.abc import Sequence
from html import escape as escape_html
from pathlib import Path

from lessons.checker import words
from lessons.checker.teacher.results import STATUSES, Grading, Record, Student, short_number
from zero_ref.launch import printable
from zero_ref.launch.singular import Text


def escape(text: str) -> str:
    """Text as a page can hold it: nothing of it is a tag, and its control characters are shown as text."""
    return escape_html(printable(text))


def page(grading: Grading) -> str:
    """The whole page."""
    say = grading.say
    style = Path(__file__).with_name("class.css").read_text(encoding="utf-8")
    title = say("page_title", students=len(grading.students), exercises=len(grading.exercises))
    lang = "zh-CN" if grading.language == "zh" else "en"
    parts = [
        f'<!doctype html>\n<html lang="{lang}">\n<head>\n<meta charset="utf-8">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        f"<title>{escape(title)}</title>\n<style>{style}</style>\n</head>\n<body>",
        f"<h1>{escape(title)}</h1>",
        f"<p>{escape(summary(grading))}</p>",
        *grid_table(grading),
        *exercises_table(grading),
        *results_table(grading),
        *equal_functions(grading),
        f'<p class="soft" style="margin-top:56px">{escape(say("page_end", version=grading.version))}</p>',
        "</body>\n</html>\n",
    ]
    return "\n".join(parts)


def summary(grading: Grading) -> str:
    """The class in one sentence."""
    counts = Counter(record.status for record in grading.records())
    return grading.say("page_summary", **{status: counts[status] for status in STATUSES})


def status_letter(grading: Grading, status: str, about: str = "") -> str:
    """A status as a letter on its colour; `about` is for who points at it or listens."""
    word = grading.say(status + "_word")
    title = escape(f"{word}: {about}" if about else word)
    return (
        f'<span class="letter {status}" title="{title}" aria-label="{title}" role="img">'
        f"{escape(grading.say('letter_' + status))}</span>"
    )


def grid_table(grading: Grading) -> list[str]:
    """Students and exercises."""
    heads = "".join(
        f'<th scope="col" title="{escape(about["title"])}">{name[:2]}</th>'
        for name, about in grading.exercises.items()
    )
    lines = [
        '<div class="wide"><table id="grid">',
        f'<thead><tr><th scope="col">{escape(grading.say("who"))}</th>',
    ]
    lines += [
        f'{heads}<th scope="col" class="number">{escape(grading.say("points"))}</th></tr></thead><tbody>'
    ]
    for each in grading.students:
        letters = [
            status_letter(grading, r.status, r.says if r.status != "missing" else "") for r in each.records
        ]
        cells = "".join(f'<td class="cell">{letter}</td>' for letter in letters)
        points = f"{short_number(each.points)} / {short_number(grading.most)}"
        lines.append(
            f'<tr><th scope="row">{student_name(each)}</th>{cells}<td class="number">{points}</td></tr>'
        )
    legend = "".join(
        f"<li>{status_letter(grading, s)} {escape(grading.say(s + '_word'))}</li>" for s in STATUSES
    )
    return [*lines, f'</tbody></table></div>\n<ul class="legend">{legend}</ul>']


def student_name(student: Student) -> str:
    """A student's id, and the name if it is another."""
    handed = student.handed
    name = (
        f' <span class="soft">{escape(handed.name)}</span>' if handed.name not in ("", handed.student) else ""
    )
    return escape(handed.student) + name


def exercises_table(grading: Grading) -> list[str]:
    """Per exercise how many have passed, and what most others have run into."""
    lines = [
        f"<h2>{escape(grading.say('page_again'))}</h2>",
        '<div class="wide"><table id="again"><thead><tr>',
    ]
    lines += [f"<th>{escape(grading.say(key))}</th>" for key in ("exercise", "passed_of", "commonest")]
    lines.append("</tr></thead><tbody>")
    for exercise, about in grading.exercises.items():
        records = [record for record in grading.records() if record.exercise == exercise]
        passed = sum(record.status == "passed" for record in records)
        title = escape(f"{exercise[:2]} {about['title']}")
        lines.append(f'<tr><td>{title}</td><td class="number">{passed} / {len(records)}</td>')
        lines.append(f'<td class="text">{commonest_mistake(grading, exercise, records)}</td></tr>')
    return [*lines, "</tbody></table></div>"]


def commonest_mistake(grading: Grading, exercise: str, records: Sequence[Record]) -> str:
    """The diagnosis that most wrong answers got, in the words of one of them, and its question."""
    counts = Counter(record.key for record in records if record.status == "wrong" and record.key)
    if not counts:
        return "–"
    key, number = counts.most_common(1)[0]
    example = next(record for record in records if record.key == key)
    try:
        ask = Text(words.entry(exercise, key)[grading.language]["ask"]).format(**example.params)
    except (KeyError, IndexError):
        ask = ""
    times = grading.say("times", number=number, wrong=sum(counts.values()))
    about = f'<span class="soft">{escape(times)} {escape(ask)}</span>'
    return f"{escape(example.says)} <code>{escape(key)}</code><br>{about}"


def results_table(grading: Grading) -> list[str]:
    """Every result that is no pass, with its words; passes that have something to say, too."""
    results = [r for r in grading.records() if r.says and r.status not in ("missing", "not_started")]
    lines = [f"<h2>{escape(grading.say('page_each'))}</h2>"]
    if not results:
        return [*lines, "<p>–</p>"]
    lines.append('<div class="wide"><table id="each"><thead><tr>')
    lines += [f"<th>{escape(grading.say(key))}</th>" for key in ("who", "exercise", "result", "line")]
    lines.append("</tr></thead><tbody>")
    for r in results:
        lines.append(
            f"<tr><td>{escape(r.student)}</td><td>{r.exercise[:2]}</td>"
            f'<td class="text">{status_letter(grading, r.status)} {escape(r.says)}</td>'
            f'<td class="number">{"" if r.line is None else r.line}</td></tr>'
        )
    return [*lines, "</tbody></table></div>"]


def equal_functions(grading: Grading) -> list[str]:
    """Functions that several students have alike."""
    lines = [
        f"<h2>{escape(grading.say('page_equal'))}</h2>",
        f'<p class="soft">{escape(grading.say("equal_about"))}</p>',
    ]
    if not grading.equal:
        return [*lines, "<p>–</p>"]
    lines.append("<ul>")
    for each in grading.equal:
        text = grading.say("equal_line", number=each["parts"], names=each["students"])
        lines.append(
            f"<li>{each['exercise'][:2]} <code>{escape(each['function'])}</code>: {escape(text)}</li>"
        )
    return [*lines, "</ul>"]
