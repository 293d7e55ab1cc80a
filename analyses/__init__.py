"""Named studies and model presets, one TOML file each."""
