require("spec.support.fake")
local outcome = require("weir.outcome")
local json = require("dkjson")

local function read(raw)
  raw.target, raw.headers = "groq/llama", raw.headers or {}
  return outcome.read(raw)
end

local function body_of(error)
  return json.encode { error = error }
end

describe("outcome, by status", function()
  --- status -> code, final, scope, cooldown
  local rows = {
    [400] = { "client_error", true, "request" },
    [401] = { "credential", false, "key", 300 },
    [402] = { "credit", false, "key", 3600 },
    [403] = { "credential", false, "key", 300 },
    [404] = { "no_model", false, "model" },
    [405] = { "bad_response", false, "model" },
    [408] = { "timeout", false, "model" },
    [410] = { "no_model", false, "model" },
    [413] = { "client_error", true, "request" },
    [422] = { "client_error", true, "request" },
    [424] = { "bad_response", false, "model" },
    [429] = { "rate_limited", false, "model", 60 },
    [500] = { "bad_response", false, "model" },
    [502] = { "bad_response", false, "model" },
    [503] = { "overloaded", false, "provider" },
    [504] = { "timeout", false, "model" },
    [524] = { "timeout", false, "model" },
    [529] = { "overloaded", false, "provider" },
    [599] = { "bad_response", false, "model" },
    [301] = { "bad_response", false, "model" },
  }
  --- Every shape that says nothing of its own has to leave the status its meaning.
  local bodies = {
    object = body_of { message = "it failed", type = "x" },
    number = body_of { message = "it failed", code = 5 },
    anthropic = json.encode { type = "error", error = { message = "it failed" } },
    gemini = json.encode { { error = { message = "it failed" } } },
    rfc7807 = json.encode { title = "x", detail = "it failed" },
    fastapi = json.encode { detail = "it failed" },
    flat = json.encode { message = "it failed" },
    string = json.encode { error = "it failed" },
    text = "it failed",
  }
  local silent = { html = "<html>secret</html>", empty = "", json = "{}", bytes = "\0\1" }

  for status, row in pairs(rows) do
    it(("reads %d as %s"):format(status, row[1]), function()
      for shape, body in pairs(bodies) do
        local err = read { status = status, body = body }
        assert.same({ status, "it failed", "groq/llama" }, { err.status, err.message, err.target })
        assert.same(row, { err.code, err.final, err.scope, err.cooldown }, shape)
      end
      for shape, body in pairs(silent) do
        local err = read { status = status, body = body }
        assert.same(row, { err.code, err.final, err.scope, err.cooldown }, shape)
        assert.truthy(err.message:find("the provider answered " .. status, 1, true), err.message)
        assert.is_nil(err.message:find("secret", 1, true))
      end
    end)
  end

  it("raises the alarm for our credential and our trust, and for nothing else", function()
    for status in pairs(rows) do
      local alarm = read { status = status }.alarm
      assert.equal((status == 401 or status == 403) and true or nil, alarm)
    end
    assert.is_true(read { fault = "tls" }.alarm)
    assert.is_nil(read { fault = "reset" }.alarm)
  end)

  it("keeps its reading when the error's body broke off", function()
    assert.equal("rate_limited", read { status = 429, fault = "truncated", phase = "body" }.code)
    assert.equal("overloaded", read { status = 503, fault = "timeout", phase = "total" }.code)
  end)
end)

