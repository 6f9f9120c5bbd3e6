"""Tables of the sensors that xsr knows, one module for each family; a new sensor is one `Sensor` in a ``SENSORS``.

Each number has its source; what is not published is None, never guessed.
"""

from xsr.core.sensors.tables import coarse, fine, landsat, sentinel2

SENSORS = (*sentinel2.SENSORS, *landsat.SENSORS, *coarse.SENSORS, *fine.SENSORS)
"""All of them."""
