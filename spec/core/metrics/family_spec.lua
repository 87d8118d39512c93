local native = require("spec.support.native")

local C, ffi = native.load { "slice", "err", "buf", "family" }

local function help_of(name)
  local help = C.family_help(ffi.new("struct slice", name, #name))
  return help ~= nil and ffi.string(help) or nil
end

--- Every name of a series that core/ has outside of family.c, with the file that has it.
local function names_in_core()
  local names = {}
  local files = assert(io.popen("ls core/*/*.c"))
  for path in files:lines() do
    if path ~= "core/metrics/family.c" then
      local file = assert(io.open(path))
      local text = file:read("*a")
      file:close()
      for literal in text:gmatch('"([%l_]+)') do
        if literal:find("^weir_%l") or literal:find("^gen_ai_%l+_%l+_%l") then
          names[literal] = path
        end
      end
    end
  end
  files:close()
  return names
end

-- What looks like one and is a label, or the head of policies' names.
local NONE = { gen_ai_provider_name = true, gen_ai_request_model = true, gen_ai_token_type = true,
  gen_ai_operation_name = true, weir_policy_ = true }

describe("family", function()
  it("has a sentence for every series of the gateway", function()
    local count = 0
    for name, path in pairs(names_in_core()) do
      if not NONE[name] then
        count = count + 1
        local help = help_of(name)
        assert.truthy(help, path .. " has " .. name .. ", core/metrics/family.c has not")
        assert.truthy(help:find("^[%u%d][^\n\\\\]*%.$"), name .. ": " .. help)
      end
    end
    assert.is_true(count > 30, count)
  end)

  it("has none that no file adds to", function()
    local names = names_in_core()
    local file = assert(io.open("core/metrics/family.c"))
    for name in file:read("*a"):gmatch('{"([%l_]+)"') do
      assert.truthy(names[name], name .. ": core/metrics/family.c has it, nothing else")
    end
    file:close()
  end)

  it("knows those of policies by their head", function()
    assert.truthy(help_of("weir_policy_jokes_total"):find("weir.metric", 1, true))
    assert.is_nil(help_of("weir_jokes_total"))
    assert.is_nil(help_of("weir_policy_"))
  end)

  it("is in docs/configuration.md, each of its names", function()
    local file = assert(io.open("docs/configuration.md"))
    local docs = file:read("*a")
    file:close()
    for name in pairs(names_in_core()) do
      if not NONE[name] then assert.truthy(docs:find(name, 1, true), name) end
    end
  end)
end)
