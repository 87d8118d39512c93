-- What a policy can do to a request and its answer, in the running gateway.

local http = require("spec.support.http")
local openai = require("spec.support.openai")
local world = require("spec.support.world")

describe("a policy", function()
  local w, first, second

  before_each(function()
    w = world.new()
    first, second = w:upstream("first"), w:upstream("second")
  end)

  after_each(function()
    w:close()
  end)

  --- The gateway with this Lua as the policy of model "default".
  local function with(policy, options)
    options = options or {}
    options.models = "    default = " .. policy .. ","
    return w:gateway(options)
  end

  it("answers by itself", function()
    local gateway = with [[function(req) return req:reply(200, { said = req.model }) end]]
    local response = gateway:chat():read_response()
    assert.equal(200, response.status)
    assert.equal("default", response.json.said)
  end)

  it("refuses with a status and a text", function()
    local gateway = with [[function(req) return req:reply(413, "please be brief") end]]
    local response = gateway:chat():read_response()
    assert.equal(413, response.status)
    assert.equal("please be brief", response.json.error.message)
  end)

  it("reads the request", function()
    local gateway = with [[function(req)
      return req:reply(200, {
        model = req.model, stream = req.stream, endpoint = req.endpoint, id = req.id,
        first = req.body.messages[1].content, count = #req.body.messages,
        header = req.headers["x-team"], auth = req.headers["authorization"],
      })
    end]]
    local response = gateway:chat { headers = { ["X-Team"] = "red",
      Authorization = "Bearer secret" } }:read_response()
    assert.equal("default", response.json.model)
    assert.equal(false, response.json.stream)
    assert.equal("hi", response.json.first)
    assert.equal(1, response.json.count)
    assert.equal("red", response.json.header)
    assert.is_nil(response.json.auth)
    assert.equal(response.headers["x-request-id"], response.json.id)
  end)

  it("edits the body, and only what it names", function()
    local gateway = with [[function(req)
      req.body.temperature = 0.2
      req.body.logprobs = nil
      return req:send("first/m")
    end]]
    local client = gateway:chat { body = '{"model":"default","logprobs":true,'
      .. '"messages":[ {"role":"user","content":"hi"} ],"seed":9007199254740993}' }
    local _, request = first:answer(200, openai.answer())
    assert.is_nil(request.json.logprobs)
    assert.equal(0.2, request.json.temperature)
    assert.is_truthy(request.body:find('"messages":[ {"role":"user","content":"hi"} ]', 1, true))
    assert.is_truthy(request.body:find('"seed":9007199254740993', 1, true))
    client:read_response()
  end)

  it("edits deep inside the body", function()
    local gateway = with [[function(req)
      req.body.messages[1].content = "changed"
      return req:send("first/m")
    end]]
    local client = gateway:chat()
    local _, request = first:answer(200, openai.answer())
    assert.equal("changed", request.json.messages[1].content)
    assert.equal("user", request.json.messages[1].role)
    client:read_response()
  end)

  it("writes what it makes in the order of the names, new members too", function()
    local gateway = with [[function(req)
      for name in ("hgfedcba"):gmatch(".") do req.body["x" .. name] = { b = 1, a = 2, c = 3 } end
      return req:send("first/m")
    end]]
    local client = gateway:chat()
    local _, request = first:answer(200, openai.answer())
    local said = request.body:match('"xa".*"xh":{.-}')
    assert.equal(8, select(2, said:gsub('"x%l":{"a":2,"b":1,"c":3}', "")))
    client:read_response()
  end)

  it("edits one attempt's copy alone", function()
    local gateway = with [[function(req)
      req:send("first/m", { edit = function(body) body.user = "only the first" end })
      return req:send("second/m")
    end]]
    local client = gateway:chat()
    local _, request = first:answer(500, openai.failure("broken"))
    local _, again = second:answer(200, openai.answer())
    assert.equal("only the first", request.json.user)
    assert.is_nil(again.json.user)
    client:read_response()
  end)

  it("sleeps without holding anybody up", function()
    local gateway = w:gateway { models = [[
      asleep = function(req) weir.log.info("asleep", {}) weir.sleep(60) end,
      short = function(req) weir.sleep(0.01) return req:reply(200, "awake") end,]] }
    local sleeper = gateway:chat { model = "asleep" }
    gateway:wait_log("says=asleep")
    assert.equal(200, gateway:chat { model = "short" }:read_response().status)
    sleeper:close()
  end)

  it("decides by the failure", function()
    local gateway = with [[function(req)
      local res, err = req:send("first/m")
      return res or req:reply(200, { code = err.code, status = err.status, target = err.target,
        retry_after = err.retry_after, final = err.final })
    end]]
    local client = gateway:chat()
    first:answer(429, openai.failure("slow down"), { ["Retry-After"] = "9" })
    local failure = client:read_response().json
    assert.equal("rate_limited", failure.code)
    assert.equal(429, failure.status)
    assert.equal("first/m", failure.target)
    assert.equal(9, failure.retry_after)
  end)

  it("sees the trail", function()
    local gateway = with [[function(req)
      req:send("first/m")
      req:send("second/m")
      return req:reply(200, { count = #req.trail, target = req.trail[2].target,
        code = req.trail[1].code })
    end]]
    local client = gateway:chat()
    first:answer(503, openai.failure("busy"))
    second:answer(500, openai.failure("broken"))
    local trail = client:read_response().json
    assert.equal(2, trail.count)
    assert.equal("second/m", trail.target)
    assert.equal("overloaded", trail.code)
  end)

  it("maps a stream's events", function()
    local gateway = with [[function(req)
      local res, err = req:send("first/m")
      return res and res:map(function(event)
        if event.kind == "reasoning" then return nil end
        if event.kind == "content" then event.text = event.text:upper() end
        return event
      end), err
    end]]
    local client = gateway:chat { stream = true }
    first:stream(openai.role, openai.event('{"reasoning":"hm"}'), openai.content("quiet"),
      openai.finish, openai.done):finish_stream()
    local body = client:read_response().body
    assert.equal(openai.role .. openai.content("QUIET") .. openai.finish .. openai.done, body)
  end)

  it("waits in a filter for an event that no blank line ended", function()
    local gateway = with [[function(req)
      local res, err = req:send("first/m")
      return res and res:map(function(event) weir.sleep(0) return event end), err
    end]]
    local client = gateway:chat { stream = true }
    local provider = first:stream(openai.content("Hello"), openai.finish, "data: [DONE]\n")
    provider:finish_stream()
    local body = client:read_response().body
    assert.equal(openai.content("Hello") .. openai.finish .. "data: [DONE]\n\n\n", body)
  end)

  it("lets a filter wait, and keeps the order of a stream that comes faster", function()
    local gateway = with [[function(req)
      local weir = require("weir")
      local res, err = req:send("first/m")
      return res and res:map(function(event)
        if event.kind == "content" then weir.sleep(0.01) event.text = event.text .. "." end
        return event
      end), err
    end]]
    local client = gateway:chat { stream = true }
    local sent, expected = { openai.role }, { openai.role }
    for i = 1, 12 do
      sent[#sent + 1] = openai.content("w" .. i)
      expected[#expected + 1] = openai.content("w" .. i .. ".")
    end
    for _, last in ipairs { openai.finish, openai.done } do
      sent[#sent + 1], expected[#expected + 1] = last, last
    end
    first:stream(table.concat(sent)):finish_stream()
    assert.equal(table.concat(expected), client:read_response().body)
  end)

  it("lets a filter wait over a plain answer", function()
    local gateway = with [[function(req)
      local weir = require("weir")
      local res, err = req:send("first/m")
      return res and res:map(function(event)
        weir.sleep(0.01)
        event.text = event.text .. "!"
        return event
      end), err
    end]]
    local client = gateway:chat()
    first:answer(200, openai.answer("hello"))
    assert.equal("hello!", client:read_response().json.choices[1].message.content)
  end)

  it("ends with the client while a filter waits", function()
    local gateway = with [[function(req)
      local weir = require("weir")
      local res, err = req:send("first/m")
      return res and res:map(function(event)
        if event.kind == "content" and event.text == "wait" then weir.sleep(3600) end
        return event
      end), err
    end]]
    local client = gateway:chat { stream = true }
    local provider = first:stream(openai.content("go"))
    client:read_head()
    client:read_chunk()
    provider:send_chunk(openai.content("wait"))
    client:close()
    provider:wait_closed()
    gateway:wait_log("status=499")
  end)

  it("maps a plain answer as one event", function()
    local gateway = with [[function(req)
      local res, err = req:send("first/m")
      return res and res:map(function(event)
        event.text = event.text .. "!"
        return event
      end), err
    end]]
    local client = gateway:chat()
    first:answer(200, openai.answer("hello"))
    assert.equal("hello!", client:read_response().json.choices[1].message.content)
  end)

  it("sends several events for one", function()
    local gateway = with [[function(req)
      local res, err = req:send("first/m")
      return res and res:map(function(event)
        if event.kind == "content" then return { event, event } end
        return event
      end), err
    end]]
    local client = gateway:chat { stream = true }
    first:stream(openai.content("twice"), openai.finish, openai.done):finish_stream()
    assert.equal(openai.content("twice"):rep(2) .. openai.finish .. openai.done,
      client:read_response().body)
  end)

  it("hears of the end, with usage", function()
    local gateway = with [[function(req)
      local res, err = req:send("first/m")
      if res then
        res:on_end(function(done)
          weir.log.info("ended", { prompt = done.usage.prompt_tokens })
        end)
      end
      return res, err
    end]]
    local client = gateway:chat { stream = true }
    first:stream(openai.content("a"), openai.finish, openai.usage, openai.done):finish_stream()
    client:read_response()
    gateway:wait_log("says=ended", "prompt=9")
  end)

  it("that fails costs its request a 500, and nobody else anything", function()
    local gateway = w:gateway { models = [[
      broken = function(req) local x = nil return x.y end,
      default = waterfall { "first/m" },]] }
    local response = gateway:chat { model = "broken" }:read_response()
    assert.equal(500, response.status)
    assert.equal("policy_error", response.json.error.code)
    assert.is_nil(response.body:find("weir.lua", 1, true)) -- the place is for the log alone
    gateway:wait_log("weir.lua")
    local client = gateway:chat()
    first:answer(200, openai.answer())
    assert.equal(200, client:read_response().status)
  end)

  it("that returns nothing is an error, not a hang", function()
    local response = with("function(req) end"):chat():read_response()
    assert.equal(503, response.status)
    assert.is_truthy(response.headers["retry-after"])
    assert.equal("table", type(response.json.error))
  end)

  it("whose filter fails ends the stream with one error event", function()
    local gateway = with [[function(req)
      local res, err = req:send("first/m")
      return res and res:map(function(event)
        if event.text == "bad" then error("oh no") end
        return event
      end), err
    end]]
    local client = gateway:chat { stream = true }
    local provider = first:stream(openai.content("good"))
    client:read_head()
    assert.equal(openai.content("good"), client:read_chunk())
    provider:send_chunk(openai.content("bad"))
    local text = client:read_all()
    local events = openai.events(text)
    assert.equal(1, #events)
    assert.equal("table", type(http.decode(events[1]).error))
  end)

  it("reaches no file, no process and no FFI", function()
    local gateway = with [[function(req)
      local seen = {}
      for _, name in ipairs { "io", "os", "ffi", "debug", "package", "jit", "loadfile", "dofile",
        "newproxy", "collectgarbage", "getfenv", "setfenv" } do
        if _G[name] ~= nil then seen[#seen + 1] = name end
      end
      return req:reply(200, { seen = table.concat(seen, " ") })
    end]]
    assert.equal("", gateway:chat():read_response().json.seen)
  end)

  it("cannot split a message with CR and LF in a target", function()
    local gateway = with [[function(req)
      return req:send("first/m\r\nX-Evil: 1\r\n\r\nHTTP/1.1 200 OK")
    end]]
    local client = gateway:chat()
    local _, request = first:answer(200, openai.answer())
    assert.is_nil(request.headers["x-evil"])
    assert.is_truthy(request.json.model:find("X-Evil", 1, true))
    assert.is_nil(client:read_response().headers["x-evil"])
  end)

  it("keeps a request after it is over from doing harm", function()
    local gateway = with [[(function()
      local kept
      return function(req)
        if kept then
          local ok, why = pcall(function() return kept:send("first/m") end)
          return req:reply(200, { ok = ok, why = tostring(why) })
        end
        kept = req
        return req:reply(200, "kept")
      end
    end)()]]
    gateway:chat():read_response()
    local response = gateway:chat():read_response()
    assert.equal(false, response.json.ok)
    assert.is_truthy(response.json.why:find("over", 1, true))
  end)

  it("serves any other name through *", function()
    local gateway = w:gateway { models = [[ ["*"] = waterfall { "first/*" }, ]] }
    local client = gateway:chat { model = "vendor/some-model" }
    local _, request = first:answer(200, openai.answer())
    assert.equal("vendor/some-model", request.json.model)
    assert.equal("first/vendor/some-model", client:read_response().headers["x-weir-target"])
  end)

  it("redacts addresses from prompts", function()
    local gateway = w:gateway {
      before = 'local redact = require "policies.redact"',
      models = 'default = redact(waterfall { "first/m" }),',
    }
    local client = gateway:chat { body = openai.request():gsub('"hi"',
      '"write to ann@example.org"') }
    local _, request = first:answer(200, openai.answer())
    assert.is_nil(request.body:find("ann@example.org", 1, true))
    client:read_response()
  end)

  it("redacts addresses from answers, also when a chunk border cuts them", function()
    local gateway = w:gateway {
      before = 'local redact = require "policies.redact"',
      models = 'default = redact(waterfall { "first/m" }),',
    }
    local client = gateway:chat { stream = true }
    first:stream(openai.content("mail ann@exam"), openai.content("ple.org now"), openai.finish,
      openai.done):finish_stream()
    local text = ""
    for _, data in ipairs(openai.events(client:read_response().body)) do
      local chunk = data ~= "[DONE]" and http.decode(data)
      local delta = chunk and chunk.choices[1] and chunk.choices[1].delta
      text = text .. (delta and delta.content or "")
    end
    assert.is_nil(text:find("@", 1, true))
    assert.is_truthy(text:find("^mail "))
    assert.is_truthy(text:find(" now$"))
  end)
end)
