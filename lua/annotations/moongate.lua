---@meta moongate
-- The PDK in Lua, for editors (lua-language-server: add this folder to workspace.library). Made by spec/lua-annotations; do not edit.

---What a handler returns to have the answer sent that it recorded: return x:respond(…).
---@class mg.verdict

---Fields by name, whatever the case of letters. nil takes one away, a list sets several.
---@class mg.fields
---@field [string] string|string[]|number|boolean|nil
local fields = {}
---The first value.
---@param name string
---@return string?
function fields:get(name) end
---@param name string
---@param value string|string[]|nil
function fields:set(name, value) end
---@param name string
---@param value string
function fields:add(name, value) end
---@param name string
---@return integer removed
function fields:remove(name) end
---All values of a name in one text.
---@param name string
---@return string?
function fields:join(name) end
---for i, name, value in fields:each() do … end
function fields:each() end


---@class mg.x
---@field client mg.x.client
---@field consumer mg.x.consumer?|string
---@field ctx table<string, any> (read only)
---@field failure string? (read only)
---@field id string
---@field is_last boolean (read only)
---@field log string? (read only)
---@field phase "on_rewrite"|"on_request"|"on_request_body"|"on_response"|"on_response_body"|"on_log"|"on_task" (read only)
---@field piece string?
---@field request mg.x.request
---@field response mg.x.response
---@field route mg.x.route?
---@field started_us number (read only)
---@field upstream mg.x.upstream?|string
local x = {}

---This exchange belongs to that credential's consumer from now on.
---@param credential integer
function x:authenticate(credential) end

---@param which string
function x:count(which) end

---@param credential integer
function x:credential_consumer(credential) end

---@param credential integer
---@param field string
function x:credential_field(credential, field) end

---Its id, and the name of the consumer that it belongs to.
---@param credential integer
function x:credential_id(credential) end

function x:each_ctx() end

---The gateway's own error body: problem details, or the shape that the config sets.
---@param status integer
---@param detail string?
---@param headers table<string, string|string[]>?
---@return mg.verdict
function x:error(status, detail, headers) end

---Is there a consumer of that name? With `meta`: that piece of its metadata. nil when not.
---@param name string
---@param meta any
function x:find_consumer(name, meta) end

---A credential's number, or nil.
---@param kind string
---@param key string
function x:find_credential(kind, key) end

---@param what any
---@param value any
function x:note(what, value) end

---@param what any
function x:recall(what) end

---Record an answer; return what this returns. A table is sent as JSON.
---@param status integer
---@param body string|table|nil
---@param headers table<string, string|string[]>?
---@return mg.verdict
function x:respond(status, body, headers) end

---Microseconds; nil when that has not begun.
---@param which string
function x:span_us(which) end

---A variable, as in templates; nil when it has no value now.
---@param name string
---@return string?
function x:var(name) end

---@class mg.x.client
---@field ip string? (read only)
---@field peer_ip string? (read only)
---@field peer_is_trusted boolean (read only)
---@field port integer (read only)
---@field tls mg.x.client.tls?
local x_client = {}

---@class mg.x.client.tls
---@field cipher string? (read only)
---@field sni string? (read only)
---@field version string? (read only)
local x_client_tls = {}

---@class mg.x.consumer
---@field credential_id string? (read only)
---@field groups string[] (read only)
---@field metadata table<string, string> (read only)
---@field name string? (read only)
local x_consumer = {}

---@param group string
---@return boolean
function x_consumer:in_group(group) end

---@class mg.x.request
---@field body_length integer? (read only)
---@field cookies table<string, string> (read only)
---@field headers mg.fields
---@field host string? (read only)
---@field method string?
---@field params table<string, string> (read only)
---@field path string?
---@field port integer (read only)
---@field query mg.fields
---@field raw_query string?
---@field scheme string? (read only)
---@field target string? (read only)
---@field trailers mg.fields
---@field version string? (read only)
local x_request = {}

---@param limit number?
---@param over "refuse"|"skip"|nil
---@return string?, string?
function x_request:body(limit, over) end

---@param limit number?
function x_request:decode(limit) end

---@param codings any
function x_request:encode(codings) end

---@param limit number?
---@param over "refuse"|"skip"|nil
---@return any, string?
function x_request:json(limit, over) end

function x_request:pieces() end

function x_request:resize_body() end

---@param body string|table|nil
function x_request:set_body(body) end

---@param body string|table|nil
function x_request:set_raw_body(body) end

---@param fn function
function x_request:stream(fn) end

