"""Metrics for operators: the table of all metrics, the exposition of one scrape, the metrics of worker processes, and the
push to a collector."""
