"""Rules of K3s and its components: configuration merge, configuration files, default arguments, paths."""
