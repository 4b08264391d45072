"""The program: command line, supervisor, pipeline, viewer. The one place that wires the rest."""
