"""The register: estates, buildings, homes, tenancies, devices, and their import."""
