-- client.lua - kong.client, and the consumers and credentials of the config as kong.db gives them.

local host = require "moongate.host"
local state = require "moongate.kong.state"
local type, error, ipairs = type, error, ipairs
local here = host.here

local client = {}

function client.get_ip() return here().client.peer_ip end
function client.get_forwarded_ip() return here().client.ip end
function client.get_port() return here().client.port end
client.get_forwarded_port = client.get_port

local function consumer_of(x, name)
  return { id = name, username = name, custom_id = x:find_consumer(name, "custom_id"), created_at = 0 }
end

-- A consumer of the config by its name, which is its id as well; nil when there is none.
function client.load_consumer(id)
  if type(id) ~= "string" or id == "" then error("consumer_id must be a string", 2) end
  local x = here()
  if not x:find_consumer(id) then return nil end
  return consumer_of(x, id)
end

-- Who the plugins (of either kind) have recognised.
function client.get_consumer()
  local s = state.there()
  if s and s.consumer then return s.consumer end
  local c = here().consumer
  if not c then return nil end
  local made = consumer_of(here(), c.name)
  state.here().consumer = made
  return made
end
function client.get_credential()
  local s = state.there()
  if s and s.credential then return s.credential end
  local c = here().consumer
  if c and c.credential_id then return { id = c.credential_id, consumer = { id = c.name } } end
  return nil
end
function client.get_consumer_group() return nil end
function client.get_consumer_groups()
  local c, list = here().consumer, {}
  if not c then return nil end
  for i, name in ipairs(c.groups) do list[i] = { id = name, name = name } end
  return list[1] and list or nil
end

-- From now on this exchange belongs to it, for our own plugins as well when the config has such a consumer.
function client.authenticate(consumer, credential)
  if consumer ~= nil and type(consumer) ~= "table" then error("consumer must be a table or nil", 2) end
  if credential ~= nil and type(credential) ~= "table" then error("credential must be a table or nil", 2) end
  if consumer == nil and credential == nil then error("either credential or consumer must be provided", 2) end
  local x, s = here(), state.here()
  s.consumer, s.credential = consumer, credential
  if credential and credential.__number then
    x:authenticate(credential.__number)
  elseif consumer then
    local name = consumer.username or consumer.id
    if type(name) == "string" and x:find_consumer(name) then x.consumer = name end
  end
end

function client.get_protocol()
  return here().request.scheme
end
state.absent_all(client, "kong.client.", "authenticate_consumer_group_by_consumer_id set_authenticated_consumer_groups")

-- client.tls
local tls = {}
client.tls = tls
state.absent_all(tls, "kong.client.tls.", "request_client_certificate disable_session_reuse get_full_client_certificate_chain set_client_verify")

return client
