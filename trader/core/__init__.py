"""The trading day: facts come in one queue, one loop decides on them, and the desk sends what was decided."""
