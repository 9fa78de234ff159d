"""What a student types, and sees in the terminal and on a page.

attempt is one check, noted and kept; learn watches the file, with background for the check under way;
commands are all others; screen and hints are what the terminal shows. doctor, with doctor_mpi and finding,
says what is wrong with this machine. picture is the page of a run: markup, circle and timeline are its parts,
and sequence puts messages in order.
"""
