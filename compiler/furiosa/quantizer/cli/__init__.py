"""The commands ``furiosa calibrate`` and ``furiosa quantize``."""