describe("outcome, by fault", function()
  local rows = {
    timeout = { "timeout", false, "model" },
    refused = { "refused", false, "provider" },
    reset = { "reset", false, "provider" },
    dns = { "dns", false, "provider" },
    tls = { "tls", false, "provider" },
    truncated = { "truncated", false, "model" },
    bad_response = { "bad_response", false, "model" },
    cancelled = { "cancelled", true, "request" },
  }
  for fault, row in pairs(rows) do
    it("reads " .. fault .. ", cools nothing by itself and has a sentence", function()
      local err = read { fault = fault, phase = "first" }
      assert.same(row, { err.code, err.final, err.scope })
      assert.is_nil(err.cooldown)
      assert.is_nil(err.status)
      assert.truthy(#err.message > 10)
    end)
  end

  it("prefers the core's sentence to its own", function()
    assert.equal("Could not resolve host", read { fault = "dns",
      message = "Could not resolve host" }.message)
  end)

  it("says which clock ran out", function()
    local seen = {}
    for _, phase in ipairs { "connect", "head", "first", "idle", "total" } do
      local message = read { fault = "timeout", phase = phase }.message
      assert.is_nil(seen[message])
      seen[message] = true
    end
  end)

  it("knows when the provider may have done the work", function()
    local ambiguous = { { "reset", "head" }, { "truncated", "body" }, { "timeout", "first" } }
    for _, case in ipairs(ambiguous) do
      assert.is_true(read { fault = case[1], phase = case[2] }.ambiguous)
    end
    local clear = { { "refused", "connect" }, { "dns", "connect" }, { "tls", "connect" },
      { "timeout", "connect" }, { "reset", "connect" }, { "dns", "head" }, { "tls", "head" },
      { "refused", "head" } }
    for _, case in ipairs(clear) do
      assert.is_nil(read { fault = case[1], phase = case[2] }.ambiguous)
    end
    assert.is_nil(read { status = 500 }.ambiguous)
    assert.is_nil(read { fault = "reset", phase = "head", was_sent = false }.ambiguous)
    assert.is_true(read { fault = "reset", phase = "head", was_sent = true }.ambiguous)
  end)

  it("reads a client that is gone whatever else was seen", function()
    assert.equal("cancelled", read { fault = "cancelled", status = 500 }.code)
  end)

  it("reads a page inside a 200 as a bad response", function()
    local err = read { status = 200, fault = "bad_response", body = "<html><body>Hi" }
    assert.equal("bad_response", err.code)
    assert.equal("the provider answered 200 with a page of HTML", err.message)
  end)
end)

describe("outcome, an error inside a 200", function()
  local rows = {
    { { code = 429 }, "rate_limited", 429 },
    { { code = "rate_limit_exceeded" }, "rate_limited", 429 },
    { { type = "rate_limit_error" }, "rate_limited", 429 },
    { { type = "overloaded_error" }, "overloaded", 503 },
    { { code = 502 }, "bad_response", 502 },
    { { code = 503 }, "overloaded", 503 },
    { { code = 402 }, "credit", 402 },
    { { code = "insufficient_quota" }, "credit", 402 },
    { { code = 401 }, "credential", 401 },
    { { type = "authentication_error" }, "credential", 401 },
    { { code = 404 }, "no_model", 404 },
    { { code = "model_not_found", type = "invalid_request_error" }, "no_model", 404 },
    { { type = "invalid_request_error" }, "client_error", 400 },
    { { code = 400 }, "client_error", 400 },
    { { code = "context_length_exceeded", type = "invalid_request_error" }, "context_length", 400 },
    { { code = "content_filter" }, "content_policy", 400 },
    { { type = "server_error" }, "bad_response", 502 },
    { { type = "api_error" }, "bad_response", 502 },
    { { code = 200 }, "bad_response", 502 },
    { {}, "bad_response", 502 },
  }
  for _, row in ipairs(rows) do
    it(("means %s where it says %s"):format(row[2], json.encode(row[1])), function()
      row[1].message = "oh"
      for _, fault in ipairs { "bad_response", false } do
        local err = read { status = 200, fault = fault or nil, body = body_of(row[1]) }
        assert.same({ row[2], row[3], "oh" }, { err.code, err.status, err.message })
      end
    end)
  end

  it("counts for nothing when the stream was cut later", function()
    local err = read { status = 200, fault = "truncated", body = body_of { code = 429 } }
    assert.equal("truncated", err.code)
  end)
end)

describe("outcome, words that say more than the status", function()
  local rows = {
    { 429, { code = "insufficient_quota" }, "credit", false, 3600 },
    { 429, { type = "insufficient_quota" }, "credit", false, 3600 },
    { 429, { code = "project_spend_limit_exceeded" }, "credit", false, 3600 },
    { 400, { code = "context_length_exceeded" }, "context_length", false },
    { 400, { message = "This model's maximum context length is 8192 tokens" }, "context_length",
      false },
    { 400, { message = "prompt is too long: 210000 tokens" }, "context_length", false },
    { 413, { message = "Request too large for model `x` on tokens per minute (TPM): Limit 6000" },
      "context_length", false },
    { 429, { message = "Request too large for gpt-4o on tokens per min" }, "context_length",
      false },
    { 400, { message = "DEGRADED function cannot be invoked" }, "overloaded", false },
    { 400, { message = "API key not valid. Please pass a valid API key." }, "credential", false,
      300 },
    { 400, { message = "foo/bar is not a valid model ID" }, "no_model", false },
    { 400, { message = "The model `x` does not exist" }, "no_model", false },
    { 400, { message = "Model x is not available for this key" }, "no_model", false },
    { 422, { message = "prompt is too long" }, "context_length", false },
    { 400, { message = "this model is available" }, "client_error", true },
    { 403, { message = "Project does not have access to the model x" }, "no_model", false },
    { 400, { code = "model_decommissioned" }, "no_model", false },
    { 400, { code = "content_policy_violation" }, "content_policy", true },
    { 500, { type = "overloaded_error" }, "overloaded", false },
    { 500, { message = "model not found in the context window" }, "bad_response", false },
    { 429, { message = "model x is not available now" }, "rate_limited", false, 60 },
  }
  for _, row in ipairs(rows) do
    it(("reads %d and %s as %s"):format(row[1], json.encode(row[2]), row[3]), function()
      local err = read { status = row[1], body = body_of(row[2]) }
      assert.same({ row[3], row[4], row[5] }, { err.code, err.final, err.cooldown })
      assert.equal(row[1], err.status)
    end)
  end
end)

describe("outcome, cooldown", function()
  local provider = { cooldown = 7 }

  it("takes what a 429 says, else the provider's own, else a minute", function()
    local headers = { ["retry-after"] = "2.5" }
    local err = read { status = 429, headers = headers, provider = provider }
    assert.same({ 2.5, 2.5 }, { err.retry_after, err.cooldown })
    err = read { status = 429, provider = provider }
    assert.same({ 7 }, { err.cooldown })
    assert.is_nil(err.retry_after)
    assert.equal(60, read { status = 429 }.cooldown)
  end)

  it("lets 20 ms beat the default", function()
    local headers = { ["retry-after-ms"] = "20" }
    assert.equal(0.02, read { status = 429, headers = headers, provider = provider }.cooldown)
  end)

  it("takes what a 503 or a 529 says, and nothing else", function()
    for _, status in ipairs { 503, 529 } do
      assert.equal(9, read { status = status, headers = { ["retry-after"] = "9" } }.cooldown)
      assert.is_nil(read { status = status, provider = provider }.cooldown)
    end
    assert.is_nil(read { status = 500, headers = { ["retry-after"] = "9" } }.cooldown)
  end)

  it("ends at a day, also for a provider's own reader", function()
    local err = read { status = 429, provider = { retry_after = function() return 1e9 end } }
    assert.equal(86400, err.cooldown)
  end)
end)

describe("outcome, the message", function()
  it("is at most 500 bytes, cut between characters", function()
    for shift = 0, 3 do
      local text = ("x"):rep(shift) .. ("\226\130\172"):rep(400) -- euro signs
      local message = read { status = 400, body = body_of { message = text } }.message
      assert.truthy(#message <= 500 and #message > 490)
      local rest = message:sub(shift + 1):gsub("\226\130\172", ""):gsub("\226\128\166$", "")
      assert.equal("", rest)
    end
  end)

  it("is redacted before it is cut, and its type, param and code too", function()
    local err = read { status = 401, body = body_of {
      message = ("x"):rep(490) .. " sk-" .. ("a"):rep(100), code = "sk-abc", param = "sk-abc",
      type = "sk-abc",
    } }
    assert.is_nil(err.message:find("sk-", 1, true))
    assert.same({ "[key]", "[key]", "[key]" }, { err.provider_code, err.param, err.type })
  end)

  it("is one line", function()
    local err = read { status = 400, body = body_of { message = "a\r\nb\tc\27[31m" } }
    assert.equal("a b c[31m", err.message)
  end)
end)

describe("outcome, whatever it is given", function()
  local names = { "error", "message", "type", "param", "code", "status", "detail", "title",
    "response", "metadata", "headers", "raw", "loc", "msg", "reasons",
    "details", "violations", "quotaId", "retryDelay", 1, 2 }
  local leaves = { "x", "", 429, 1.5, -1, true, false, json.null, "429", "rate_limit_exceeded" }

  --- A body of the shapes that errors have, with anything in any place.
  local function any(depth)
    if depth == 0 or math.random() < 0.3 then return leaves[math.random(#leaves)] end
    local value, is_list = {}, math.random() < 0.3
    for i = 1, math.random(0, 4) do
      local name = is_list and i or names[math.random(#names - 2)]
      value[name] = any(depth - 1)
    end
    return value
  end

  for _, name in ipairs { "openai", "openrouter", "groq", "cerebras", "gemini", "fireworks" } do
    it("gives an err with a message and never raises, at " .. name, function()
      math.randomseed(7)
      local provider = require("weir.providers." .. name)
      local statuses, faults = { 200, 400, 402, 403, 429, 503 }, { "bad_response", "truncated" }
      for _ = 1, 2000 do
        local err = read { status = statuses[math.random(7)], fault = faults[math.random(3)],
          body = json.encode(any(4)), provider = provider, now = 0 }
        assert.equal("string", type(err.message))
        assert.equal("boolean", type(err.final))
        assert.truthy(err.code and err.scope)
        for _, member in ipairs { "type", "param", "provider_code" } do
          assert.truthy(err[member] == nil or type(err[member]) == "string")
        end
      end
    end)
  end
end)

describe("outcome, with a provider's own word", function()
  it("lets it change code, final, scope, cooldown and message", function()
    local err = read { status = 400, provider = { classify = function(raw, said)
      assert.same({ 400, "no" }, { raw.status, said.message })
      return { code = "rate_limited", final = true, scope = "key", cooldown = 5, message = "yes" }
    end }, body = body_of { message = "no" } }
    assert.same({ "rate_limited", true, "key", 5, "yes" },
      { err.code, err.final, err.scope, err.cooldown, err.message })
  end)

  it("keeps its own reading where that says nothing", function()
    local err = read { status = 400, provider = { classify = function() end } }
    assert.same({ "client_error", true }, { err.code, err.final })
  end)

  it("lives with a word that it does not know", function()
    local err = read { status = 400, provider = {
      classify = function() return { code = "strange" } end,
    } }
    assert.same({ "strange", false, "model" }, { err.code, err.final, err.scope })
  end)
end)

describe("outcome, at Groq", function()
  local groq = require("weir.providers.groq")

  it("goes on after a failed tool call, a member it refuses, and a lack of capacity", function()
    local err = read { status = 400, provider = groq, body = body_of {
      message = "Failed to call a function", code = "tool_use_failed", failed_generation = "x",
    } }
    assert.same({ "bad_response", false }, { err.code, err.final })
    err = read { status = 400, provider = groq, body = body_of {
      message = "property 'reasoning_content' is unsupported", type = "invalid_request_error",
    } }
    assert.same({ "client_error", false }, { err.code, err.final })
    err = read { status = 498, provider = groq, body = body_of { message = "capacity" } }
    assert.same({ "overloaded", false }, { err.code, err.final })
  end)

  it("ends after a bad request of any other kind", function()
    assert.is_true(read { status = 400, provider = groq, body = body_of { message = "x" } }.final)
  end)
end)

describe("outcome, at Cerebras", function()
  local cerebras = require("weir.providers.cerebras")

  it("tells a full queue from a spent limit", function()
    local queue = json.encode { message = "high traffic", code = "queue_exceeded" }
    local quota = json.encode { message = "Tokens per minute", code = "token_quota_exceeded" }
    assert.equal("overloaded", read { status = 429, provider = cerebras, body = queue }.code)
    assert.equal("rate_limited", read { status = 429, provider = cerebras, body = quota }.code)
  end)

  it("reads a payment that is due as credit", function()
    local body = json.encode { message = "Payment required", code = "payment_required" }
    local err = read { status = 402, provider = cerebras, body = body }
    assert.same({ "credit", 3600 }, { err.code, err.cooldown })
  end)
end)

describe("outcome, at OpenRouter", function()
  local openrouter = require("weir.providers.openrouter")

  it("says what the provider behind it said", function()
    local err = read { status = 429, provider = openrouter, body = body_of {
      message = "Provider returned error", code = 429,
      metadata = { provider_name = "Zed", raw = [[{"error":{"message":"busy now"}}]] },
    } }
    assert.same({ "rate_limited", "Zed: busy now", "429" },
      { err.code, err.message, err.provider_code })
  end)

  it("reads the end of a limit from the body or the header, in epoch milliseconds", function()
    local function limited(metadata, headers)
      return read { status = 429, provider = openrouter, now = 1700000000, headers = headers,
        body = body_of { message = "Rate limit exceeded", code = 429, metadata = metadata } }
    end
    local inside = { headers = { ["X-RateLimit-Reset"] = "1700000030000" } }
    assert.equal(30, limited(inside).cooldown)
    assert.equal(12, limited(nil, { ["x-ratelimit-reset"] = "1700000012000" }).cooldown)
    assert.equal(3, limited(inside, { ["retry-after"] = "3" }).cooldown)
    assert.equal(60, limited({ headers = { ["X-RateLimit-Reset"] = "1600000000000" } }).cooldown)
    assert.equal(60, limited({ headers = "x" }).cooldown)
  end)

  it("tells a flagged input from a bad key", function()
    local flagged = read { status = 403, provider = openrouter, body = body_of {
      message = "flagged", code = 403, metadata = { reasons = { "violence" } },
    } }
    assert.same({ "content_policy", true }, { flagged.code, flagged.final })
    assert.is_nil(flagged.alarm)
    assert.equal("credential", read { status = 403, provider = openrouter,
      body = body_of { message = "no", code = 403 } }.code)
  end)

  it("waits only shortly where the money is in flight", function()
    local err = read { status = 402, provider = openrouter, headers = { ["retry-after"] = "4" },
      body = body_of { message = "x", code = 402,
        metadata = { limit_source = "openrouter_in_flight_budget" } } }
    assert.same({ "rate_limited", "key", 4 }, { err.code, err.scope, err.cooldown })
  end)

  it("reads metadata of any kind", function()
    for _, metadata in ipairs { "x", 5, {}, { raw = 5 }, { raw = "{" }, { raw = json.null } } do
      local body = body_of { message = "oh", code = 502, metadata = metadata }
      assert.equal("bad_response", read { status = 502, provider = openrouter, body = body }.code)
    end
  end)
end)
