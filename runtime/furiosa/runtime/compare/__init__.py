"""``furiosa compare``: the simulator and the reference runtime side by side, layer by layer."""
