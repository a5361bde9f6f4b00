"""The rule that every engine follows: whole numbers only. ``integers`` is the rule, ``integer_form`` torch under it."""
