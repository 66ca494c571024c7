local code = { type = "string", required = false }
return {
  name = "probe",
  fields = { { config = { type = "record", fields = {
    { rewrite = code }, { access = code }, { header_filter = code }, { body_filter = code }, { log = code },
    { text = { type = "string", default = "preset" } },
  } } } },
}
