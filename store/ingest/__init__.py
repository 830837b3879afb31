"""What ingest writes beside the series: progress, leases, quarantine, tallies."""
