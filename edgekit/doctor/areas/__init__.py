"""The rules, a module per area: small functions from facts to findings.

Each module has `RULES`; a rule says what it sees, or nothing where it has nothing to say.
"""
