local sim = require("weir.sim")
local weir = require("weir")

--- A policy that logs so many lines.
local function talking(count)
  return function(req)
    for i = 1, count do weir.log.info("said", { i = i }) end
    return req:reply(200, "done")
  end
end

--- The lines that policies wrote, and how many the log says were left out.
local function said()
  local lines, left_out = 0, 0
  for _, line in ipairs(sim.log()) do
    if line.event == "policy" then
      lines, left_out = lines + 1, left_out + (line.left_out or 0)
    end
  end
  return lines, left_out
end

describe("weir.log", function()
  it("writes what a policy says, with its fields", function()
    local result = sim.run(function(req)
      weir.log.warn("chose", { target = "a/b", count = 2, sure = true, list = {} })
      return req:reply(200, "done")
    end)
    local line = result.log[1]
    assert.equal("policy", line.event)
    assert.equal("chose", line.says)
    assert.equal("warn", line.level)
    assert.equal("a/b", line.target)
    assert.equal("2", line.count)
    assert.is_true(line.sure)
    assert.equal("table", line.list)
    assert.is_nil(line.left_out)
  end)

  it("writes 100 lines for one request, and says once that it stops", function()
    local result = sim.run(talking(500))
    assert.equal(100, (said()))
    local limits = 0
    for _, line in ipairs(result.log) do
      if line.event == "policy_log_limit" then limits = limits + 1 end
    end
    assert.equal(1, limits)
    assert.equal("reply", result.code)
  end)

  it("tells the next request's reader how many lines were left out", function()
    sim.run(talking(500))
    sim.run(talking(1))
    assert.same({ 1, 400 }, { said() })
    sim.run(talking(1))
    assert.same({ 1, 0 }, { said() })
  end)

  it("writes 1000 lines at once for all requests, then 100 a second", function()
    local requests = {}
    for i = 1, 30 do requests[i] = {} end
    sim.all(talking(50), requests)
    assert.equal(1000, (said()))
    sim.run(talking(1))
    assert.equal(0, (said()))
    sim.sleep(0.5)
    sim.all(talking(50), { {}, {} })
    assert.same({ 50, 501 }, { said() })
    sim.sleep(3600)
    sim.all(talking(50), requests)
    assert.equal(1000, (said()))
  end)

  it("counts what filters say as well", function()
    sim.provider("openai"):answers(200, { text = ("x "):rep(300) })
    sim.run(function(req)
      local res, err = req:send("openai/a")
      return res and res:map(function(event)
        weir.log.debug("text", { text = event.text })
        weir.log.info("event")
        return event
      end), err
    end, { stream = true })
    assert.equal(100, (said()))
  end)

  it("cuts a long value, and leaves out fields that fit no line", function()
    local fields = { a = ("y"):rep(5000) }
    for i = 1, 20 do fields["pad" .. i] = ("z"):rep(1024) end
    local line = sim.run(function(req)
      weir.log.info("long", fields)
      return req:reply(200, "done")
    end).log[1]
    assert.is_true(line.cut)
    local size = 0
    for _, value in pairs(line) do size = size + #tostring(value) end
    assert.is_true(size <= 8192, size)
    for name, value in pairs(line) do
      assert.is_true(#tostring(value) <= 1024 + 3, name)
    end
  end)

  it("masks credentials: in values, in what it says, in fields' names", function()
    local key = "sk-abcdefghijklmnop0123456789"
    local line = sim.run(function(req)
      weir.log.info("got " .. key, { header = "Bearer " .. key, [key] = 1 })
      return req:reply(200, "done")
    end).log[1]
    local text = weir.json.encode(line)
    assert.is_nil(text:find("abcdefghijklmnop", 1, true))
    assert.equal("1", line.masked)
    assert.truthy(line.says:find("^got sk%-"))
  end)

  it("keeps a line one line", function()
    local line = sim.run(function(req)
      weir.log.info("a\nlevel=error event=forged", { ["x y=\n"] = "b\nc" })
      return req:reply(200, "done")
    end).log[1]
    assert.equal("a\nlevel=error event=forged", line.says)
    assert.equal("b\nc", line.x_y__)
  end)
end)
