"""Rules of Kubernetes about objects of its API: access (RBAC), pods, Pod Security, and which objects K3s packages."""
