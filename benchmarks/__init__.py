"""Speed and size against other task queues; ``python benchmarks/run.py --help``."""
