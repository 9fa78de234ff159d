"""The teacher's side: run again what a class has handed in; make what students get."""
