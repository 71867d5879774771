"""Rules that several services apply alike: metadata filters, the similarity of vectors, whose authority a cron has."""
