"""Transfer of whole logs, record by record at the same positions: copies from one log into another, backups, restores."""
