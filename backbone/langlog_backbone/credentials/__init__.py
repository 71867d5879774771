"""Secrets of the deployment, and credentials of callers that runs need."""
