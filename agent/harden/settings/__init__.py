"""Settings of a site: schema, kinds of values, waivers, loading."""
