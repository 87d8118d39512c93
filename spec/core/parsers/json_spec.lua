local native = require("spec.support.native")
local reference = require("spec.core.parsers.json.reference")
local Random = require("spec.core.parsers.json.random")
local cases = require("spec.core.parsers.json.cases")

local C, ffi = native.load { "slice", "err", "buf", "json" }

local offset = ffi.new("size_t[1]")

local function slice(text)
  return ffi.new("struct slice", text, #text)
end

local function text_of(s)
  return ffi.string(s.ptr, s.len)
end

local function check(text)
  local err = C.json_check(slice(text), offset)
  return ffi.string(C.err_name(err)), tonumber(offset[0])
end

-- What a function that appends to a buffer appends.
local function appended(fn)
  local buf = ffi.new("struct buf")
  C.buf_add_text(buf, "before:")
  local err = fn(buf)
  local text = text_of(C.buf_slice(buf))
  C.buf_free(buf)
  assert.equal("before:", text:sub(1, 7))
  return text:sub(8), err and ffi.string(C.err_name(err))
end

local function quote(text)
  return (appended(function(buf) C.json_quote(buf, slice(text)) end))
end

local function unescape(inside)
  return appended(function(buf) return C.json_unescape(slice(inside), buf) end)
end

-- The value that comes next, walked with the pull functions alone.
local function pull(json)
  local kind = C.json_peek(json)
  local name = ffi.new("struct slice[1]")
  if kind == C.JSON_OBJECT then
    local value = { kind = "object" }
    assert.is_true(C.json_enter_object(json))
    while C.json_next_member(json, name) do
      local written = text_of(name[0])
      value[#value + 1] = { name = written, value = pull(json) }
    end
    return value
  elseif kind == C.JSON_ARRAY then
    local value = { kind = "array" }
    assert.is_true(C.json_enter_array(json))
    while C.json_next_element(json) do
      value[#value + 1] = pull(json)
    end
    return value
  end
  local text = text_of(C.json_skip(json))
  return { kind = kind == C.JSON_STRING and "string" or "scalar", text = text }
end

local alive -- the text that the last scanner borrows

local function new_json(text)
  alive = text
  local json = ffi.new("struct json[1]")
  json[0] = C.json_init(slice(alive))
  return json
end

describe("json_check", function()
  it("accepts what the grammar has", function()
    for _, text in ipairs(cases.accepted) do
      assert.same({ text, "ok", #text }, { text, check(text) })
    end
  end)

  it("refuses what it has not, and says where", function()
    for _, case in ipairs(cases.refused) do
      assert.same(case, { case[1], check(case[1]) })
    end
  end)

  it("refuses every beginning of a document", function()
    local text = '{"a":[1,-2.5e3,{"b":"\\u00e9\195\169\\n"},[],{},null,true,false],'
      .. '"c":"\240\159\152\128"}'
    for len = 0, #text - 1 do
      assert.are_not.equal("ok", (check(text:sub(1, len))), "a cut after " .. len)
    end
    assert.equal("ok", (check(text)))
  end)

  it("finds a control byte at every place in a string", function()
    for len = 0, 70 do
      for _, byte in ipairs { "\0", "\n", "\31" } do
        local text = '["' .. ("x"):rep(len) .. byte .. ("y"):rep(70 - len) .. '"]'
        assert.same({ "syntax", 2 + len }, { check(text) })
      end
    end
  end)

  it("knows a quote from an escaped one at every place", function()
    for len = 0, 70 do
      local before, after = ("x"):rep(len), ("y"):rep(70 - len)
      assert.equal("ok", (check('"' .. before .. '\\"' .. after .. '"')))
      assert.equal("ok", (check('"' .. before .. '\\\\"')))
      assert.equal("trailing", (check('"' .. before .. '"' .. after .. '"')))
    end
  end)

  it("judges all pairs of bytes in a string as the grammar does", function()
    for a = 0, 255 do
      for b = 0, 255 do
        local text = '"' .. string.char(a, b) .. '"'
        if (check(text) == "ok") ~= (reference.parse(text) ~= nil) then
          error(("bytes %d %d"):format(a, b))
        end
      end
    end
  end)

  it("judges longer UTF-8 by the ranges of each byte", function()
    local bytes = { 0x41, 0x7f, 0x80, 0x8f, 0x90, 0x9f, 0xa0, 0xbf, 0xc0, 0xc2, 0xe0, 0xff }
    for lead = 0xc0, 0xff do
      for _, b in ipairs(bytes) do
        for _, c in ipairs(bytes) do
          local three = string.char(lead, b, c)
          for _, tail in ipairs { "", "\128", "\191", "A", "\192", "\128\128" } do
            local text = '"' .. three .. tail .. '"'
            local valid = reference.is_utf8(text)
            if (check(text) ~= "utf8") ~= valid then error(("%q"):format(text)) end
          end
        end
      end
    end
  end)

  it("agrees with a plain reading on random documents, sound and spoilt", function()
    local sound, spoilt = 0, 0
    Random.cases(3000, function(random)
      local text = random:space() .. random:value(4) .. random:space()
      assert.equal("ok", (check(text)), text)
      for _ = 1, 3 do
        local bad = random:mutate(text)
        local valid = reference.parse(bad) ~= nil
        assert.equal(valid, check(bad) == "ok", ("%q"):format(bad))
        sound, spoilt = sound + (valid and 1 or 0), spoilt + (valid and 0 or 1)
      end
    end)
    assert.is_true(sound > 100 and spoilt > 100)
  end)
end)

describe("the pull scanner", function()
  it("walks a document to the same values as a plain reading", function()
    Random.cases(2000, function(random)
      local text = random:space() .. random:value(4) .. random:space()
      local json = new_json(text)
      local value = pull(json)
      assert.equal("ok", ffi.string(C.err_name(C.json_finish(json))), text)
      assert.equal(reference.canon(reference.parse(text)), reference.canon(value), text)
    end)
  end)

  it("steps over one value and gives its span without white space", function()
    local text = ' [ {"a" : [1, "]"]} , 2 ] , 3'
    local json = new_json(text)
    assert.equal('[ {"a" : [1, "]"]} , 2 ]', text_of(C.json_skip(json)))
    assert.equal(C.ERR_TRAILING, C.json_finish(json))
  end)

  it("names the kind of the next value and moves on white space only", function()
    local kinds = { ["null"] = C.JSON_NULL, ["true"] = C.JSON_TRUE, ["false"] = C.JSON_FALSE,
      ["-1"] = C.JSON_NUMBER, ["0"] = C.JSON_NUMBER, ["9"] = C.JSON_NUMBER, ['""'] = C.JSON_STRING,
      ["[]"] = C.JSON_ARRAY, ["{}"] = C.JSON_OBJECT, [""] = C.JSON_NONE, ["+"] = C.JSON_NONE,
      ["}"] = C.JSON_NONE, [","] = C.JSON_NONE, ["\255"] = C.JSON_NONE }
    for text, kind in pairs(kinds) do
      local json = new_json(" \n" .. text)
      assert.equal(kind, C.json_peek(json), text)
      assert.equal(kind, C.json_peek(json), text)
      assert.equal(2, tonumber(json[0].ptr - json[0].begin))
    end
  end)

  it("enters no other kind than the one it is asked for", function()
    for text, err in pairs { ["[]"] = C.ERR_TYPE, ["1"] = C.ERR_TYPE, [""] = C.ERR_SYNTAX } do
      local json = new_json(text)
      assert.is_false(C.json_enter_object(json))
      assert.equal(err, json[0].err)
    end
    local json = new_json("{}")
    assert.is_false(C.json_enter_array(json))
    assert.equal(C.ERR_TYPE, json[0].err)
  end)

  it("stays where it failed", function()
    local text = "[1,x,2]"
    local json = new_json(text)
    assert.is_true(C.json_enter_array(json))
    assert.is_true(C.json_next_element(json))
    assert.equal("1", text_of(C.json_skip(json)))
    assert.is_true(C.json_next_element(json))
    for _ = 1, 3 do
      assert.equal(0, tonumber(C.json_skip(json).len))
      assert.is_false(C.json_next_element(json))
      assert.is_false(C.json_enter_array(json))
      assert.equal(C.JSON_NONE, C.json_peek(json))
      assert.equal(C.ERR_SYNTAX, C.json_finish(json))
      assert.equal(3, tonumber(json[0].ptr - json[0].begin))
    end
  end)

  it("refuses a comma before a closing bracket", function()
    for _, text in ipairs { "[1,]", "[1, ]", "[1 1]", "[1", "[1,", "[1}" } do
      local json = new_json(text)
      assert.is_true(C.json_enter_array(json))
      assert.is_true(C.json_next_element(json))
      C.json_skip(json)
      assert.is_false(C.json_next_element(json) and C.json_peek(json) ~= C.JSON_NONE, text)
      C.json_skip(json)
      assert.equal(C.ERR_SYNTAX, json[0].err, text)
    end
  end)

  it("counts the containers that were entered towards the depth", function()
    for extra, err in pairs { [0] = C.ERR_OK, [1] = C.ERR_TOO_DEEP } do
      local depth = C.JSON_MAX_DEPTH + extra
      local text = ("["):rep(depth) .. ("]"):rep(depth)
      local json = new_json(text)
      for _ = 1, 100 do
        assert.is_true(C.json_enter_array(json) and C.json_next_element(json))
      end
      C.json_skip(json)
      assert.equal(err, json[0].err)
    end
    local text = ("["):rep(129)
    local json = new_json(text)
    for _ = 1, 128 do
      assert.is_true(C.json_enter_array(json) and C.json_next_element(json))
    end
    assert.is_false(C.json_enter_array(json))
    assert.equal(C.ERR_TOO_DEEP, json[0].err)
  end)

  it("steps over a value that nobody wanted", function()
    for _, value in ipairs {
      '"a plain text"', '"\\n"', '"\195\169"', "null", "0", "17", "-1.5e3", "true", "{}", "[]",
      '{"in":{"in":[1,{}]}}', ' "x" ', "\n  null\n", '"' .. ("long "):rep(20) .. '"',
    } do
      local names = {}
      local layout = '{"a":%s,"b":%s, "c" :%s,\n    "d":[%s,%s]}'
      local text = layout:format(value, value, value, value, value)
      local json, name = new_json(text), ffi.new("struct slice[1]")
      assert.is_true(C.json_enter_object(json))
      while C.json_next_member(json, name) do
        names[#names + 1] = text_of(name[0])
        if names[#names] == "d" then
          assert.is_true(C.json_enter_array(json))
          while C.json_next_element(json) do names[#names + 1] = "element" end
        end
      end
      assert.equal(C.ERR_OK, C.json_finish(json), text)
      assert.same({ "a", "b", "c", "d", "element", "element" }, names)
    end
  end)

  it("fails where a value that nobody wanted is wrong", function()
    for text, at in pairs {
      ['{"a":nul,"b":1}'] = 5, ['{"a":01,"b":1}'] = 6, ['{"a":"\\1","b":1}'] = 6,
      ['{"a":,"b":1}'] = 5, ['{"a":nullx,"b":1}'] = 9, ['{"a":1x,"b":1}'] = 6,
      ['{"a":"x"'] = 8, ['{"a":"x'] = 7, ['{"a":1 "b":1}'] = 7, ['{"a":1,,"b":1}'] = 7,
      ['{"a":1,"b"1}'] = 10, ['{"a":{"b":},"c":1}'] = 10,
    } do
      local json, name = new_json(text), ffi.new("struct slice[1]")
      assert.is_true(C.json_enter_object(json))
      assert.is_true(C.json_next_member(json, name))
      assert.is_false(C.json_next_member(json, name), text)
      assert.same({ text, C.ERR_SYNTAX, at },
        { text, json[0].err, tonumber(json[0].ptr - json[0].begin) })
    end
  end)

  it("opens a container, or steps over what is none", function()
    for _, value in ipairs { "1", "null", '"x"', " true", "[]", '[{"a":1}]' } do
      local text = '{"a":' .. value .. ',"b":{"c":2}}'
      local json, name = new_json(text), ffi.new("struct slice[1]")
      assert.is_true(C.json_open_object(json))
      assert.is_true(C.json_next_member(json, name))
      assert.is_false(C.json_open_object(json), text)
      assert.is_true(C.json_next_member(json, name))
      assert.equal("b", text_of(name[0]))
      assert.is_true(C.json_open_object(json))
      assert.is_true(C.json_next_member(json, name))
      assert.is_false(C.json_open_array(json))
      assert.is_false(C.json_next_member(json, name))
      assert.is_false(C.json_next_member(json, name))
      assert.equal(C.ERR_OK, C.json_finish(json))
    end
    for _, text in ipairs { "", " ", "]", "{,}", '{"a" 1}', "[x]" } do
      local json, name = new_json(text), ffi.new("struct slice[1]")
      if C.json_open_object(json) then assert.is_false(C.json_next_member(json, name)) end
      assert.equal(C.ERR_SYNTAX, json[0].err, text)
    end
  end)

  it("tells whether a name is written with escapes", function()
    local text = '{"a\\u0062":"plain","ab":"\\n"}'
    local json, name = new_json(text), ffi.new("struct slice[1]")
    C.json_enter_object(json)
    for _, escaped in ipairs { true, false } do
      assert.is_true(C.json_next_member(json, name))
      assert.equal(escaped, json[0].escaped)
      C.json_skip(json)
      assert.equal(not escaped, json[0].escaped)
    end
  end)
end)

describe("json_unescape", function()
  it("gives the text that an inside stands for", function()
    local texts = { [""] = "", a = "a", ['\\"\\\\\\/'] = '"\\/', ["\\b\\f\\n\\r\\t"] = "\b\f\n\r\t",
      ["\\u0041\\u00e9\\u20AC"] = "A\195\169\226\130\172",
      ["\\ud83d\\ude00!"] = "\240\159\152\128!",
      ["\195\169\\u007f"] = "\195\169\127", ["\\\\u0000"] = "\\u0000", ["\\uffff"] = "\239\191\191",
      ["\\udbff\\udfff"] = "\244\143\191\191", ["\\ud800\\udc00"] = "\240\144\128\128" }
    for inside, text in pairs(texts) do
      assert.same({ text, "ok" }, { unescape(inside) }, inside)
    end
  end)

  it("fails on a NUL and on a lone surrogate, and adds nothing", function()
    local faults = { ["a\\u0000"] = "nul", ["\\ud800"] = "utf8", ["ab\\udc00c"] = "utf8",
      ["\\ud800\\ud800"] = "utf8", ["\\ud800x"] = "utf8", ["\\udc00\\ud800"] = "utf8",
      ["\\ud800\\u0041"] = "utf8", ["\\udc00\\udc00"] = "utf8",
      ["\\ud800\\n"] = "utf8" }
    for inside, err in pairs(faults) do
      assert.same({ "", err }, { unescape(inside) }, inside)
    end
  end)

  it("undoes random strings as a plain reading does", function()
    Random.cases(3000, function(random)
      local inside = random:inside(8)
      local text, err = unescape(inside)
      local meant = reference.decode(inside)
      if err == "ok" then
        assert.equal(meant, text)
        assert.equal(not text:find("%z"), C.json_string_is(slice(inside), text))
      else
        assert.is_true(meant:find("%z") ~= nil or not reference.is_utf8(meant))
      end
    end)
  end)
end)

describe("json_string_is", function()
  it("resolves escapes on the side of the inside only", function()
    local function is(inside, text) return C.json_string_is(slice(inside), text) end
    assert.is_true(is("model", "model"))
    assert.is_true(is("mod\\u0065l", "model"))
    assert.is_true(is("\\u006d\\u006F\\u0064\\u0065\\u006C", "model"))
    assert.is_true(is("a\\/b\\n", "a/b\n"))
    assert.is_true(is("\\ud83d\\ude00", "\240\159\152\128"))
    assert.is_true(is("", ""))
    for _, other in ipairs { "mode", "models", "Model", "", "mod\\u0065", "mod\\u0065ls", "\\u0000",
      "model\\u0000", "mod\\u0065l\\u0000", "\\ud83d", "\\n", "m" } do
      assert.is_false(is(other, "model"), other)
    end
    assert.is_false(is("a", ""))
    assert.is_false(is("\\u0000", ""))
    assert.is_false(is("\\n", "\\n"))
  end)
end)

describe("json_quote", function()
  it("escapes what a string cannot hold and nothing else", function()
    local quoted = { [""] = '""', ["a/b'c"] = '"a/b\'c"', ['"\\'] = '"\\"\\\\"',
      ["\b\f\n\r\t"] = '"\\b\\f\\n\\r\\t"', ["\0\1\31\127"] = '"\\u0000\\u0001\\u001f\127"',
      ["\195\169\228\189\160\240\159\152\128"] = '"\195\169\228\189\160\240\159\152\128"' }
    for text, json in pairs(quoted) do
      assert.equal(json, quote(text))
    end
  end)

  it("puts U+FFFD where the bytes are no UTF-8", function()
    assert.equal('"a\239\191\189b"', quote("a\255b"))
    assert.equal('"\239\191\189\239\191\189"', quote("\192\128"))
    assert.equal('"\195\169\239\191\189"', quote("\195\169\195"))
    assert.equal('"' .. ("\239\191\189"):rep(3) .. '"', quote("\237\160\128"))
  end)

  it("writes any bytes as a string that reads as they were", function()
    Random.cases(2000, function(random)
      local bytes = {}
      for i = 1, random:int(0, 40) do
        bytes[i] = random:chance(50) and random:inside(1) or string.char(random:int(0, 255))
      end
      local text = table.concat(bytes)
      local json = quote(text)
      local value = reference.parse(json)
      assert.equal("string", value and value.kind, json)
      if reference.is_utf8(text) then
        assert.equal(text, reference.decode(json:sub(2, -2)))
      end
    end)
  end)
end)
