-- lua/meta/sim.lua against the real thing.

local sim = require("weir.sim")

local function read(path)
  local file = assert(io.open(path))
  local text = file:read("*a")
  file:close()
  return text
end

local META = read("lua/meta/sim.lua")

local function sorted(set)
  local names = {}
  for name in pairs(set) do names[#names + 1] = name end
  table.sort(names)
  return names
end

local function fields_of(class)
  local names = {}
  local block = assert(META:match("%-%-%-@class " .. class:gsub("%.", "%%.") .. "\n(.-)\n\n"))
  for name in block:gmatch("@field ([%w_]+)") do names[name] = true end
  return names
end

describe("meta/sim", function()
  it("has the functions of weir.sim", function()
    local names = {}
    for name in META:gmatch("\nfunction sim%.([%w_]+)%(") do names[name] = true end
    assert.same(sorted(sim), sorted(names))
  end)

  it("has the members of a provider", function()
    local names = fields_of("weir.sim.Provider")
    for name in META:gmatch("\nfunction Provider:([%w_]+)%(") do names[name] = true end
    for name in pairs(names) do assert.truthy(sim.provider("groq")[name] ~= nil, name) end
    for name, value in pairs(getmetatable(sim.provider("groq"))) do
      if type(value) == "function" then assert.is_true(names[name], name) end
    end
  end)

  it("has the members of a request, and no others are taken", function()
    local values = { model = "m", stream = true, messages = {}, body = {}, endpoint = "chat",
      headers = {}, key = "k", leaves = 1, at = 1 }
    assert.same(sorted(fields_of("weir.sim.Request")), sorted(values))
    local function reply(req) return req:reply(200, "x") end
    for name, value in pairs(values) do sim.run(reply, { [name] = value }) end
    assert.has_error(function() sim.run(reply, { modle = 1 }) end)
  end)

  it("has the members of what a provider was sent", function()
    local names = fields_of("weir.sim.Call")
    sim.run(require("policies.waterfall") { "groq/a" })
    local call = sim.asked()[#sim.asked()]
    for name in pairs(names) do assert.is_true(call[name] ~= nil, name) end
    for name in pairs(call) do
      if name ~= "path" and name ~= "header_lines" then assert.is_true(names[name], name) end
    end
  end)

  it("has the members of a result", function()
    local names = fields_of("weir.sim.Result")
    sim.provider("groq"):answers("error", { after = 1, reasoning = "hm" })
    local result = sim.run(require("policies.waterfall") { "groq/a" }, { stream = true })
    for _, name in ipairs { "id", "status", "headers", "body", "events", "text", "reasoning",
      "error", "ended", "code", "target", "targets", "trail", "first", "seconds", "log" } do
      assert.is_true(names[name], name)
      assert.is_true(result[name] ~= nil, name)
      names[name] = nil
    end
    assert.same({ json = true }, names)
    assert.truthy(sim.run(require("policies.waterfall") { "openai/a" }).json)
  end)
end)
