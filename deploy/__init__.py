"""How Sluice is put on machines: this one, container images, Kubernetes."""
