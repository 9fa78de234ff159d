"""The processes of a check, and what the student's code has to do with on them.

In the checker's own process: runner starts the ranks, reads their reports and ends them; launcher finds
mpirun; processes finds what was started; board proves a hang.

On a rank: __main__ does the jobs; load makes a module of the student's file; messages is the student's
`comm`, sum_only a smaller one; prerequisites gives functions of earlier exercises, reference zero_ref's in
their place; observe calls a function and notes what it did; lines says at which line of the student's.
"""
