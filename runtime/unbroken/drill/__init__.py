"""The drill: a real session on recorded speech, while faults from a schedule strike, and a table of what it cost."""
