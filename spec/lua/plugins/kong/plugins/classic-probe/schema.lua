return {
  no_consumer = true,
  fields = {
    list = { type = "array", default = { "one" } },
    kind = { type = "string", enum = { "a", "b" }, default = "a" },
    limits = { type = "table", schema = { fields = { second = { type = "number", default = 5 } } } },
  },
  self_check = function(_, conf) 
    if conf.list[1] == "nope" then return false, { message = "nope is refused" } end
    return true
  end,
}
