"""What tells a student what is wrong, and shows it.

    board     one note per rank in a file: what it does, and what it waits for; the proof of a hang
    talk      the `comm` that a student gets: messages that leave when somebody receives them
    ranks     one process of a check: loads the student's file, makes the trials, reports what happened
    runner    the checker's own process: starts the ranks, reads their reports, ends them all
    evidence  from what happened to one diagnosis
    words     a diagnosis in Chinese and in English

    grade, handed_in, taken, one_student    the teacher's side: run again what a class has handed in
    records, gradebook, class_page          what came out, as tables, JSON, XML and a page
    release                                 what students get: no solutions

Each exercise has a file of its own in lessons/checks: what is tried, and what each wrong answer leaves.
"""
