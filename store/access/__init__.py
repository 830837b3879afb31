"""Who may see and do what: users, sessions, scopes, audit, idempotency, exports."""
