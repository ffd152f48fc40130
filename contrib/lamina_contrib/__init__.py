"""What builds on lamina through its public hooks alone: nothing in here is needed by, or known to, the core and the drivers."""
