local fake = require("spec.support.fake")
local read_file = require("spec.support.read_file")

local META = read_file("lua/meta/weir.lua")

local function sorted(set)
  local names = {}
  for name in pairs(set) do names[#names + 1] = name end
  table.sort(names)
  return names
end

--- The fields of a class, and its methods, as the annotations have them.
local function annotated(class, variable)
  local names = {}
  local block = META:match("%-%-%-@class " .. class:gsub("%.", "%%.") .. "\n(.-)\n[^-]")
  for name in (block or ""):gmatch("@field ([%w_]+)") do names[name] = true end
  if variable then
    for name in META:gmatch("\nfunction " .. variable .. "[.:]([%w_]+)%(") do names[name] = true end
  end
  return names
end

--- Words that a C file compares names with, and the names in its tables of functions.
local function named_in(path)
  local text, names = read_file(path), {}
  for name in text:gmatch('strcmp%(name, "([%w_]+)"%) == 0') do names[name] = true end
  for name in text:gmatch('{"([%a][%w_]*)", [%l_]+}') do names[name] = true end
  local method = 'lua_pushcfunction%(L, [%w_]+%);\n%s*lua_setfield%(L, %-2, "(%a[%w_]*)"'
  for name in text:gmatch(method) do names[name] = true end
  for name in (text:match("field_names%[FIELD_COUNT%] = {(.-)}") or ""):gmatch('"([%w_]+)"') do
    names[name] = true
  end
  return names
end

local function exists(path)
  local file = io.open(path)
  if file then file:close() end
  return file ~= nil
end

describe("meta/weir", function()
  local borders = {
    { "weir.Request", "Request", "core/policy/lua_request.c" },
    { "weir.Response", "Response", "core/policy/lua_response.c" },
    { "weir.Event", "Event", "core/policy/lua_event.c" },
  }
  for _, border in ipairs(borders) do
    it("has the members of " .. border[1], function()
      if not exists(border[3]) then return pending(border[3] .. " is not there") end
      assert.same(sorted(named_in(border[3])), sorted(annotated(border[1], border[2])))
    end)
  end

  it("has the members of the library", function()
    local weir = require("weir.library").new(fake.host())
    local function members(of) return sorted(debug.getmetatable(of).__index) end
    local top = annotated("weir", "weir")
    top.log, top.json = true, true
    assert.same(members(weir), sorted(top))
    assert.same(members(weir.log), sorted(annotated("weir.Log", "weir.log")))
    assert.same(members(weir.json), sorted(annotated("weir.Json", "weir.json")))
    assert.equal("function", type(weir.window(1).map))
  end)

  it("knows only members that a configuration may have", function()
    local config = require("weir.config")
    local tools = { is_secret = fake.is_secret, types = {}, provider = function() end }
    local raw = { providers = { x = {} }, models = {} }
    for name in pairs(annotated("weir.Config")) do raw[name] = raw[name] or {} end
    local inner = { admin = "weir.AdminConfig", timeout = "weir.Timeout", limits = "weir.Limits",
      log = "weir.LogConfig", policy = "weir.PolicyConfig" }
    for name, class in pairs(inner) do
      for member in pairs(annotated(class)) do raw[name][member] = {} end
    end
    for name in pairs(annotated("weir.ProviderConfig")) do raw.providers.x[name] = {} end
    local _, problems = config.check(raw, tools)
    for _, problem in ipairs(problems) do
      assert.are_not.equal("unknown member", problem.message, problem.path)
    end
    assert.truthy(#problems > 20)
  end)

  it("has a word for everything that an outcome says", function()
    local source = read_file("lua/weir/outcome.lua"):match("local RULES = {(.-)\n}")
    local words = {}
    for word in source:gmatch("\n  ([%w_]+) +=") do words[word] = true end
    words.exhausted, words.policy_error = true, true
    local alias = {}
    for word in META:match("@alias weir.Code\n(.-)\n\n"):gmatch('| "([%w_]+)"') do
      alias[word] = true
    end
    assert.same(sorted(words), sorted(alias))
  end)

  it("names all that outcome.read gives", function()
    local known = annotated("weir.Failure")
    local err = require("weir.outcome").read { target = "a/b", status = 401,
      headers = { ["retry-after"] = "1" }, fault = "truncated",
      body = '{"error":{"message":"m","type":"t","param":"p","code":"c"}}' }
    for name in pairs(err) do assert.is_true(known[name], name) end
  end)

  it("has every member of the base of all providers", function()
    local known = annotated("weir.Provider")
    for name in pairs(require("weir.providers.openai")) do assert.is_true(known[name], name) end
  end)

  for _, path in ipairs { "lua/meta/weir.lua", "lua/meta/openai.lua" } do
    it("is Lua that loads and says that it is no module: " .. path, function()
      assert.truthy(loadfile(path))
      assert.truthy(read_file(path):find("^%-%-%-@meta "))
    end)
  end
end)
