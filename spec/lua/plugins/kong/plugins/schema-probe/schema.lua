local typedefs = require "kong.db.schema.typedefs"
return {
  name = "schema-probe",
  fields = {
    { consumer = typedefs.no_consumer }, { protocols = typedefs.protocols_http },
    { config = {
      type = "record",
      fields = {
        { need = { type = "string", required = true } },
        { word = { type = "string", one_of = { "a", "b" }, default = "a" } },
        { count = { type = "integer", between = { 1, 10 }, default = 3 } },
        { ratio = { type = "number", gt = 0 } },
        { long = { type = "string", len_min = 3, len_max = 5 } },
        { shape = { type = "string", match = "^%l+$", not_match = "bad" } },
        { start = { type = "string", starts_with = "/" } },
        { list = { type = "array", elements = { type = "string", match_none = { { pattern = "%s", err = "no spaces" } } }, default = { "x", "y,z" } } },
        { numbers = { type = "set", elements = { type = "integer" }, len_max = 3 } },
        { map = { type = "map", keys = typedefs.header_name, values = { type = "string" } } },
        { inner = { type = "record", fields = { { port = typedefs.port { default = 6379 } }, { host = typedefs.host } } } },
        { empty = { type = "record", required = true, fields = { { a = { type = "string" } } } } },
        { method = typedefs.http_method }, { url = typedefs.url }, { address = typedefs.ip_or_cidr },
        { odd = { type = "integer", custom_validator = function(v) return v % 2 == 1 or nil, "must be odd" end } },
        { one = { type = "string" } }, { other = { type = "string" } },
      },
      shorthand_fields = { { port = { type = "integer", func = function(v) return { inner = { port = v } } end } } },
      entity_checks = { { mutually_exclusive = { "one", "other" } } },
    } },
  },
  entity_checks = {
    { conditional = { if_field = "config.word", if_match = { eq = "b" }, then_field = "config.one", then_match = { required = true } } },
    { custom_entity_check = { field_sources = { "config" }, fn = function(e)
      if e.config.need == "forbidden" then return nil, "need is not to be forbidden" end
      return true
    end } },
  },
}
