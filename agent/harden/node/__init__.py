"""Facts detected on this host: K3s' services, configuration and manifests, the site's files, and the gate."""
