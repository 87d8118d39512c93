-- Promise 2: after the commit point nothing is replayed; what breaks is said in one event.

local http = require("spec.support.http")
local openai = require("spec.support.openai")
local world = require("spec.support.world")

--- How a stream breaks after its commit point.
local breaks = {
  ["is reset"] = function(provider)
    provider:reset()
  end,
  ["is closed"] = function(provider)
    provider:close()
  end,
  ["ends in order without a finish"] = function(provider)
    provider:finish_stream()
  end,
  ["ends inside an event"] = function(provider)
    provider:send_chunk('data: {"choices":[{"index":0,"delta":{"content":"cut')
    provider:finish_stream()
  end,
  ["brings an event that is no JSON"] = function(provider)
    provider:send_chunk("data: {\"choices\":[{\n\n")
  end,
  ["brings an error event"] = function(provider)
    provider:send_chunk("data: " .. openai.failure("the model fell over") .. "\n\n")
  end,
  ["brings a chunk with a broken size"] = function(provider)
    provider:send("zz\r\n")
  end,
  ["falls silent"] = function() end,
}

describe("a stream that breaks after the commit point", function()
  local w, first, second

  before_each(function()
    w = world.new()
    first, second = w:upstream("first"), w:upstream("second")
  end)

  after_each(function()
    w:close()
  end)

  for name, break_it in pairs(breaks) do
    it("ends with one error event and no [DONE] when it " .. name, function()
      local gateway = w:gateway {
        provider = name == "falls silent" and { first = "timeout = { idle = 0.3 }" } or nil }
      local client = gateway:chat { stream = true }
      local provider = first:stream(openai.role, openai.content("half an ans"))
      local begun = openai.role .. openai.content("half an ans")
      assert.equal(200, client:read_head().status)
      assert.equal(begun, client:read_bytes(#begun))
      break_it(provider)
      local last, ended = client:read_chunks()
      assert.equal(gateway.cut, ended) -- without the final chunk: the client sees that it was cut
      local events = openai.events(last)
      assert.equal(1, #events)
      local failure = http.decode(events[1]).error
      assert.equal("string", type(failure.message))
      assert.equal("string", type(failure.type))
      assert.equal("string", type(failure.code))
      assert.is_false(second:is_asked())
    end)
  end

  it("is logged with what the provider's usage said", function()
    local gateway = w:gateway()
    local client = gateway:chat { stream = true }
    first:stream(openai.role, openai.content("half"), openai.usage):reset()
    client:read_response()
    gateway:wait_log("event=request", "status=200", "code=")
  end)
end)

describe("a stream that ends in order", function()
  local w, first

  before_each(function()
    w = world.new()
    first = w:upstream("first")
  end)

  after_each(function()
    w:close()
  end)

  it("is whole without [DONE] when a finish was seen", function()
    local client = w:gateway():chat { stream = true }
    first:stream(openai.role, openai.content("all"), openai.finish):finish_stream()
    local response = client:read_response()
    assert.equal("complete", response.ended)
    assert.is_nil(response.body:find("error", 1, true))
  end)

  it("is over for the client at [DONE], though the provider lingers", function()
    local client = w:gateway():chat { stream = true }
    first:stream(openai.role, openai.content("all"), openai.finish, openai.done)
    local response = client:read_response()
    assert.equal("complete", response.ended)
    assert.equal(openai.done, response.body:sub(-#openai.done))
  end)

  it("ends at [DONE], whatever the provider says after it", function()
    local client = w:gateway():chat { stream = true }
    first:stream(openai.role, openai.content("all"), openai.finish,
      openai.done .. openai.content("and another thing")):finish_stream()
    assert.is_nil(client:read_response().body:find("another thing", 1, true))
  end)
end)
