local fake = require("spec.support.fake")
local failure = require("weir.failure")

local function attempt(target, code, status, retry_after)
  return { target = target, code = code, status = status, ms = 5, retry_after = retry_after }
end

--- The reply to a policy that tried these and gave the last one's failure back.
local function after(...)
  local trail = { ... }
  local last = trail[#trail]
  return failure.reply({
    code = last.code, status = last.status, retry_after = last.retry_after, target = last.target,
    message = "it said", provider_code = "their_code", param = "their_param", final = last.final,
  }, trail)
end

describe("failure, the request's own fault", function()
  it("passes a final failure on as the provider put it", function()
    local reply = failure.reply({
      code = "client_error", final = true, status = 422, message = "bad temperature",
      type = "invalid_request_error", param = "temperature", provider_code = "out_of_range",
    }, { attempt("groq/a", "rate_limited", 429), attempt("b/c", "client_error", 422) })
    assert.equal(422, reply.status)
    assert.same({}, reply.headers)
    local error = reply.body.error
    assert.same({ "bad temperature", "invalid_request_error", "temperature", "out_of_range" },
      { error.message, error.type, error.param, error.code })
    assert.equal(2, #error.trail)
  end)

  it("fills in what the provider left out", function()
    local error = failure.reply({ code = "client_error", final = true, status = 400 },
      { attempt("groq/a", "client_error", 400) }).body.error
    assert.same({ "the request was refused", "invalid_request_error", fake.null, "client_error" },
      { error.message, error.type, error.param, error.code })
  end)

  it("never shows 401 or 403, nor a status that is no refusal", function()
    for _, status in ipairs { 401, 403, 200, 502 } do
      local err = { code = "content_policy", final = true, status = status, message = "flagged" }
      assert.equal(400, failure.reply(err, {}).status)
    end
    assert.equal(404, failure.reply({ code = "no_model" }, {}).status)
    for _, status in ipairs { 400, 402, 404, 413, 499 } do
      assert.equal(status, failure.reply({ code = "no_model", status = status }, {}).status)
    end
  end)

  it("passes it on when every target says so", function()
    local reply = after(attempt("a/x", "no_model", 404), attempt("b/y", "context_length", 413))
    assert.equal(413, reply.status)
    assert.same({ "it said", "their_code" }, { reply.body.error.message, reply.body.error.code })
    assert.equal(404, after(attempt("a/x", "context_length", 400),
      attempt("b/y", "no_model", 404)).status)
  end)

  it("says it in OpenAI's words where the provider had none", function()
    local codes = { context_length = "context_length_exceeded", no_model = "model_not_found" }
    for code, public in pairs(codes) do
      assert.equal(public, failure.reply({ code = code }, {}).body.error.code)
    end
  end)

  it("does not blame the request while another target failed for its own reasons", function()
    local reply = after(attempt("a/x", "timeout"), attempt("b/y", "context_length", 400))
    assert.equal(504, reply.status)
    assert.equal("timeout", reply.body.error.code)
  end)
end)

describe("failure, every target", function()
  it("is a 429 when all were rate limited, with the soonest time", function()
    local reply = after(attempt("a/x", "rate_limited", 429, 30), attempt("b/y", "rate_limited", 429,
      12.2), attempt("c/z", "rate_limited", 429, 90))
    assert.equal(429, reply.status)
    assert.same({ ["retry-after"] = "13" }, reply.headers)
    assert.same({ "rate_limit_error", "rate_limited", fake.null },
      { reply.body.error.type, reply.body.error.code, reply.body.error.param })
  end)

  it("counts a target's last attempt alone", function()
    local reply = after(attempt("a/x", "rate_limited", 429, 0), attempt("b/y", "rate_limited", 429,
      40), attempt("a/x", "rate_limited", 429, 30))
    assert.equal("30", reply.headers["retry-after"])
  end)

  it("counts a target that was passed over, for it was cooling", function()
    local trail = { attempt("a/x", "rate_limited", 429, 30) }
    local err = { code = "rate_limited", target = "a/x", retry_after = 30 }
    assert.equal("5", failure.reply(err, trail, 4.2).headers["retry-after"])
    assert.equal("30", failure.reply(err, trail, 50).headers["retry-after"])
  end)

  it("says what is left of a wait, and not how long it was", function()
    local err = { code = "rate_limited", target = "a/x", retry_after = 30 }
    local trail = { attempt("a/x", "rate_limited", 429, 12) }
    assert.equal("12", failure.reply(err, trail).headers["retry-after"])
  end)

  it("lets what a policy says itself stand", function()
    local trail = { attempt("a/x", "rate_limited", 429, 12) }
    local err = { code = "rate_limited", retry_after = 45 }
    assert.equal("45", failure.reply(err, trail, 3).headers["retry-after"])
  end)

  it("tells the SDKs not to sleep through a wait of more than a minute", function()
    assert.is_nil(after(attempt("a/x", "rate_limited", 429, 60)).headers["x-should-retry"])
    local headers = after(attempt("a/x", "rate_limited", 429, 60.5)).headers
    assert.same({ ["retry-after"] = "61", ["x-should-retry"] = "false" }, headers)
  end)

  it("waits at least a second and at most a day", function()
    local waits = { [0] = "1", [0.02] = "1", [1] = "1", [1.01] = "2", [1e12] = "86400" }
    for seconds, text in pairs(waits) do
      local headers = after(attempt("a/x", "rate_limited", 429, seconds)).headers
      assert.equal(text, headers["retry-after"])
    end
  end)

  it("names a time on every 429 and 503, also when nobody said one", function()
    assert.equal("60", after(attempt("a/x", "rate_limited", 429)).headers["retry-after"])
    assert.equal("5", after(attempt("a/x", "overloaded", 503)).headers["retry-after"])
    assert.is_nil(after(attempt("a/x", "timeout")).headers["retry-after"])
    assert.is_nil(after(attempt("a/x", "reset")).headers["retry-after"])
  end)

  --- codes of the attempts in order -> status, code
  local rows = {
    { { "timeout" }, 504, "timeout" },
    { { "refused" }, 502, "refused" },
    { { "reset" }, 502, "reset" },
    { { "dns" }, 502, "dns" },
    { { "tls" }, 502, "tls" },
    { { "truncated" }, 502, "truncated" },
    { { "bad_response" }, 502, "bad_response" },
    { { "overloaded" }, 503, "overloaded" },
    { { "credit" }, 502, "provider_credit" },
    { { "credential" }, 502, "provider_credential" },
    { { "rate_limited", "timeout" }, 504, "timeout" },
    { { "timeout", "rate_limited" }, 503, "rate_limited" },
    { { "timeout", "overloaded" }, 503, "overloaded" },
    { { "overloaded", "refused" }, 502, "refused" },
    { { "rate_limited", "context_length" }, 503, "rate_limited" },
    { { "no_model", "timeout" }, 504, "timeout" },
    { { "rate_limited", "credential" }, 502, "provider_credential" },
  }
  for _, row in ipairs(rows) do
    it(("gives %d after %s"):format(row[2], table.concat(row[1], ", ")), function()
      local trail = {}
      for i, code in ipairs(row[1]) do trail[i] = attempt("a/" .. i, code) end
      local reply = after(unpack(trail))
      assert.same({ row[2], row[3] }, { reply.status, reply.body.error.code })
      assert.equal("string", type(reply.body.error.type))
    end)
  end

  it("never shows 401, 402 or 403, which are about our own account", function()
    for status, code in pairs { [401] = "credential", [403] = "credential", [402] = "credit" } do
      local reply = after(attempt("a/x", code, status))
      assert.same({ 502, "provider_" .. code, "server_error" },
        { reply.status, reply.body.error.code, reply.body.error.type })
    end
  end)

  it("does not show a provider's status as its own", function()
    for _, code in ipairs { "refused", "reset", "dns", "tls", "truncated", "bad_response" } do
      assert.equal(502, after(attempt("a/x", code, 418)).status)
    end
  end)

  it("says what happened to each, without the providers' own texts", function()
    local reply = after(attempt("groq/llama", "rate_limited", 429), attempt("b/c", "timeout"))
    assert.equal("all 2 targets failed: groq/llama: rate_limited (429), b/c: timeout",
      reply.body.error.message)
    reply = after(attempt("b/c", "timeout"))
    assert.equal("the only target that was tried failed: b/c: timeout", reply.body.error.message)
  end)

  it("has the trail, without members that are nobody's business", function()
    local one = attempt("a/x", "timeout")
    one.message, one.retry_after = "internal", 5
    assert.same({ { target = "a/x", code = "timeout", ms = 5 } }, after(one).body.error.trail)
  end)

  it("leaves out an attempt that went well", function()
    local reply = failure.reply({ code = "timeout" }, { attempt("a/x", "ok", 200),
      attempt("b/y", "timeout") })
    assert.equal(1, #reply.body.error.trail)
  end)
end)

describe("failure, nothing tried", function()
  it("is a 429 when rate limits are why, else a 503, with the soonest time", function()
    local limited = failure.reply({ code = "exhausted", reason = "rate_limited",
      retry_after = 70.5 }, {})
    assert.equal(429, limited.status)
    assert.same({ ["retry-after"] = "71", ["x-should-retry"] = "false" }, limited.headers)
    assert.equal("all targets are cooling down after rate limits; the first is free again in 71 s",
      limited.body.error.message)
    local cooling = failure.reply({ code = "exhausted", reason = "credit", retry_after = 9 }, {})
    assert.equal("all targets are cooling down; the first is free again in 9 s",
      cooling.body.error.message)
    assert.equal(503, cooling.status)
    assert.same({ ["retry-after"] = "9" }, cooling.headers)
    assert.equal("overloaded", cooling.body.error.code)
  end)

  it("is a 503 where nothing cools either", function()
    local reply = failure.reply({ code = "exhausted" }, {})
    assert.equal(503, reply.status)
    assert.equal("no target is available", reply.body.error.message)
  end)

  it("reads the attempts if there were some after all", function()
    local err = { code = "exhausted", retry_after = 4 }
    local reply = failure.reply(err, { attempt("a/x", "timeout") })
    assert.equal(504, reply.status)
  end)
end)

describe("failure, a policy's own", function()
  it("keeps the status, word and message of a policy's refusal", function()
    local reply = failure.reply({ code = "too_chatty", status = 403, message = "enough" }, {})
    assert.equal(403, reply.status)
    assert.same({ "too_chatty", "enough", "invalid_request_error" },
      { reply.body.error.code, reply.body.error.message, reply.body.error.type })
  end)

  it("gives a refusal without a status a 502", function()
    for _, status in ipairs { "x", 200, 700, false } do
      assert.equal(502, failure.reply({ code = "odd", status = status or nil }, {}).status)
    end
    assert.equal(502, failure.reply({}, {}).status)
    assert.equal(400, failure.reply({ code = "odd", status = 400 }, {}).status)
    assert.equal(599, failure.reply({ code = "odd", status = 599 }, {}).status)
    assert.equal("server_error",
      failure.reply({ code = "odd", status = 500 }, {}).body.error.type)
  end)

  it("is a 500 for an exception, a text, and nothing at all", function()
    local raised = failure.reply({ code = "policy_error", message = "oh" }, {})
    assert.same({ 500, "oh" }, { raised.status, raised.body.error.message })
    local slow = failure.reply({ code = "timeout", message = "slow" }, {})
    assert.equal("slow", slow.body.error.message)
    local text = failure.reply("no way", {})
    assert.same({ 500, "no way", "policy_error" },
      { text.status, text.body.error.message, text.body.error.code })
    assert.equal(500, failure.reply(nil, nil).status)
    assert.equal(500, failure.reply(5, {}).status)
  end)

  it("takes the last attempt where the policy gave nothing", function()
    local reply = failure.reply(nil, { attempt("a/x", "timeout") })
    assert.equal(504, reply.status)
  end)

  it("has texts in it whatever a policy put there", function()
    local error = failure.reply({ code = "odd", message = { 1 }, retry_after = {} }, {}).body.error
    assert.equal("string", type(error.message))
  end)

  it("is a 499 for a client that is gone", function()
    assert.equal(499, failure.reply({ code = "cancelled", final = true }, {}).status)
  end)
end)
