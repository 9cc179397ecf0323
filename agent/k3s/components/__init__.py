"""Arguments, feature gates and configuration files that the components of Kubernetes accept. Pure."""