---@class mg.x.response
---@field body_length integer? (read only)
---@field headers mg.fields
---@field source "upstream"|"plugin"|"gateway"|nil (read only)
---@field status integer?
---@field trailers mg.fields
local x_response = {}

---@param limit number?
---@param over "refuse"|"skip"|nil
---@return string?, string?
function x_response:body(limit, over) end

---@param limit number?
function x_response:decode(limit) end

---@param codings any
function x_response:encode(codings) end

---@param limit number?
---@param over "refuse"|"skip"|nil
---@return any, string?
function x_response:json(limit, over) end

function x_response:pieces() end

function x_response:resize_body() end

---@param body string|table|nil
function x_response:set_body(body) end

---@param body string|table|nil
function x_response:set_raw_body(body) end

---@param fn function
function x_response:stream(fn) end

---@class mg.x.route
---@field id string? (read only)
---@field path string? (read only)
local x_route = {}

---@class mg.x.upstream
---@field name string? (read only)
---@field target string? (read only)
local x_upstream = {}

---@class mg
local mg = {}

---Run all of them; their first results, in order. One that raises, or gives nil and a word, has nil there and its word in the second
---table, under the same number; where all went well there is no second table.
---@param functions any
function mg.all(functions) end

---The result of the first that has one, and its number; what the others wait for is given up. nil and all their words when none has.
---@param functions any
function mg.any(functions) end

---@param name string
---@param options table?
function mg.cache(name, options) end

mg.crypto = {}

---@param data string
---@return string
function mg.crypto.base64(data) end

---@param data string
function mg.crypto.base64url(data) end

---@param name string
---@param data string
---@return string
function mg.crypto.digest(name, data) end

---Equal, in time that depends on the lengths alone?
---@param a any
---@param b any
---@return boolean
function mg.crypto.equal(a, b) end

---@param data string
---@return string
function mg.crypto.hex(data) end

---@param name string
---@param key string
---@param data string
---@return string
function mg.crypto.hmac(name, key, data) end

---@param n number
function mg.crypto.random_bytes(n) end

---@param text string
function mg.crypto.unbase64(text) end

---@param text string
function mg.crypto.unbase64url(text) end

---@param text string
function mg.crypto.unhex(text) end

---Does the password match the encoded hash (argon2, bcrypt, SHA-crypt)? true or false, or nil and a word. Waits.
---@param encoded any
---@param password any
function mg.crypto.verify_password(encoded, password) end

mg.dns = {}

---One of the SRV records: of those with the lowest priority, by chance and weight (RFC 2782). nil for an empty list.
---@param list any
function mg.dns.pick(list) end

---The addresses of a name, IPv4 first; nil and a word. Options: type: "A" or "AAAA" (both without); or "SRV", "MX", "TXT", "PTR", "CNAME":
---records then, tables with `ttl` (seconds) and: SRV priority, weight, port, target, in the order to try them; MX preference, name; TXT text;
---PTR and CNAME name.
---@param name string
---@param options table?
function mg.dns.resolve(name, options) end

mg.http = {}

---@param url string
---@param o any
function mg.http.delete(url, o) end

---@param url string
---@param o any
function mg.http.get(url, o) end

---@param url string
---@param o any
function mg.http.head(url, o) end

---@param url string
---@param o any
function mg.http.patch(url, o) end

---@param url string
---@param o any
function mg.http.post(url, o) end

---@param url string
---@param o any
function mg.http.put(url, o) end

---Send a request and wait for its answer: an object with status, headers, body, url, r:json(). With stream = true the body is
---read by r:read(), r:each(); close it by r:close() when you stop before its end.
---@param o any
function mg.http.request(o) end

---In a task: is its configuration no longer in force, so that it is to come to its end?
function mg.is_leaving() end

mg.json = {}

---Mark a table as an array, so that it stays one when empty.
---@param t any
function mg.json.array(t) end

---The value, or nil and what is wrong ("line 3, column 7: …"). Of members with the same name the last counts.
---@param text string
---@return any
function mg.json.decode(text) end

---@param v any
---@return string
function mg.json.encode(v) end

---@param t any
function mg.json.is_array(t) end

---@type any
mg.json.null = nil

---A number by its digits.
---@param digits any
function mg.json.number(digits) end

---@param s string
---@return string
function mg.json.quote(s) end

---A document that somebody else owns, as a value of the caller's own.
---@param doc any
function mg.json.value(doc) end

mg.log = {}

---@param message string
---@param fields table?
function mg.log.debug(message, fields) end

---Would a line of that level be written?
---@param level any
function mg.log.enabled(level) end

