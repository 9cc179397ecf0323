"""What the components of Kubernetes accept at their start: arguments, feature gates and configuration files. Pure."""
