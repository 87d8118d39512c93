--- config_ledger.lua -- what the ledger does: `ledger = { timezone, answer_tokens, store,
--- webhook }`.
local check = require("weir.check")
local config_webhook = require("weir.config_webhook")
local suggest = require("weir.suggest")
local words = require("weir.clerk_words")

local MAX_KEEP = 3660 * 86400 -- seconds; ten years

--- A name of the IANA time zone database.
local function read_timezone(c, path, value)
  if type(value) ~= "string" then
    return c:wrong(path, 'a string like "Europe/Berlin"', value)
  end
  if #value > 60 or not value:find("^%a[%w_+/-]*$") then
    return c:problem(path, 'must be the name of a time zone, like "Europe/Berlin" or "UTC"')
  end
  if value == "UTC" then return value end -- the C library takes an unknown name for it in silence
  local is_there, folder, names = c.zone(value)
  if is_there then return value end
  if #names == 0 then
    return c:problem(path, ('there are no time zones in %s: install tzdata, or say "UTC"')
      :format(folder))
  end
  return c:problem(path, ('must be the name of a time zone in %s, like "Europe/Berlin" or "UTC"')
    :format(folder), suggest(value, names))
end

--- Seconds, or a time such as "30d".
local function read_keep(c, path, value)
  local seconds = type(value) == "number" and value or words.span(value)
  if not seconds or seconds < 1 or seconds > MAX_KEEP or seconds % 1 ~= 0 then
    return c:problem(path, 'must be a time such as "12h" or "30d", or whole seconds; ten years at '
      .. "most")
  end
  return seconds
end

local STORE = {
  kind = "members",
  members = {
    keep = { kind = "custom", read = read_keep },
    most = { kind = "number", default = 256 * 1024, min = 1024, max = 1024 * 1024,
      integer = true },
    room = { kind = "number", default = 1024 * 1024 * 1024, min = 1024 * 1024, max = 2 ^ 42,
      integer = true },
  },
}

--- Whether keys may have prompts and answers stored: for how long at most, and how much of each.
local function read_store(c, path, value)
  local store = c:read(path, STORE, value)
  if type(value) == "table" and value.keep == nil then
    c:problem(check.join(path, "keep"), "is missing: for how long texts may be kept",
      'keep = "30d"')
  end
  return store.keep and store or nil
end

return {
  SPEC = {
    kind = "members",
    members = {
      timezone = { kind = "custom", read = read_timezone, default = "UTC" },
      answer_tokens = { kind = "number", default = 4096, min = 1, max = 10000000, integer = true },
      store = { kind = "custom", read = read_store },
      webhook = { kind = "custom", read = config_webhook.read },
    },
  },
}
