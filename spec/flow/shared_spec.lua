-- weir.shared and weir.target in the running gateway: what all workers know.

local libc = require("spec.support.libc")
local openai = require("spec.support.openai")
local world = require("spec.support.world")

describe("what workers share", function()
  local w, first

  before_each(function()
    w = world.new()
    first = w:upstream("first")
  end)

  after_each(function()
    w:close()
  end)

  local function with(policy, options)
    options = options or {}
    options.models = "    default = " .. policy .. ","
    return w:gateway(options)
  end

  it("is one dictionary for all of them, and outlives a worker", function()
    local gateway = with([[function(req)
      local weir = require("weir")
      return req:reply(200, { count = weir.shared("visits"):incr("all") })
    end]], { more = "  workers = 2," })
    for i = 1, 10 do -- a connection each, so both workers have their turn sooner or later
      assert.equal(i, gateway:chat():read_response().json.count)
    end
    local worker = gateway:workers()[1]
    libc.C.kill(worker, libc.SIGKILL)
    gateway:wait_log("event=worker_died")
    assert.equal(11, gateway:chat():read_response().json.count)
  end)

  it("keeps values, forgets them in time, and deletes", function()
    local gateway = with [[function(req)
      local weir = require("weir")
      local box = weir.shared("box")
      box:set("text", "kept")
      box:set("flag", true)
      box:set("short", 1, 3600)
      local before = box:get("short")
      box:set("short", 1, 0.01)
      weir.sleep(0.02)
      local after = box:get("short")
      box:set("gone", 1)
      box:delete("gone")
      local other = weir.shared("another"):get("text")
      local sum, why = box:incr("text")
      return req:reply(200, { text = box:get("text"), flag = box:get("flag"), before = before,
        after = after == nil, gone = box:get("gone") == nil, other = other == nil, why = why })
    end]]
    local said = gateway:chat():read_response().json
    assert.same({ text = "kept", flag = true, before = 1, after = true, gone = true, other = true,
      why = "what is there is no number" }, said)
  end)

  it("says what is wrong with an argument", function()
    local gateway = with [[function(req)
      local weir = require("weir")
      local box = weir.shared("box")
      local _, a = pcall(box.set, box, "k", {})
      local _, b = pcall(box.get, box, "")
      local _, c = pcall(box.set, box, "k", ("x"):rep(1025))
      local _, d = pcall(weir.target, "no slash")
      return req:reply(200, { a = a, b = b, c = c, d = d })
    end]]
    local said = gateway:chat():read_response().json
    assert.truthy(said.a:find("a string, a number, a boolean or nil", 1, true))
    assert.truthy(said.b:find("1 to some 190 bytes", 1, true))
    assert.truthy(said.c:find("at most 1024 bytes", 1, true))
    assert.truthy(said.d:find("provider/model", 1, true))
  end)

  it("shows a target's cooldown, latency and attempts, and cools it", function()
    local gateway = with [[function(req)
      local weir = require("weir")
      local target = weir.target("first/m")
      if req.body.messages[1].content == "hi" then
        local res, err = req:send(target)
        return res, err
      end
      local inflight, latency = target:inflight(), target:latency()
      target:cool(3600, "because")
      local left, reason = target:cooling()
      local none = #req:available { "first/m" }
      target:uncool()
      return req:reply(200, { inflight = inflight, latency = latency, left = left,
        reason = reason, none = none, again = #req:available { "first/m" },
        name = tostring(target) })
    end]]
    local client = gateway:chat()
    first:answer(200, openai.answer("hello"))
    client:read_response()
    local said = gateway:request { body = (openai.request():gsub("hi", "look")) }
      :read_response().json
    assert.equal(0, said.inflight)
    assert.is_true(said.latency > 0)
    assert.is_true(said.left > 3500 and said.left <= 3600)
    assert.equal("because", said.reason)
    assert.equal(0, said.none)
    assert.equal(1, said.again)
    assert.equal("first/m", said.name)
  end)
end)
