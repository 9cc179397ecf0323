"""Facts detected on this host: K3s services, configuration, manifests and the state of the gate."""
