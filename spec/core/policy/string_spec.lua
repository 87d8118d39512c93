-- lua_string.c against LuaJIT's own string library: the same results for the same patterns.

local function module_path()
  local parsers = os.getenv("WEIR_PARSERS") or "build/libweir-parsers.so"
  return (parsers:gsub("[^/]+$", "libweir-string.so"))
end

local ours = assert(package.loadlib(module_path(), "lua_string_new"))()

--- All that a call gives, an error as its bare message.
local function result_of(call, ...)
  local result = { pcall(call, ...) }
  if not result[1] then
    local message = tostring(result[2]):gsub("^[^:]*:%d+: ", ""):gsub(" to '[^']*'", "")
    return { "raises", message }
  end
  return result
end

local function all_matches(gmatch, subject, pattern)
  local list = {}
  for a, b, c in gmatch(subject, pattern) do
    list[#list + 1] = { a, b, c }
    if #list > 100 then break end
  end
  return list
end

local function assert_alike(name, ...)
  assert.same(result_of(string[name], ...), result_of(ours[name], ...))
end

--- Every function, with this subject and pattern.
local function compare(subject, pattern, init, replacement)
  assert_alike("find", subject, pattern, init)
  assert_alike("find", subject, pattern, init, true)
  assert_alike("match", subject, pattern, init)
  assert_alike("gsub", subject, pattern, replacement)
  assert_alike("gsub", subject, pattern, replacement, 2)
  assert.same(result_of(all_matches, string.gmatch, subject, pattern),
    result_of(all_matches, ours.gmatch, subject, pattern))
end

local function pick(list)
  return list[math.random(#list)]
end

local function text_of(list, most)
  local parts = {}
  for i = 1, math.random(0, most) do parts[i] = pick(list) end
  return table.concat(parts)
end

local LETTERS = { "a", "b", "c", "A", "1", "2", " ", ".", "-", "]", "[", "(", ")", "%", "^", "$",
  "_", "\n", "\0", "\200", "\255", "x", "é" }
local ITEMS = { "a", "b", "c", ".", "%a", "%d", "%s", "%w", "%p", "%c", "%l", "%u", "%x", "%g",
  "%z", "%A", "%D", "%S", "%W", "%P", "%X", "%Z", "%.", "%%", "%-", "[abc]", "[^abc]", "[a-c]",
  "[%a1]", "[^%s]", "[]]", "[^]]", "[a-]", "[-a]", "[%]]", "[a-%d]", "[^-x]", "\200", "é" }
local GLUE = { "*", "+", "-", "?", "(", ")", "()", "%b()", "%bab", "%f[%a]", "%f[^%w]", "%1", "%2",
  "^", "$", "%", "[", "]", "%b", "%f", "%0", "[^", "[%", "(a)", "(.)", "(.-)" }
local REPLACEMENTS = { "", "x", "%0", "%1", "%2", "%0%0", "%%", "%", "%x", "<%1>", { a = "1",
  b = false, c = 5 }, { a = {} }, function(s) return s end, function() return nil end,
  function() return {} end, 7 }

local function pattern_of()
  local parts = {}
  for i = 1, math.random(0, 7) do
    parts[i] = math.random() < 0.6 and pick(ITEMS) or pick(GLUE)
  end
  return table.concat(parts)
end

describe("string patterns", function()
  it("match as LuaJIT's do: twenty thousand patterns, sound and not", function()
    math.randomseed(20)
    for _ = 1, 20000 do
      local subject, pattern = text_of(LETTERS, 12), pattern_of()
      local ok, why = pcall(compare, subject, pattern, math.random(-14, 14), pick(REPLACEMENTS))
      if not ok then error(("%q with %q: %s"):format(subject, pattern, tostring(why)), 0) end
    end
  end)

  it("match as LuaJIT's do where they are as people write them", function()
    for _, case in ipairs {
      { "  trim me  ", "^%s*(.-)%s*$" }, { "key = value", "^(%w+)%s*=%s*(%w+)$" },
      { "ann@example.org, bob@b.c", "[%w._%-]+@[%w.]+%.%a+" }, { "f(a(b)c)d", "%b()" },
      { "THE (quick) fox", "%f[%a]%a+" }, { "2024-01-31", "(%d+)-(%d+)-(%d+)" },
      { "hello hello", "(%a+) %1" }, { "", "" }, { "", "x*" }, { "abc", "" }, { "abc", "()" },
      { "a,b,,c", "([^,]*)" }, { "x^y", "^x^" }, { "a$b", "a$b" }, { "a.b", "a.b" },
      { ("a"):rep(500), "a-b" }, { ("a"):rep(20), ("a?"):rep(6) .. "b" },
    } do
      for init = -3, 4 do compare(case[1], case[2], init, "<%0>") end
    end
  end)

  it("take the arguments that LuaJIT's take", function()
    for _, arguments in ipairs {
      { 123, 2 }, { "x" }, { nil, "x" }, { "x", {} }, { "a", "a", "b" }, { "a", "a", 1.5 },
      { "a1", 1 }, { "abc", "b", nil, true }, { "a.c", ".", 1, 0 },
    } do
      assert_alike("find", unpack(arguments, 1, 4))
      assert_alike("match", unpack(arguments, 1, 4))
    end
    for _, last in ipairs { true, 0, -1, 1, 100 } do
      assert_alike("gsub", "aaa", "a", "b", last ~= true and last or nil)
    end
    assert_alike("gsub", "aaa", "a", true)
    assert_alike("gsub", "aaa", "a")
  end)

  it("are too complex where LuaJIT's are", function()
    for _, count in ipairs { 31, 32, 33, 190, 250 } do
      assert_alike("find", ("a"):rep(300), ("a?"):rep(count) .. "b?")
      assert_alike("match", ("a"):rep(300), ("()"):rep(count))
    end
  end)

  it("are found in time by the sum of the lengths when they are plain", function()
    local subject, needle = ("a"):rep(4e6), ("a"):rep(2e6) .. "b"
    local begin = os.clock()
    assert.is_nil(ours.find(subject, needle, 1, true))
    assert.is_true(os.clock() - begin < 2) -- LuaJIT's: hours
  end)
end)

describe("string.format", function()
  it("formats as LuaJIT's", function()
    for _, arguments in ipairs {
      { "%d %5.2f %s %q %x %%", 5, 2.5, "x", "a\nb", 255 }, { "%s" }, { "%d", "x" }, { "%s", nil },
      { "%10s|%-10s|", "a", "b" }, { "%s %s", true, false }, { "%%s", {} }, { "%y", 1 }, { "%" },
      { "%c%i%u%o%e%g%X", 65, 1, 2, 8, 1.5, 2.5, 255 }, { "%5.1s|", "abc" },
    } do
      assert_alike("format", unpack(arguments, 1, 6))
    end
  end)

  it("shows no addresses", function()
    assert.equal("table function", ours.format("%s %s", {}, print))
    assert.equal("    table", ours.format("%9s", {}))
    assert.equal("me", ours.format("%s", setmetatable({}, { __tostring = function()
      return "me"
    end })))
    assert.is_false(pcall(ours.format, "%p", "x"))
    assert.is_false(pcall(ours.format, "%%%-10.3p", {}))
  end)
end)
