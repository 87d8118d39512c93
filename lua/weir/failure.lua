--- failure.lua -- what the client gets when a policy gives no response.
---
--- Which status, in this order:
---   1. the policy's own refusal (a code that is none of ours): its status
---   2. a final failure, the client's own: the provider's status, message, param and code
---   3. nothing was tried, as all targets are cooling: 429 if rate limits are why, else 503
---   4. every attempt says that the request does not fit (no such model, too long, refused as
---      it is): as 2, with the last of them, for only the client can change that
---   5. every attempt was rate limited: 429
---   6. else the last attempt that is not of kind 4 decides: timeout 504; rate_limited or
---      overloaded 503, since waiting helps; everything else 502
--- 401 and 403 of a provider are about our key: a client never sees them.
local host = require("weir.host")
local ratelimit = require("weir.ratelimit")
local failure = {}

local GATEWAY_STATUS = {
  rate_limited = 503, -- beside failures of other kinds
  overloaded = 503,
  timeout = 504,
  cancelled = 499,
  policy_error = 500,
  policy_memory = 500,
  policy_timeout = 503,
}
local CLIENTS_OWN = {
  client_error = true, context_length = true, content_policy = true, no_model = true,
}
local GATEWAY_WORDS = { -- all that outcome.lua and the core say, but for CLIENTS_OWN
  rate_limited = true, overloaded = true, timeout = true, refused = true, reset = true, dns = true,
  tls = true, truncated = true, bad_response = true, credential = true, credit = true,
  cancelled = true, exhausted = true, policy_error = true, policy_memory = true,
  policy_timeout = true,
}
--- No target is to blame for these, whatever was tried before.
local OURS_ALONE = {
  cancelled = true, policy_error = true, policy_memory = true, policy_timeout = true,
}
--- The words that OpenAI's own clients know, where ours differ.
local PUBLIC_CODE = {
  credential = "provider_credential",
  credit = "provider_credit",
  context_length = "context_length_exceeded",
  no_model = "model_not_found",
}

local MAX_WAIT = 86400       -- seconds; beyond 2^31 ms a client's timer fires at once
local PATIENCE = 60          -- seconds; SDKs sleep through any wait: past this, tell them not to
local WAIT_RATE_LIMITED = 60 -- seconds, when nobody says
local WAIT_OVERLOADED = 5    -- seconds, when nobody says

local function type_of(status, code)
  if code == "insufficient_quota" then return code end -- OpenAI's word for a budget, in both places
  if status == 429 then return "rate_limit_error" end
  return status < 500 and "invalid_request_error" or "server_error"
end

local function body_of(error)
  error.message = tostring(error.message)
  for _, name in ipairs { "type", "param", "code" } do
    if error[name] == nil then error[name] = host.null end
  end
  return { error = error }
end

--- Of the attempts, the shortest wait that holds: each target's last one counts.
local function shortest(trail)
  local waits, least = {}, trail.free
  for _, attempt in ipairs(trail) do waits[attempt.target or "?"] = attempt.retry_after end
  for _, wait in pairs(waits) do
    if not least or wait < least then least = wait end
  end
  return least
end

--- Whole seconds until it is worth to ask again. What a policy says itself holds; what send said
--- in err is as old as its attempt, and the trail knows how much of it is left.
local function soonest(err, trail, default)
  local own = tonumber(err.retry_after)
  local least = own and not err.target and own or shortest(trail) or own
  return math.max(1, math.min(math.ceil(least or default), MAX_WAIT))
end

local function headers_for(status, err, trail)
  if status ~= 429 and status ~= 503 then return {} end
  local is_told = status == 429 and err.target and type(err.ratelimit) == "table"
  local headers = is_told and ratelimit.forwarded(err.ratelimit) or {}
  local wait = soonest(err, trail, status == 429 and WAIT_RATE_LIMITED or WAIT_OVERLOADED)
  headers["retry-after"] = ("%d"):format(wait)
  if wait > PATIENCE then headers["x-should-retry"] = "false" end
  return headers
end

local function public_trail(trail)
  local list = {}
  for i, attempt in ipairs(trail) do
    list[i] = {
      target = attempt.target, code = attempt.code, status = attempt.status, ms = attempt.ms,
    }
  end
  return host.json_array(list)
end

--- "groq/llama: rate_limited (429)"
local function sentence(attempt)
  local status = attempt.status and (" (%d)"):format(attempt.status) or ""
  return ("%s: %s%s"):format(attempt.target or "?", attempt.code or "failed", status)
