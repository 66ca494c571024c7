return { { name = "probe_keys", primary_key = { "id" }, endpoint_key = "token", fields = {
  { id = { type = "string" } }, { consumer = { type = "foreign", reference = "consumers" } },
  { token = { type = "string", unique = true, required = true } }, { level = { type = "integer", default = 1 } },
} } }
