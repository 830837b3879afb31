"""Unit-day facts from readings and passages.

`intervals` turns registers into consumption between readings, `supply_days` shares it over days,
`columns` puts supplies, doors and gates together, and `update` does this for what changed.
"""
