--- explain.lua -- what `weir explain` prints: the attempts of a request that nobody would answer.
---
--- The request is played in the simulator, where every provider fails in the same way; so what is
--- printed is what the policy did, not what somebody thinks that it does.
local host = require("weir.host")
local sim = require("weir.sim")
local targets = require("weir.targets")
local explain = {}

local DONE, FAILED, CONFIG = 0, 1, 3 -- exit codes
local MAX_BODY = 2000                -- bytes that are shown

--- How a provider fails with that word.
local FAULTS = {
  bad_response = 500, client_error = 400, credential = 401, credit = 402, no_model = 404, ok = 200,
  overloaded = 503, rate_limited = 429, refused = "refused", reset = "reset", timeout = "stall",
  truncated = "truncated", dns = "dns", tls = "tls",
}

--- The body's text with that model in it, and not a byte else changed.
local function with_model(body, model, stream)
  local quoted = host.json_encode(model)
  if body == "" then
    return ('{"model":%s,"messages":[{"role":"user","content":"Hello"}]%s}'):format(quoted,
      stream and ',"stream":true' or "")
  end
  local member = '"model":' .. quoted:gsub("%%", "%%%%")
  local text, count = body:gsub('"model"%s*:%s*"[^"]*"', member, 1)
  if count == 0 then text = body:gsub("{", "{" .. member .. ",", 1) end
  if stream and not text:find('"stream"%s*:') then text = text:gsub("{", '{"stream":true,', 1) end
  return text
end

local function policy_of(settings, model)
  for _, one in ipairs(settings.models) do
    if one.name == model then return one.policy end
  end
  return settings.fallback
end

local function clocks(timeout)
  local parts = {}
  for _, name in ipairs { "connect", "first", "idle", "total" } do
    parts[#parts + 1] = ("%s %g s"):format(name, timeout[name])
  end
  return table.concat(parts, ", ")
end

local function shown(text)
  return #text > MAX_BODY and text:sub(1, MAX_BODY) .. "…" or text
end

local function add_attempts(lines, base_urls, began)
  for i, call in ipairs(sim.asked()) do
    local after = call.at - began
    lines[#lines + 1] = ("%d  %s%s"):format(i, call.target,
      after > 0 and (", after %g s"):format(after) or "")
    lines[#lines + 1] = "     to       " .. base_urls[call.provider] .. call.path
    lines[#lines + 1] = "     timeout  " .. clocks(call.timeout)
    lines[#lines + 1] = "     body     " .. shown(call.text)
  end
end

--- Targets that the policy's lists name and that it did not try, and why where that is known.
local function add_left_out(lines, list, cooling)
  local tried = {}
  for _, call in ipairs(sim.asked()) do tried[call.target] = true end
  for _, target in ipairs(list) do
    if not tried[target] and cooling[target] then
      lines[#lines + 1] = ("-  %s is left out: it %s"):format(target, cooling[target])
    elseif not tried[target] and target:sub(-2) ~= "/*" then
      lines[#lines + 1] = ("-  %s is not tried"):format(target)
    end
  end
end

local function cool_as_told(text)
  for target, seconds in text:gmatch("([^=\n]+)=([^\n]*)\n") do
    local count = tonumber(seconds)
    if not (count and count > 0) then
      error(("--cool %s=%s: seconds are a number"):format(target, seconds), 0)
    end
    sim.cool(target, count, "told")
  end
end

--- "cools for 30 s (rate_limited)", of each target that may not be tried by any key.
local function cooling_of(list)
  local cooling = {}
  for _, target in ipairs(list) do
    local seconds, reason = host.target(target):cooling()
    if seconds then
      cooling[target] = ("cools for %.0f s%s"):format(seconds,
        reason ~= "told" and " (" .. reason .. ")" or "")
    end
  end
  return cooling
end

--- What is known of targets that were asked before, a line each.
local function add_known(lines, list)
  for _, name in ipairs(list) do
    local target, parts = host.target(name), {}
    local latency, inflight = target:latency(), target:inflight()
    if latency then parts[1] = ("first content after %.3g s of late"):format(latency) end
    if inflight > 0 then parts[#parts + 1] = ("%d attempts run"):format(inflight) end
    if #parts > 0 then lines[#lines + 1] = ("   %s: %s"):format(name, table.concat(parts, ", ")) end
  end
end

local function answer_of(result)
  local error_said = result.error
  local what = error_said and ("%s: %s"):format(tostring(error_said.code), error_said.message)
    or shown(result.body)
  local wait = result.headers["retry-after"]
  return ("%d%s  %s"):format(result.status, wait and " (retry-after " .. wait .. ")" or "", what)
end

local function play(settings, request)
  local base_urls, lines = {}, {}
  for _, provider in ipairs(settings.providers) do
    base_urls[provider.name] = provider.base_url
    sim.provider(provider.name):answers(FAULTS[request.fail])
  end
  local policy = policy_of(settings, request.model)
  if not policy then return ("no model is called '%s'"):format(request.model), FAILED end
  cool_as_told(request.cooling)
  local list, known = targets.of(policy, host.reaches), {}
  local cooling = cooling_of(list)
  add_known(known, list)
  local began = host.now()
  local result = sim.request { body = with_model(request.body, request.model, request.stream) }
  lines[1] = #sim.asked() == 0 and ("model %s: nobody is asked"):format(request.model)
    or ("model %s, if each attempt ends with %s:"):format(request.model, request.fail)
  add_attempts(lines, base_urls, began)
  add_left_out(lines, list, cooling)
  for _, line in ipairs(known) do lines[#lines + 1] = line end
  for _, line in ipairs(sim.log()) do
    if line.event == "policy_error" then lines[#lines + 1] = "!  " .. line.error end
  end
  lines[#lines + 1] = "=  " .. answer_of(result)
  return table.concat(lines, "\n"), DONE
end

--- Explains a model of the weir.lua at path.
---@param path string
---@param model string
---@param stream string "" for a plain request
---@param body string its text, or ""
---@param fail string how attempts fail
---@param cooling string lines "target=seconds"
---@return string text
---@return integer exit code
function explain.run(path, model, stream, body, fail, cooling)
  if not FAULTS[fail] then
    return ("--fail knows no '%s'; it is a word of outcome.lua, such as rate_limited"):format(fail),
      FAILED
  end
  sim.open(path:match("^(.*/)") or "")
  local ok, settings = pcall(sim.config, path)
  if not ok then return (tostring(settings):gsub("^sim.config:\n  ", "")), CONFIG end
  local played, text, code = pcall(play, settings, {
    model = model, stream = stream ~= "", body = body, fail = fail, cooling = cooling,
  })
  if not played then return tostring(text), FAILED end
  return text, code
end

--- The same for a gateway that runs: request is JSON, an object of these by name.
---@param path string
---@param request string
---@param generation string its number
---@return string text
---@return integer exit code
function explain.live(path, request, generation)
  local said, problem = host.json_decode(request)
  if type(said) ~= "table" then return problem or "an object is wanted", FAILED end
  local text, code = explain.run(path, tostring(said.model), said.stream and "stream" or "",
    tostring(said.body or ""), tostring(said.fail or "overloaded"), tostring(said.cool or ""))
  if code ~= DONE then return text, code end
  return ("by what the gateway knows now; generation %s\n%s"):format(generation, text), code
end

return explain
