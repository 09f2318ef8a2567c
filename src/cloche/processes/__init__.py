"""The processes of a server: a supervisor, its gateways and its keeper."""
