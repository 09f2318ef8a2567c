"""Backups of a home: made while it serves, whole or not there, and restored into an empty one."""
