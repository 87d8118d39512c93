--- show.lua -- the settings that serve, for people: what GET /config answers.
---
--- A secret is shown by where it is from. What might hold one that was written into the file, the
--- text of a header, is left out.
local config_webhook = require("weir.config_webhook")
local targets = require("weir.targets")

local function is_plain(value)
  local kind = type(value)
  return kind == "string" or kind == "number" or kind == "boolean"
end

--- Numbers, texts, truths; secrets by their origin; tables of these.
local function plain(value, host)
  if host.is_secret(value) then return { secret = tostring(value) } end
  if is_plain(value) then return value end
  if type(value) ~= "table" then return nil end
  local copy = {}
  for name, member in pairs(value) do copy[name] = plain(member, host) end
  return #value > 0 and host.json_array(copy) or copy
end

local function list(items, host, each)
  local shown = {}
  for i, item in ipairs(items or {}) do shown[i] = each(item) end
  return host.json_array(shown)
end

local function show_provider(provider, host)
  return {
    name = provider.name, type = provider.type, base_url = provider.base_url,
    timeout = plain(provider.timeout, host), cooldown = provider.cooldown,
    limits = plain(provider.limits, host),
    keys = list(provider.keys, host, function(key) return plain(key, host) end),
    headers = list(provider.headers, host, function(header) return header.name end),
  }
end

local function show_model(model, host)
  local list_of = targets.of(model.policy, host.reaches)
  return { name = model.name, targets = list(list_of, host, tostring) }
end

---@param settings table as config.check gave them
---@param host table is_secret, json_array, reaches
---@return table
return function(settings, host)
  local shown = {}
  for name, value in pairs(settings) do shown[name] = plain(value, host) end
  host.json_array(shown.admin.hosts) -- empty ones are lists, too
  host.json_array(shown.policy.fetch)
  local webhook = settings.ledger.webhook
  shown.ledger.webhook = webhook and config_webhook.show(webhook, host)
  if settings.keys ~= "ledger" then
    shown.keys = list(settings.keys, host, function(key) return plain(key, host) end)
  end
  shown.providers = list(settings.providers, host, function(p) return show_provider(p, host) end)
  shown.models = list(settings.models, host, function(model) return show_model(model, host) end)
  if settings.fallback then
    local fallback = show_model({ name = "*", policy = settings.fallback }, host)
    shown.models[#shown.models + 1] = fallback
  end
  shown.fallback = nil
  return shown
end