---@param message string
---@param fields table?
function mg.log.error(message, fields) end

---@param message string
---@param fields table?
function mg.log.info(message, fields) end

---@param message string
---@param fields table?
function mg.log.warn(message, fields) end

mg.metric = {}

---@param name string
---@param help string
---@param labels string[]?
function mg.metric.counter(name, help, labels) end

---@param name string
---@param help string
---@param labels string[]?
function mg.metric.gauge(name, help, labels) end

---@param name string
---@param help string
---@param labels string[]?
---@param buckets any
function mg.metric.histogram(name, help, labels, buckets) end

---@return number
function mg.monotonic_us() end

---Wall clock in milliseconds and microseconds since 1970; a clock that never jumps.
---@return number
function mg.now_ms() end

---@return number
function mg.now_us() end

mg.quota = {}

---Token bucket: at most `limit` tokens, refilled evenly over window_ms. `space` names the user of the
---counters (a plugin and its entry), `key` whom it counts.
---@param space any
---@param key string
---@param limit number?
---@param window_ms any
---@param cost number?
function mg.quota.bucket(space, key, limit, window_ms, cost) end

---A counter that is forgotten ttl_ms after it was made; its new value.
---@param space any
---@param key string
---@param by number?
---@param ttl_ms any
function mg.quota.count(space, key, by, ttl_ms) end

---Sliding window.
---@param space any
---@param key string
---@param limit number?
---@param window_ms any
---@param cost number?
function mg.quota.window(space, key, limit, window_ms, cost) end

---Uniform in [0, 1); a random UUID.
---@return number
function mg.random() end

mg.re = {}

---@param pattern string
---@param flags string?
function mg.re.compile(pattern, flags) end

---Where: first and last byte, or nil.
---@param s string
---@param pattern string
---@param flags string?
---@param init integer?
function mg.re.find(s, pattern, flags, init) end

---for m in mg.re.gmatch(s, pattern) do … end
---@param s string
---@param pattern string
---@param flags string?
function mg.re.gmatch(s, pattern, flags) end

---Replace at most `most` matches (all by default) by text with $1…, or by what a function of the captures gives (nil keeps the match).
---@param s string
---@param pattern string
---@param replacement any
---@param flags string?
---@param most any
function mg.re.gsub(s, pattern, replacement, flags, most) end

---[0] is the whole match, [1]… the groups (false where a group took no part); nil when it does not match.
---@param s string
---@param pattern string
---@param flags string?
---@param init integer?
function mg.re.match(s, pattern, flags, init) end

---Does it match somewhere?
---@param s string
---@param pattern string
---@param flags string?
function mg.re.test(s, pattern, flags) end

mg.redis = {}

---@param options table?
function mg.redis.new(options) end

mg.shared = {}

---"stdout", "stderr", "syslog" or a file, relative to the config. Raises when it cannot be opened.
---@param where any
function mg.sink(where) end

---Wait that many milliseconds (or "250ms", "1s"); other exchanges go on meanwhile.
---@param v any
function mg.sleep(v) end

---Call fn(...) on its own, in the worker's next turn: it may wait, and outlives the exchange. The task; nil and a word when there are too many
---(the config's tasks.max).
---@param fn function
---@param ... any
function mg.spawn(fn, ...) end

---A space of the plugin that runs.
---@param space any
function mg.store(space) end

---nil and a message when malformed.
---@param text string
function mg.template(text) end

---fn(...), but not for longer than that (milliseconds, or "200ms"): nil and "timeout" then, and what it waits for is given up. An error
---in it is raised here.
---@param span any
---@param fn function
---@param ... any
function mg.timeout(span, fn, ...) end

mg.timer = {}

---Call fn() once, after a delay in milliseconds (or "250ms", "1s").
---@param delay any
---@param fn function
---@param options table?
function mg.timer.after(delay, fn, options) end

---Call fn() again and again. Options: once_per_gateway (in on_worker: one worker alone calls it), jitter (a random delay up to that much, each time),
---aligned (at whole multiples of the interval on the clock).
---@param interval any
---@param fn function
---@param options table?
function mg.timer.every(interval, fn, options) end

---@param s string
---@return string?
function mg.url_decode(s) end

---Percent-encode all but unreserved characters; decode (nil and a word when malformed).
---@param s string
---@return string
function mg.url_encode(s) end

---@return string
function mg.uuid() end

---fn(input): what it put out, and its status (0 and above). nil, a word and the status when that is below 0.
---@param fn function
---@param input any
function mg.work(fn, input) end

return mg
