"""The teacher's side.

grade runs again what a class has handed in: submissions reads it, extract takes what is asked for,
student_process checks one student. results is what came out; gradebook and class_page write it down.
release makes the folder that students get.
"""
