"""Speed and size against django-vtasks 3.2.0; ``python benchmarks/run.py --help``."""