end

local function message_of(err, attempts)
  if #attempts == 0 then return err.message or "the policy gave no response" end
  local parts = {}
  for i, attempt in ipairs(attempts) do parts[i] = sentence(attempt) end
  local told = table.concat(parts, ", ")
  if #attempts == 1 then return "the only target that was tried failed: " .. told end
  return ("all %d targets failed: %s"):format(#attempts, told)
end

--- As the provider put it: only the client can mend it.
local function pass_on(err, trail)
  local status = err.status
  if not status or status < 400 or status > 499 or status == 401 or status == 403 then
    status = err.code == "no_model" and 404 or 400
  end
  return {
    status = status,
    headers = {},
    body = body_of {
      message = err.message or "the request was refused",
      type = err.type or type_of(status),
      param = err.param,
      code = err.provider_code or PUBLIC_CODE[err.code] or err.code,
      trail = public_trail(trail),
    },
  }
end

local function own(status, code, message, err, trail)
  return {
    status = status,
    headers = headers_for(status, err, trail),
    body = body_of {
      message = message,
      type = type_of(status, code),
      code = PUBLIC_CODE[code] or code,
      trail = public_trail(trail),
    },
  }
end

local function refusal(err, trail)
  local status = tonumber(err.status)
  if not status or status < 400 or status > 599 then status = 502 end
  return own(status, err.code, err.message or "refused by the policy", err, trail)
end

--- reason and retry_after are those of the target that is free again first.
local function exhausted(err)
  local wait = tonumber(err.retry_after)
  local free = wait and ("; the first is free again in %d s"):format(math.ceil(wait)) or ""
  if err.reason == "rate_limited" then
    local message = "all targets are cooling down after rate limits" .. free
    return own(429, "rate_limited", message, err, {})
  end
  local message = wait and "all targets are cooling down" .. free or err.message
  return own(503, "overloaded", message or "no target is available", err, {})
end

local function all_are(trail, belongs)
  for _, attempt in ipairs(trail) do
    if not belongs(attempt.code) then return false end
  end
  return #trail > 0
end

--- The code of the attempt that decides: rule 6.
local function telling(err, trail)
  for i = #trail, 1, -1 do
    local code = trail[i].code
    if code and not CLIENTS_OWN[code] then return code end
  end
  return err.code
end

--- The attempts that failed: a policy may give up after one that did not.
local function failed(trail)
  local list = {}
  for _, attempt in ipairs(trail or {}) do
    if attempt.code and attempt.code ~= "ok" then list[#list + 1] = attempt end
  end
  return list
end

local function as_failure(err, attempts)
  if type(err) == "table" then return err end
  if err == nil and #attempts > 0 then return attempts[#attempts] end
  if type(err) == "string" then return { code = "policy_error", message = err } end
  return { code = "policy_error", message = "the policy gave neither a response nor a failure" }
end

--- The answer for the client. err is what the policy returned after nil (a failure of send's,
--- a table of its own, a string or nothing); trail lists { target, code, status, ms,
--- retry_after } of every attempt. An exception in a policy is { code = "policy_error" }. free
--- are the seconds until a target is back that was passed over, for it was cooling.
---@param err any
---@param trail table[]|nil
---@param free number|nil
---@return { status: integer, headers: table<string, string>, body: table }
function failure.reply(err, trail, free)
  local attempts = failed(trail)
  attempts.free = free
  err = as_failure(err, attempts)
  local code = err.code
  if code == "exhausted" and #attempts == 0 then return exhausted(err) end
  if OURS_ALONE[code] then
    return own(GATEWAY_STATUS[code], code, err.message or "the policy failed", err, attempts)
  end
  if CLIENTS_OWN[code] then
    local is_alone = err.final or #attempts == 0
    local everywhere = all_are(attempts, function(word) return CLIENTS_OWN[word] end)
    if is_alone or everywhere then return pass_on(err, attempts) end
  elseif not GATEWAY_WORDS[code] then
    return refusal(err, attempts)
  end
  local message = message_of(err, attempts)
  local is_limited = all_are(attempts, function(word) return word == "rate_limited" end)
  if is_limited or #attempts == 0 and code == "rate_limited" then
    return own(429, "rate_limited", message, err, attempts)
  end
  code = telling(err, attempts)
  return own(GATEWAY_STATUS[code] or 502, code, message, err, attempts)
end

return failure
