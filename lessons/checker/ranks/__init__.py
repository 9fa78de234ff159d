"""One process of a check: what a student's code has to do with, and what is noted of it."""
