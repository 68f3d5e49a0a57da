"""The IRs as text, for ``furiosa compile --target-ir``: for reading and for comparing, not for reading back."""
