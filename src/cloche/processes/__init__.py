"""The processes of a server: a supervisor, its gateway and its keeper."""
