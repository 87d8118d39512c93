-- Promise 1: nothing reaches the client before the commit point; a failure before it is
-- invisible; if all fail, the client gets a real status.

local openai = require("spec.support.openai")
local world = require("spec.support.world")

local served = { openai.role, openai.content("from the second"), openai.finish, openai.done }

--- How the first provider fails a stream before its commit point.
local failures = {
  ["a 429"] = function(up)
    up:answer(429, openai.failure("slow down", "rate_limit_error"), { ["Retry-After"] = "7" })
  end,
  ["a 503 with a page of HTML"] = function(up)
    up:answer(503, "<html>down</html>", { ["Content-Type"] = "text/html" })
  end,
  ["a 404 for a model it does not have"] = function(up)
    up:answer(404, openai.failure("no such model", "invalid_request_error", "model_not_found"))
  end,
  ["a 401 for our key"] = function(up)
    up:answer(401, openai.failure("bad key", "invalid_request_error", "invalid_api_key"))
  end,
  ["a reset before its head"] = function(up)
    up:take():reset()
  end,
  ["an end inside its head"] = function(up)
    local connection = up:take()
    connection:send("HTTP/1.1 200 OK\r\nContent-Ty")
    connection:close()
  end,
  ["a reset after its head"] = function(up)
    up:stream():reset()
  end,
  ["a reset after the role"] = function(up)
    up:stream(openai.role):reset()
  end,
  ["an orderly end after the role"] = function(up)
    up:stream(openai.role):finish_stream()
  end,
  ["comments and then an end"] = function(up)
    up:stream(": OPENROUTER PROCESSING\n\n", ": OPENROUTER PROCESSING\n\n"):finish_stream()
  end,
  ["nothing but [DONE]"] = function(up)
    up:stream(openai.done):finish_stream()
  end,
  ["an empty stream"] = function(up)
    up:stream():finish_stream()
  end,
  ["an error as its first event"] = function(up)
    up:stream("data: " .. openai.failure("overloaded") .. "\n\n"):finish_stream()
  end,
  ["an error event after the role"] = function(up)
    up:stream(openai.role, "event: error\ndata: " .. openai.failure("boom") .. "\n\n")
      :finish_stream()
  end,
  ["an error as JSON with status 200"] = function(up)
    up:answer(200, openai.failure("rate limited", "rate_limit_error", "rate_limit_exceeded"))
  end,
  ["a page of HTML with status 200"] = function(up)
    up:answer(200, "<html>please log in</html>", { ["Content-Type"] = "text/html" })
  end,
  ["an event that is no JSON"] = function(up)
    up:stream("data: {\"choices\":[{\n\n"):finish_stream()
  end,
  ["an event without an end"] = function(up)
    up:stream('data: {"choices":[{"index":0,"delta":{"con'):finish_stream()
  end,
}

describe("one clean stream", function()
  local w, first, second

  before_each(function()
    w = world.new()
    first, second = w:upstream("first"), w:upstream("second")
  end)

  after_each(function()
    w:close()
  end)

  for name, fail in pairs(failures) do
    it("comes from the next target after " .. name, function()
      local client = w:gateway():chat { stream = true }
      fail(first)
      second:stream(table.concat(served)):finish_stream()
      local response = client:read_response()
      assert.equal(200, response.status)
      assert.equal("complete", response.ended)
      assert.equal(table.concat(served), response.body)
      assert.equal("second/second-model", response.headers["x-weir-target"])
      assert.equal("2", response.headers["x-weir-attempts"])
    end)
  end

  it("holds back what comes before the commit point", function()
    local gateway = w:gateway()
    local client = gateway:chat { stream = true }
    local provider = first:stream(openai.role, ": ping\n\n")
    -- another request on the same loop, answered after those bytes were there to be read
    assert.equal(200, gateway:request { path = "/healthz" }:read_response().status)
    assert.is_false(client:is_readable())
    provider:send_chunk(openai.content("now"))
    assert.equal(200, client:read_head().status)
  end)

  it("starts with the role once it is committed", function()
    local client = w:gateway():chat { stream = true }
    first:stream(openai.role, openai.content("hi"), openai.finish, openai.done):finish_stream()
    local body = client:read_response().body
    assert.equal(openai.role .. openai.content("hi") .. openai.finish .. openai.done, body)
  end)

  it("is committed by a tool call, by reasoning and by a finish", function()
    local gateway = w:gateway()
    for _, event in ipairs {
      openai.event('{"tool_calls":[{"index":0,"id":"c","function":{"name":"f","arguments":""}}]}'),
      openai.event('{"reasoning":"let me think"}'),
      openai.event('{"reasoning_content":"let me think"}'),
      openai.finish,
    } do
      local client = gateway:chat { stream = true }
      local provider = first:stream(openai.role, event)
      assert.equal(200, client:read_head().status)
      provider:reset()
      client:close()
    end
  end)

  it("is a real status with the trail when every target fails", function()
    local client = w:gateway():chat { stream = true }
    first:answer(500, openai.failure("broken"))
    second:stream(openai.role):reset()
    local response = client:read_response()
    assert.equal(502, response.status)
    assert.equal("application/json", response.headers["content-type"])
    assert.equal("string", type(response.json.error.message))
    assert.equal("server_error", response.json.error.type)
    assert.same({ "first/first-model", "second/second-model" },
      { response.json.error.trail[1].target, response.json.error.trail[2].target })
  end)

  it("is a 429 with the soonest Retry-After when every target is rate limited", function()
    local client = w:gateway():chat { stream = true }
    first:answer(429, openai.failure("slow down"), { ["Retry-After"] = "30" })
    second:answer(429, openai.failure("slow down"), { ["Retry-After"] = "12" })
    local response = client:read_response()
    assert.equal(429, response.status)
    assert.equal("12", response.headers["retry-after"])
    assert.equal("rate_limit_error", response.json.error.type)
  end)

  it("comes from the third target after a 429 and a stall", function()
    local third = w:upstream("third")
    local gateway = w:gateway { provider = { second = "timeout = { first = 0.2 }" } }
    local client = gateway:chat { stream = true }
    first:answer(429, openai.failure("slow down"), { ["Retry-After"] = "7" })
    local stalled = second:accept() -- on a slow machine its time may be over before it is asked
    if stalled:read_request() then
      stalled:start_stream()
      stalled:send_chunk(openai.role)
    end
    third:stream(table.concat(served)):finish_stream()
    local response = client:read_response()
    assert.equal(200, response.status)
    assert.equal(table.concat(served), response.body)
    assert.equal("3", response.headers["x-weir-attempts"])
    stalled:wait_closed()
  end)
end)
