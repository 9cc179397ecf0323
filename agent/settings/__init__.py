"""What a site can change: the settings schema, kinds of values, waivers."""
