"""What a user reads about a compilation: a JSON report, a table, a graph for Graphviz."""
