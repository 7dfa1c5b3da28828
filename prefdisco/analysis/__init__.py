"""What episodes say beyond a summary: groups, harm, questions, failure signatures, and runs against each other.

Everything is computed from `episodes.jsonl` alone. A module a question; `prefdisco.report` turns the numbers into
tables and figures. Definitions of metrics are those of `prefdisco.measures`, intervals those of
`prefdisco.bootstrap`.
"""
