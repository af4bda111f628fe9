"""The packages compared: ``ours`` and ``peer`` differ, the rest is shared."""
