"""Schemas of protobuf messages. They import nothing of secateur."""
