"""Resource plan and boot of Ray, on one machine or a cluster."""
