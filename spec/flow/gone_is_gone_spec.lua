-- Promise 5: when the client goes, the provider's connection goes within 100 ms, in every
-- state; status 499 is logged and no other target is tried.

local libc = require("spec.support.libc")
local openai = require("spec.support.openai")
local process = require("spec.support.process")
local world = require("spec.support.world")

local WITHIN = 0.1 * libc.slower -- seconds: the promise
local pipelined = "GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"

--- The ways in which a client goes.
local departures = {
  ["closes"] = function(client)
    client:close()
  end,
  ["resets"] = function(client)
    client:reset()
  end,
  ["shuts its sending side down"] = function(client)
    client:half_close()
  end,
  ["pipelines and closes"] = function(client)
    client:send(pipelined)
    client:close()
  end,
  ["pipelines and resets"] = function(client)
    client:send(pipelined)
    client:reset()
  end,
}

--- The states in which it may go: each gives the client and the provider's connection.
local states = {
  ["before the first byte of a stream"] = function(gateway, up)
    local client = gateway:chat { stream = true }
    return client, (up:take())
  end,
  ["before the first byte of a plain answer"] = function(gateway, up)
    local client = gateway:chat()
    return client, (up:take())
  end,
  ["before the commit point"] = function(gateway, up)
    local client = gateway:chat { stream = true }
    return client, (up:stream(openai.role, ": ping\n\n"))
  end,
  ["inside a plain answer"] = function(gateway, up)
    local client = gateway:chat()
    local provider = up:take()
    provider:send("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
      .. "Content-Length: 1000\r\n\r\n{")
    return client, provider
  end,
  ["inside a stream"] = function(gateway, up)
    local client = gateway:chat { stream = true }
    local provider = up:stream(openai.content("a"))
    client:read_head()
    client:read_chunk()
    return client, provider
  end,
}

describe("a client that", function()
  local w, first, second

  before_each(function()
    w = world.new()
    first, second = w:upstream("first"), w:upstream("second")
  end)

  after_each(function()
    w:close()
  end)

  for how, depart in pairs(departures) do
    for state, reach in pairs(states) do
      it(how .. " " .. state .. " takes the provider's connection along", function()
        local gateway = w:gateway()
        local client, provider = reach(gateway, first)
        local took = process.time(gateway:workers()[1], function()
          depart(client)
          provider:read_all()
        end)
        assert.is_true(took < WITHIN, ("%.0f ms"):format(took * 1000))
        gateway:wait_log("event=request", "status=499")
        assert.equal(200, gateway:request { path = "/healthz" }:read_response().status)
        assert.is_false(second:is_asked())
      end)
    end
  end

  it("closes while a connection is being made ends the request", function()
    -- a full backlog: the kernel answers no further connection
    local socket = require("spec.support.socket")
    first:refuse()
    local deaf = socket.listen(0, first.port)
    local filling = { socket.connect(first.port) }
    local gateway = w:gateway()
    local client = gateway:chat()
    client:half_close()
    gateway:wait_log("event=request", "status=499")
    assert.is_false(second:is_asked())
    deaf:close()
    filling[1]:close()
  end)

  it("closes while its policy sleeps ends the policy", function()
    local gateway = w:gateway { models = [[
      default = function(req)
        weir.log.info("asleep", {})
        weir.sleep(60)
        return req:send("first/m")
      end,]] }
    local client = gateway:chat()
    gateway:wait_log("says=asleep")
    client:close()
    gateway:wait_log("event=request", "status=499")
    assert.is_false(first:is_asked())
  end)

  it("sends its request and closes at once starts nothing that stays", function()
    local gateway = w:gateway()
    gateway:chat { stream = true }:close()
    gateway:wait_log("event=request", "status=499")
    local provider = first.listener:try_accept(0)
    if provider then provider:read_all() end
    assert.is_false(second:is_asked())
  end)

  it("leaves costs no other client anything", function()
    local gateway = w:gateway()
    local staying = gateway:chat { stream = true }
    local provider = first:stream(openai.content("a"))
    staying:read_head()
    assert.equal(openai.content("a"), staying:read_chunk())
    local leaving = gateway:chat { stream = true }
    local other = first:stream(openai.content("b"))
    leaving:read_head()
    leaving:reset()
    other:read_all()
    provider:send_chunk(openai.content("c"))
    assert.equal(openai.content("c"), staying:read_chunk())
  end)
end)
