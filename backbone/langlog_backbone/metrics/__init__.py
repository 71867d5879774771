"""Figures for operators: the table of all metrics, what one scrape shows, how worker processes take part, and the push to a collector."""
