"""What tests of lamina, of its drivers and of its plugins stand on: trees as data, archives, scenarios."""
