"""One file per network; each ends in its record, which `xsr.models.catalogue` collects."""
