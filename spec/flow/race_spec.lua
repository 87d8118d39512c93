-- req:race: hedging.

local openai = require("spec.support.openai")
local world = require("spec.support.world")

describe("a race", function()
  local w, first, second

  before_each(function()
    w = world.new()
    first, second = w:upstream("first"), w:upstream("second")
  end)

  after_each(function()
    w:close()
  end)

  local function racing(after)
    return w:gateway { models = ([[
    default = function(req)
      return req:race({ "first/m", "second/m" }, { after = %s })
    end,]]):format(after) }
  end

  it("asks the second target when the first is slow, and closes the loser", function()
    local client = racing(0.05):chat { stream = true }
    local slow = first:take()
    second:stream(openai.role, openai.content("quick"), openai.finish, openai.done):finish_stream()
    local response = client:read_response()
    assert.equal("second/m", response.headers["x-weir-target"])
    assert.equal("2", response.headers["x-weir-attempts"])
    assert.truthy(response.body:find("quick", 1, true))
    slow:wait_closed()
  end)

  it("shows the loser in the trail as cancelled", function()
    local gateway = racing(0.05)
    local client = gateway:chat()
    first:take()
    second:answer(200, openai.answer("quick"))
    client:read_response()
    gateway:wait_log("event=attempt", "target=first/m", "outcome=cancelled")
  end)

  it("keeps to the first while it answers in time", function()
    local client = racing(3600):chat()
    first:answer(200, openai.answer("here"))
    local response = client:read_response()
    assert.equal("first/m", response.headers["x-weir-target"])
    assert.is_false(second:is_asked())
  end)

  it("goes on at once when one fails", function()
    local client = racing(3600):chat()
    first:answer(503, "{}")
    second:answer(200, openai.answer("there"))
    assert.equal("second/m", client:read_response().headers["x-weir-target"])
  end)

  it("lets the first win though the second was asked", function()
    local client = racing(0.05):chat()
    local slow = first:take()
    local other = second:take()
    slow:respond(200, openai.answer("late but first"))
    assert.equal("first/m", client:read_response().headers["x-weir-target"])
    other:wait_closed()
  end)

  it("fails with both in the trail when both fail", function()
    local client = racing(3600):chat()
    first:answer(503, "{}")
    second:answer(500, "{}")
    local response = client:read_response()
    assert.is_true(response.status >= 500)
    assert.equal(2, #response.json.error.trail)
  end)

  it("closes all when the client goes", function()
    local client = racing(0.05):chat()
    local a, b = first:take(), second:take()
    client:close()
    a:wait_closed()
    b:wait_closed()
  end)

  it("is what policies/hedge.lua does", function()
    local gateway = w:gateway { models = [[
    default = require("policies.hedge") { "first/m", "second/m", after = 0.05 },]] }
    local client = gateway:chat()
    local slow = first:take()
    second:answer(200, openai.answer("hedged"))
    assert.equal("second/m", client:read_response().headers["x-weir-target"])
    slow:wait_closed()
  end)

  it("raises for what it cannot run", function()
    local gateway = w:gateway { models = [[
    default = function(req)
      local _, a = pcall(req.race, req, {}, { after = 1 })
      local _, b = pcall(req.race, req, { "first/m" }, {})
      local _, c = pcall(req.race, req, { "frist/m" }, { after = 1 })
      return req:reply(200, { a = a, b = b, c = c })
    end,]] }
    local said = gateway:chat():read_response().json
    assert.truthy(said.a:find("1 to 8 targets", 1, true))
    assert.truthy(said.b:find("after = s", 1, true))
    assert.truthy(said.c:find("did you mean 'first'", 1, true))
  end)
end)
