"""The decider: owns command partitions, decides in log order, appends events. Imports nothing of the worker's."""
