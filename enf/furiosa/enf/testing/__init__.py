"""What tests of ENFs are made of."""
