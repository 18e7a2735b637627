"""What everything rests on: errors, parameters, atomic files, array types, a stage's exit."""
