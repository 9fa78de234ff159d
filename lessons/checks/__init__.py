"""One file per exercise: what is tried, and what each wrong answer leaves behind.

FUNCTIONS        what the student writes
RANKS            how many processes the largest trial needs
cases(random)    the trials, smallest first: dictionaries for JSON with "size", the number of ranks
act              on a rank: one trial with the student's functions; what happened, for JSON
diagnose         in the checker: the diagnosis of what happened in all trials, None if all is right
"""
