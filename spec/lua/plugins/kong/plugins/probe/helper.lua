return { name = "helper of " .. (...):match("^kong%.plugins%.([^.]+)") }
