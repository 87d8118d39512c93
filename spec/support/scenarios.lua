--- What the simulator and the gateway must agree on: requests, and what providers do.
---
--- A scenario is { name, model, answers of the provider "first", answers of "second" } with
--- requests (1), leaves, and only = "plain" or "stream". Answers are sim_script.lua's; the
--- provider "gone" refuses connections. Waits are short: one of the two worlds waits truly. There
--- whom nothing is to run out for has all the time, as a busy machine may need it.

local scenarios = {}

--- Whether the scenario needs that provider's time to run out: what it would begin afterwards
--- comes.
local function is_hurried(scenario, name)
  local answers = scenario[name == "first" and 3 or 4] or {}
  return answers[1] == "stall" and not scenario.leaves and scenario[2] ~= "race"
end

--- The weir.lua of both; url(name) is where a provider is. Without a scenario all are hurried.
function scenarios.config(url, scenario)
  local function wait(name)
    return (not scenario or is_hurried(scenario, name)) and "short" or "long"
  end
  return ([[
local weir = require("weir")
local waterfall = require("policies.waterfall")
local short, long = { first = 1, idle = 1 }, { first = 60, idle = 60 }
local both = waterfall { "first/a", "second/b" }

local function through(filter)
  return function(req)
    local res, err = both(req)
    return res and res:map(filter), err
  end
end

return {
  listen = "127.0.0.1:0", workers = 1,
  policy = { burst = 1 }, -- so that what takes all memory meets that limit first, also when slow
  providers = {
    first  = { type = "openai", base_url = "%s", timeout = %s },
    second = { type = "openai", base_url = "%s", timeout = %s },
    gone   = { type = "openai", base_url = "%s" },
  },
  models = {
    default = both,
    gone = waterfall { "gone/x", "second/b" },
    nobody = waterfall { "gone/x" },
    patient = function(req)
      return req:send("first/a", { timeout = { first = 0.5 } })
    end,
    sleep = function(req)
      local res, err = req:send("first/a")
      if res then return res end
      weir.sleep(0.05)
      return req:send(err.target)
    end,
    sleep_long = function(req)
      req:send("first/a")
      weir.sleep(60)
    end,
    reply = function(req) return req:reply(200, "hello from the house") end,
    table = function(req) return req:reply(201, { a = { 1, 2 }, b = weir.json.null }) end,
    refuse = function(req) return req:reply(451, "not here") end,
    edit = function(req)
      req.body.temperature = 0.25
      req.body.logprobs = nil
      return both(req)
    end,
    edit_one = function(req)
      local res = req:send("first/a", { edit = function(body) body.top_p = 0.5 end })
      return res or req:send("second/b")
    end,
    shout = through(function(event)
      if event.text then event.text = event.text:upper() end
      return event
    end),
    drop = through(function(event)
      if event.kind ~= "content" or not event.text:find("two", 1, true) then return event end
    end),
    twice = through(function(event)
      if event.kind ~= "content" then return event end
      return { event, event:copy(event.text) }
    end),
    slow_filter = through(function(event)
      weir.sleep(0.01)
      return event
    end),
    bad_filter = through(function() error("oh") end),
    ended = function(req)
      local res, err = both(req)
      return res and res:on_end(function(result)
        weir.log.info("ended", { code = result.code, tokens = result.usage.completion_tokens })
      end), err
    end,
    loops = function() while true do pcall(function() end) end end,
    eats = function()
      local held = {}
      while true do held[#held + 1] = ("x"):rep(4000000) .. #held end
    end,
    raises = function() error("oh") end,
    nonsense = function() return 42 end,
    nothing = function() end,
    own_error = function() return nil, { code = "too_loud", status = 418, message = "hush" } end,
    whole = function(req)
      local res = req:send("first/a", { commit = "whole" })
      return res or req:send("second/b", { commit = "whole" })
    end,
    content = function(req)
      local res = req:send("first/a", { commit = "content" })
      return res or req:send("second/b", { commit = "content" })
    end,
    continue = require("policies.continue") { "first/a", "second/b" },
    race = function(req) return req:race({ "first/a", "second/b" }, { after = 0.05 }) end,
    cooled = function(req)
      weir.target("first/a"):cool(30)
      return both(req)
    end,
  },
}
]]):format(url("first"), wait("first"), url("second"), wait("second"), url("gone"))
end

local TEXT = { text = "one two three" }

local function with(options)
  options.text = options.text or TEXT.text
  return options
end

scenarios.list = {
  { "answers", "default", { 200, TEXT } },
  { "thinks and calls a tool", "default",
    { 200, with { reasoning = "hm", tool = { name = "f" } } } },
  { "400", "default", { 400, { message = "no", param = "messages" } } },
  { "400, too long", "default", { 400, { code = "context_length_exceeded" } } },
  { "400 everywhere", "default", { 400, { code = "context_length_exceeded" } },
    { 400, { code = "context_length_exceeded" } } },
  { "401", "default", { 401 }, requests = 2 },
  { "402", "default", { 402 }, requests = 2 },
  { "404", "default", { 404, { code = "model_not_found" } } },
  { "413", "default", { 413 } },
  { "429 and its cooldown", "default", { 429, { retry_after = 30 } }, requests = 2 },
  { "429 everywhere", "default", { 429, { retry_after = 30 } }, { 429, { retry_after = 20 } },
    requests = 2 },
  { "429 for want of credit", "default", { 429, { code = "insufficient_quota" } }, requests = 2 },
  { "500", "default", { 500 } },
  { "503 with a time", "default", { 503, { retry_after = 5 } }, requests = 2 },
  { "529", "default", { 529 } },
  { "500 and 503", "default", { 500 }, { 503 } },
  { "a refused connection", "gone", {}, { 200, TEXT } },
  { "nobody there", "nobody", {} },
  { "a reset", "default", { "reset" } },
  { "a reset after the head", "default", { "reset", { after = "head" } } },
  { "silence", "default", { "stall" } },
  { "silence after the head", "default", { "stall", { after = "head" } } },
  { "silence, sooner", "patient", { "stall" } },
  { "silence everywhere", "default", { "stall" }, { "stall" } },
  { "a cut in a body", "default", { "truncated", with { after = 2 } }, only = "plain" },
  { "a cut in a stream", "default", { "truncated", with { after = 2 } }, only = "stream" },
  { "a stall in a stream", "default", { "stall", with { after = 2 } }, only = "stream" },
  { "a reset in a stream", "default", { "reset", with { after = 2 } }, only = "stream" },
  { "an error in a stream", "default", { "error", with { after = 2, message = "full" } },
    only = "stream" },
  { "an error in a 200", "default", { "error", { message = "full" } } },
  { "a limit in a 200", "default", { "error", { code = "rate_limit_exceeded" } }, requests = 2 },
  { "a page", "default", { "html" } },
  { "nothing in a 200", "default", { "empty" } },
  { "garbage", "default", { "raw", { "data: {oh\n\n" } } },
  { "garbage everywhere", "default", { "raw", { "data: {oh\n\n" } }, { "html" } },
  { "JSON for a stream", "default", { "json", { choices = {} } } },
  { "a client that leaves", "default", { "stall" }, leaves = 0.15 },
  { "a client that leaves a sleeper", "sleep_long", { 503 }, {}, leaves = 0.3 },
  { "sleep", "sleep", { 503 } },
  { "a reply", "reply", {} },
  { "a reply of a table", "table", {} },
  { "a refusal", "refuse", {} },
  { "edits", "edit", { 500 } },
  { "edits of one attempt", "edit_one", { 500 } },
  { "a filter of text", "shout", { 200, TEXT } },
  { "a filter of text and a cut", "shout", { "truncated", with { after = 2 } }, only = "stream" },
  { "a filter that drops", "drop", { 200, TEXT } },
  { "a filter that says all twice", "twice", { 200, TEXT }, only = "stream" },
  { "a filter that waits", "slow_filter", { 200, TEXT } },
  { "a filter that raises", "bad_filter", { 200, TEXT } },
  { "on_end", "ended", { 200, TEXT } },
  { "on_end of a cut stream", "ended", { "truncated", with { after = 2 } }, only = "stream" },
  { "a policy that raises", "raises", {} },
  { "a policy that never ends", "loops", {} },
  { "a policy that takes all memory", "eats", {} },
  { "a policy that returns a number", "nonsense", {} },
  { "a policy that returns nothing", "nothing", {} },
  { "an error of the policy's own", "own_error", {} },
  { "a race", "race", { "stall" } },
  { "a race that both lose", "race", { 500 }, { 503 } },
  { "a commit of the whole", "whole", { 200, TEXT } },
  { "a commit of the whole, and a cut", "whole", { "truncated", with { after = 2 } },
    only = "stream" },
  { "a commit of the whole, and a stall", "whole", { "stall", with { after = 2 } },
    only = "stream" },
  { "a commit of the content, and a cut in thoughts", "content",
    { "truncated", with { after = 1, reasoning = "hm so" } }, only = "stream" },
  { "a stream that goes on after a cut", "continue", { "truncated", with { after = 2 } },
    { 200, { text = "and four" } }, only = "stream" },
  { "a stream that goes on after a stall", "continue", { "stall", with { after = 2 } },
    { 200, { text = "and four" } }, only = "stream" },
  { "a stream that nobody goes on with", "continue", { "truncated", with { after = 2 } }, { 500 },
    only = "stream" },
  { "a stream that breaks in a tool call", "continue",
    { "truncated", with { after = 1, tool = { name = "f" } } }, only = "stream" },
  { "a target that a policy cooled", "cooled", { 200 } },
}

--- The body of a scenario's requests.
function scenarios.body(scenario, stream)
  return ('{"model":"%s","messages":[{"role":"user","content":"hi"}],"logprobs":true%s}'):format(
    scenario[2], stream and ',"stream":true' or "")
end

--- Each scenario plain and streamed, as the two worlds name it.
function scenarios.each(visit)
  for _, scenario in ipairs(scenarios.list) do
    for _, how in ipairs { "plain", "stream" } do
      if (scenario.only or how) == how then
        visit(scenario[1] .. ", " .. how, scenario, how == "stream")
      end
    end
  end
end

return scenarios
