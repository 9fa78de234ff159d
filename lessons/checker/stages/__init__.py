"""Exercises 08, 11, 12 and 13: a student's step() of one ZeRO stage beside the real one.

On a rank: act does the steps on comm, the `comm` of a stage, and log writes down what they do.
In the checker: steps is what each rank has after each step; mistakes knows wrong numbers by what world, all
ranks in one process, makes of each mistake; costs compares what is kept, sent and held.
"""
