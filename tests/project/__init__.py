"""A Django project for processes that tests start; a package, so that its place is certain."""
