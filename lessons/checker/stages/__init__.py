"""Exercises 08, 11, 12 and 13: a step() of one ZeRO stage beside the real one."""
