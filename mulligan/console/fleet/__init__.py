"""The fleet's page: the map of racks, and the panel of a machine."""
