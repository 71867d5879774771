"""The Helm chart: rendered by the real helm, checked against the published schemas, and against what the services do."""
