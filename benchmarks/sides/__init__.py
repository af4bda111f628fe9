"""The packages compared: an adapter each, settings and a side; what they share stands beside."""

#: Seconds that a task sleeps, if it does.
NAP = 0.01
