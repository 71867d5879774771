"""The read model made anew from the log, compared, swapped, and cut."""
