"""The database itself: connections, copying, migrations, partitions, retention, health."""
