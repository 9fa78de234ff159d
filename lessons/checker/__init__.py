"""What tells a student what is wrong, and shows it.

At the top: one check. checking runs it, evidence and verdict make one diagnosis of what happened, words says
it in Chinese and in English, progress keeps it.

    ranks/     the processes of a check: start them, load the student's file, let them talk, prove a hang
    stages/    what a step() of one ZeRO stage does and should do, for exercises 08, 11, 12 and 13
    student/   what a student types, and sees in the terminal and on a page
    teacher/   run again what a class has handed in; make what students get

Each exercise has two files of its own in lessons/checks: what is tried, and what each wrong answer leaves
(NN_name.py), and the words for it (NN_name.toml).
"""
