-- Promise 8: a policy cannot hurt its neighbours.  Each mistake here fails its own request; the
-- worker, and whatever else it serves, lives on.

local openai = require("spec.support.openai")
local world = require("spec.support.world")

describe("a policy's mistake", function()
  local w, first

  before_each(function()
    w = world.new()
    first = w:upstream("first")
  end)

  after_each(function()
    w:close()
  end)

  --- The gateway with this Lua as the policy of model "default"; "neighbour" answers by itself.
  local function with(policy, options)
    options = options or {}
    options.models = "    default = " .. policy .. [[,
    neighbour = function(req) return req:reply(200, "fine") end,]]
    return w:gateway(options)
  end

  --- The worker is the one that it was.
  local function assert_unharmed(gateway)
    assert.equal(200, gateway:chat { model = "neighbour" }:read_response().status)
    assert.is_nil(gateway:log():find("worker_died", 1, true))
  end

  it("may be to read the headers in on_end, after a plain answer", function()
    local gateway = with [[function(req)
      local res, err = req:send("first/m")
      return res and res:on_end(function()
        weir.log.info("ended", { team = req.headers["x-team"] })
      end), err
    end]]
    local client = gateway:chat { headers = { ["X-Team"] = "red", Connection = "close" } }
    first:answer(200, openai.answer())
    assert.equal(200, client:read_response().status)
    gateway:wait_log("says=ended", "team=red")
    assert_unharmed(gateway)
  end)

  it("may be to read the headers in on_end, when the client has gone", function()
    local gateway = with [[function(req)
      local res, err = req:send("first/m")
      return res and res:on_end(function()
        weir.log.info("ended", { team = req.headers["x-team"] or "nobody" })
      end), err
    end]]
    local client = gateway:chat { stream = true, headers = { ["X-Team"] = "red" } }
    first:stream(openai.content("Hello"))
    client:read_until("Hello")
    client:close()
    gateway:wait_log("says=ended", "team=nobody")
    assert_unharmed(gateway)
  end)

  it("may be to return another request's response", function()
    local gateway = with([[function(req)
      if kept then return kept end
      local res, err = req:send("first/m")
      kept = res
      return res, err
    end]], { before = "local kept" })
    local client = gateway:chat { stream = true }
    local provider = first:stream(openai.content("Hello"))
    client:read_until("Hello")
    assert.equal(500, gateway:chat { stream = true }:read_response().status)
    gateway:wait_log("event=policy_error", "response of another request")
    provider:send_chunk(openai.content("again"))
    client:read_until("again")
    assert_unharmed(gateway)
  end)

  it("may be an argument too many", function()
    local gateway = with [[function(req)
      return req:reply(200, { count = #req:available({ "first/m" }, 5) })
    end]]
    assert.equal(1, gateway:chat():read_response().json.count)
    assert_unharmed(gateway)
  end)

  it("may be to sleep in a sort, and to go on", function()
    local gateway = with [[function(req)
      local res, err = req:send("first/m")
      local _, why = pcall(table.sort, { 2, 1 }, function() weir.sleep(0) end)
      weir.log.info("caught", { why = why })
      return res, err
    end]]
    local client = gateway:chat { stream = true }
    local provider = first:stream(openai.content("Hello"))
    client:read_until("Hello")
    gateway:wait_log("says=caught", "cannot wait inside a function that C calls")
    assert_unharmed(gateway)
    provider:send_chunk(openai.content("again"))
    assert.is_truthy(client:read_until("again"))
  end)

  it("may be to sleep in a filter's gsub, where filters may fail", function()
    local gateway = with([[function(req)
      local res, err = req:send("first/m")
      return res and res:map(function(event)
        event.text = event.text:gsub("l", function() weir.sleep(0) end)
        return event
      end), err
    end]], { more = '  workers = 1, policy = { on_error = "open" },' })
    local client = gateway:chat { stream = true }
    local provider = first:stream(openai.content("Hello"))
    client:read_until("Hello")
    assert_unharmed(gateway)
    provider:send_chunk(openai.content("again"))
    assert.is_truthy(client:read_until("again"))
  end)

  it("may be to send in an edit, and to go on", function()
    local gateway = with [[function(req)
      local _, why = pcall(req.send, req, "first/m", { edit = function() req:send("first/m") end })
      return req:reply(200, { why = tostring(why) })
    end]]
    local client = gateway:chat()
    assert.is_truthy(client:read_response().json.why:find("req:send cannot wait", 1, true))
    assert_unharmed(gateway)
    assert.is_false(first:is_asked())
  end)

  it("may be an error whose members raise", function()
    local gateway = with [[function(req)
      return nil, setmetatable({}, { __index = function() error("not there") end })
    end]]
    assert.equal(500, gateway:chat():read_response().status)
    gateway:wait_log("event=failure_not_worded", "not there")
    assert_unharmed(gateway)
  end)

  it("may be a reply that is no JSON", function()
    local gateway = with [[function(req) return req:reply(200, { share = 0 / 0 }) end]]
    local response = gateway:chat():read_response()
    assert.equal(500, response.status)
    assert.equal("policy_error", response.json.error.code)
    gateway:wait_log("event=policy_error", "the body of a reply: a number is not finite")
  end)

  it("may be a reply with a status that is none", function()
    local gateway = with [[function(req)
      local reply = req:reply(200, { said = "no" })
      reply.status = 7
      return reply
    end]]
    assert.equal(500, gateway:chat():read_response().status)
    gateway:wait_log("event=policy_error", "the status of a reply")
  end)

  it("may be an error that is no JSON", function()
    local gateway = with [[function(req)
      return nil, { code = "client_error", message = "no", param = print }
    end]]
    assert.equal("policy_error", gateway:chat():read_response().json.error.code)
  end)

  it("may be to know more targets than there is room for, and one more still cools", function()
    local gateway = with([[function(req)
      for i = 1, 20000 do weir.target("first/" .. i):cool(1e-6) end
      weir.target("first/m"):cool(60)
      return req:reply(200, { available = #req:available { "first/m", "first/1" } })
    end]], { more = "  workers = 1, policy = { burst = 30 }," })
    assert.equal(1, gateway:chat():read_response().json.available)
  end)
end)
