"""How things are measured: one sample of one side each, whatever store it is on."""
