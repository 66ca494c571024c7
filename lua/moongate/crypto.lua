-- crypto.lua - mg.crypto: digests, encodings, comparing secrets. Results of digest and hmac are raw bytes.
--
--     mg.crypto.hex(mg.crypto.digest("sha256", text))

local host = require "moongate.host"
local ffi = require "ffi"
local C, str = ffi.C, ffi.string
local out = ffi.new("struct mg_str")

local crypto = {}

local function got(rc, what)
  if rc < 0 then return host.fail(rc, what) end
  return str(out.p, out.n)
end

-- Decoding bytes of outsiders: nil and a word instead of an error.
local function decoded(rc)
  if rc < 0 then return nil, host.message(rc) end
  return str(out.p, out.n)
end

function crypto.digest(name, data) return got(C.mg_digest(name, data, #data, out), "crypto.digest(\"" .. name .. "\")") end
function crypto.hmac(name, key, data)
  return got(C.mg_hmac(name, key, #key, data, #data, out), "crypto.hmac(\"" .. name .. "\")")
end
function crypto.hex(data) return got(C.mg_hex_encode(data, #data, out), "crypto.hex") end
function crypto.unhex(text) return decoded(C.mg_hex_decode(text, #text, out)) end
function crypto.base64(data) return got(C.mg_base64_encode(data, #data, 0, out), "crypto.base64") end
function crypto.unbase64(text) return decoded(C.mg_base64_decode(text, #text, 0, out)) end
function crypto.base64url(data) return got(C.mg_base64_encode(data, #data, 1, out), "crypto.base64url") end
function crypto.unbase64url(text) return decoded(C.mg_base64_decode(text, #text, 1, out)) end
-- Equal, in time that depends on the lengths alone?
function crypto.equal(a, b) return C.mg_equal(a, #a, b, #b) == 1 end
function crypto.random_bytes(n)
  local buffer = ffi.new("char[?]", n)
  local rc = C.mg_random_bytes(buffer, n)
  if rc < 0 then return host.fail(rc, "crypto.random_bytes") end
  return str(buffer, n)
end
-- Does the password match the encoded hash (argon2, bcrypt, SHA-crypt)? true or false, or nil and a word. Waits.
function crypto.verify_password(encoded, password)
  host.must_wait("crypto.verify_password")
  local op = C.mg_password_verify(host.here(), encoded, #encoded, password, #password)
  if op < 0 then return nil, host.message(op) end
  local status = host.wait(op)
  if status < 0 then return nil, host.message(status) end
  return status == 1
end

return crypto
