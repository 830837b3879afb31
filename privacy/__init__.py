"""People's names, numbers and phones: kept sealed, shown masked, looked at for a purpose, and really erased."""
