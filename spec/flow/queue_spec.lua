-- policies/queue.lua before a provider whose limit is met.

local openai = require("spec.support.openai")
local world = require("spec.support.world")

describe("a queue", function()
  local w, up

  before_each(function()
    w = world.new()
    up = w:upstream("first")
  end)

  after_each(function()
    w:close()
  end)

  local function queueing(opts)
    return w:gateway {
      before = 'local queue = require "policies.queue"',
      models = ('default = queue({ "first/m" }, %s),'):format(opts or "nil"),
    }
  end

  local limited = '{"error":{"message":"wait","code":"rate_limit_exceeded"}}'

  it("waits for as long as the provider says, and the client sees an answer alone", function()
    local client = queueing():chat { stream = true }
    local provider = up:answer(429, limited, { ["Retry-After-Ms"] = "50" })
    provider:read_request()
    provider:start_stream()
    local events = { openai.role, openai.content("after all"), openai.finish, openai.done }
    for _, event in ipairs(events) do provider:send_chunk(event) end
    provider:finish_stream()
    local response = client:read_response()
    assert.equal(200, response.status)
    assert.equal("2", response.headers["x-weir-attempts"])
    assert.truthy(response.body:find("after all", 1, true))
  end)

  it("answers with the time where the wait would be too long", function()
    local client = queueing("{ wait = 10 }"):chat()
    up:answer(429, limited, { ["Retry-After"] = "30" })
    local response = client:read_response()
    assert.equal(429, response.status)
    assert.equal("30", response.headers["retry-after"])
    assert.is_false(up:is_asked())
  end)

  it("ends with its client, and leaves the place to another", function()
    local gateway = queueing("{ length = 1, wait = 600 }")
    local gone = gateway:chat()
    up:answer(429, limited, { ["Retry-After"] = "300" })
    gateway:wait_log("event=cooldown", "key=first/m")
    gone:close()
    gateway:wait_log("event=request", "status=499")
    local waits = gateway:chat()
    local refused = gateway:chat():read_response()
    assert.equal(429, refused.status)
    assert.truthy(tonumber(refused.headers["retry-after"]) <= 300)
    assert.is_false(up:is_asked())
    waits:close()
  end)
end)
