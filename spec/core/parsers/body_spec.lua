local native = require("spec.support.native")
local reference = require("spec.core.parsers.json.reference")
local Random = require("spec.core.parsers.json.random")

local C, ffi = native.load { "slice", "err", "buf", "json", "body" }

local function slice(text)
  return ffi.new("struct slice", text, #text)
end

local function text_of(s)
  return ffi.string(s.ptr, s.len)
end

-- Calls fn(body, fault, err word) with what body_init makes of text.
local function with_body(text, fn)
  local body, fault = ffi.new("struct body"), ffi.new("struct body_fault")
  local err = C.body_init(body, slice(text), fault)
  local result = fn(body, fault, ffi.string(C.err_name(err)))
  if err == C.ERR_OK then C.body_fini(body) end
  return result
end

local function refusal(text)
  return with_body(text, function(body, fault, err)
    assert.is_true(body.members == nil or err == "ok")
    return { err, ffi.string(fault.member), tonumber(fault.offset), ffi.string(fault.message) }
  end)
end

local function new_edits(list)
  local edits = ffi.gc(ffi.new("struct body_edits"), C.body_edits_free)
  for _, edit in ipairs(list) do
    if edit.inner then
      C.body_edits_set_inner(edits, edit.name, edit.inner, slice(edit.value))
    elseif edit.value then
      C.body_edits_set(edits, edit.name, slice(edit.value))
    else
      C.body_edits_drop(edits, edit.name)
    end
  end
  return edits
end

-- The text that body_write makes of it.
local function write(text, edits)
  return with_body(text, function(body, _, err)
    assert.equal("ok", err, text)
    local out = ffi.new("struct buf")
    C.body_write(body, edits, out)
    local result = text_of(C.buf_slice(out))
    C.buf_free(out)
    return result
  end)
end

local function set(name, value) return { name = name, value = value } end
local function drop(name) return { name = name } end
local function within(name, inner, value) return { name = name, inner = inner, value = value } end

local function edited(text, ...)
  return write(text, new_edits { ... })
end

describe("body_init", function()
  it("finds the spans of the top-level members", function()
    local text = ' { "model" : "gpt-4o",\n"n":1 , "messages": [ {"model":"x"} ] ,"a\\u0062":null} '
    with_body(text, function(body, _, err)
      assert.equal("ok", err)
      local found = {}
      for i = 0, tonumber(body.count) - 1 do
        local member = body.members[i]
        found[i + 1] = { text_of(member.name), text_of(member.value), tonumber(member.kind) }
      end
      assert.same({
        { "model", '"gpt-4o"', tonumber(C.JSON_STRING) },
        { "n", "1", tonumber(C.JSON_NUMBER) },
        { "messages", '[ {"model":"x"} ]', tonumber(C.JSON_ARRAY) },
        { "a\\u0062", "null", tonumber(C.JSON_NULL) },
      }, found)
    end)
  end)

  it("takes as many members as the limit says and no more", function()
    for extra, expected in pairs { [0] = "ok", [1] = "too_large" } do
      local members = {}
      for i = 1, C.BODY_MAX_MEMBERS + extra do
        members[i] = ('"m%d":%d'):format(i, i)
      end
      with_body("{" .. table.concat(members, ",") .. "}", function(body, fault, err)
        assert.equal(expected, err)
        if err == "ok" then
          assert.equal("777", text_of(C.body_get(body, "m777").value))
        else
          assert.equal("m1025", ffi.string(fault.member))
        end
      end)
    end
  end)

  it("refuses what is no JSON object, and says why and where", function()
    local not_object = "the body must be a JSON object"
    local invalid = "the body is not valid JSON"
    local short = "the body's JSON ends too early"
    local trailing = "something follows the end of the body's JSON"
    local cases = {
      [""] = { "syntax", "", 0, "the body is empty" },
      [" \n"] = { "syntax", "", 2, "the body is empty" },
      ["[]"] = { "type", "", 2, not_object },
      ['"model"'] = { "type", "", 7, not_object },
      ["null"] = { "type", "", 4, not_object },
      ["[1,"] = { "syntax", "", 3, short },
      ["nul"] = { "syntax", "", 0, invalid },
      ["model=x"] = { "syntax", "", 0, invalid },
      ["{"] = { "syntax", "", 1, short },
      ['{"messages":[1,'] = { "syntax", "messages", 15, short },
      ['{"messages":[1,]}'] = { "syntax", "messages", 15, invalid },
      ['{"model":"a",}'] = { "syntax", "", 13, invalid },
      ['{"model":"a" "n":1}'] = { "syntax", "", 13, invalid },
      ['{"model":tru}'] = { "syntax", "model", 9, invalid },
      ['{"model":"a"}x'] = { "trailing", "", 13, trailing },
      ['{"model":"a"}\0'] = { "trailing", "", 13, trailing },
      ['{"prompt":"\255"}'] = { "utf8", "prompt", 11, "the body is not valid UTF-8" },
      ['{"prompt":"a\nb"}'] = { "syntax", "prompt", 12, invalid },
      ["\239\187\191{}"] = { "syntax", "", 0, invalid },
    }
    for text, expected in pairs(cases) do
      assert.same(expected, refusal(text), text)
    end
    local deep = '{"tools":' .. ("["):rep(128) .. ("]"):rep(128) .. "}"
    assert.same({ "too_deep", "tools", 9 + 127, "the body's JSON is nested too deeply" },
      refusal(deep))
    assert.equal("ok", refusal((deep:gsub("%[%]", "", 1)))[1])
  end)

  for _, name in ipairs { "model", "stream", "stream_options", "messages", "prompt", "input",
    "max_tokens", "max_completion_tokens", "n", "tools" } do
    it("refuses a second " .. name .. ", and one that is spelt with escapes", function()
      local escaped = ("\\u%04x"):format(name:byte()) .. name:sub(2)
      local once = ('{"x":{"%s":1,"%s":2},"%s":1'):format(name, name, name)
      assert.equal("ok", refusal(once .. "}")[1])
      assert.same({ "duplicate", name, #once + 1, "this member must not occur twice" },
        refusal(('%s,"%s":1}'):format(once, name)))
      local plain = "this member's name must be written without escapes"
      assert.same({ "type", escaped, #once + 1, plain },
        refusal(('%s,"%s":1}'):format(once, escaped)))
      assert.same({ "type", escaped, 1, plain }, refusal(('{"%s":1}'):format(escaped)))
    end)
  end

  it("lets duplicates pass of what Weir does not read", function()
    assert.equal("ok", refusal('{"Model":1,"model":"x","Model":2,"user":1,"user":1}')[1])
  end)

  it("refuses a NUL in a name and in the model", function()
    local in_name, in_model = "a member's name must not contain \\u0000",
      "the model's name must not contain \\u0000"
    assert.same({ "nul", "model\\u0000", 1, in_name }, refusal('{"model\\u0000":1}'))
    assert.same({ "nul", "\\ud800\\u0000", 1, in_name }, refusal('{"\\ud800\\u0000":1}'))
    assert.same({ "nul", "model", 9, in_model }, refusal('{"model":"gpt-4\\u0000evil"}'))
    assert.equal("ok", refusal('{"\\\\u0000":1,"model":"\\\\u0000","user":"\\u0000"}')[1])
  end)

  it("cuts a long name in its reason between characters", function()
    local name = ("x"):rep(62) .. "\195\169"
    assert.equal(("x"):rep(62), refusal(('{"%s":tru}'):format(name))[2])
    assert.equal(("y"):rep(63), refusal(('{"%s":tru}'):format(("y"):rep(63)))[2])
  end)
end)

describe("body_get", function()
  it("finds by the decoded name, the last of several", function()
    local text = '{"a":1,"us\\u0065r":"x","a":2,"modeL":true,"stream":true,"echo":false}'
    with_body(text, function(body)
      assert.equal('"x"', text_of(C.body_get(body, "user").value))
      assert.equal("2", text_of(C.body_get(body, "a").value))
      assert.is_true(C.body_get(body, "model") == nil)
      assert.is_true(C.body_get(body, "") == nil)
      assert.is_true(C.body_is_true(body, "stream"))
      assert.is_false(C.body_is_true(body, "echo"))
      assert.is_false(C.body_is_true(body, "a"))
      assert.is_false(C.body_is_true(body, "absent"))
    end)
  end)

  it("finds by what a name says, not by how it stands there", function()
    with_body('{"b\\\\n":2,"b\\n":1}', function(body)
      assert.equal("2", text_of(C.body_get(body, "b\\n").value))
      assert.equal("1", text_of(C.body_get(body, "b\n").value))
    end)
  end)

  it("decodes a string member and no other", function()
    with_body('{"model":"a\\u002fb","n":1,"user":"\\ud800","x":"\\u0000"}', function(body)
      local out = ffi.new("struct buf")
      assert.equal(C.ERR_OK, C.body_get_string(body, "model", out))
      assert.equal(C.ERR_TYPE, C.body_get_string(body, "n", out))
      assert.equal(C.ERR_TYPE, C.body_get_string(body, "absent", out))
      assert.equal(C.ERR_UTF8, C.body_get_string(body, "user", out))
      assert.equal(C.ERR_NUL, C.body_get_string(body, "x", out))
      assert.equal("a/b", text_of(C.buf_slice(out)))
      C.buf_free(out)
    end)
  end)
end)

describe("body_write", function()
  it("gives back every byte where there is no edit", function()
    for _, text in ipairs { "{}", " { } ", '{"a":1}\n', '\t{ "a" : 1.0 ,\r\n "b" : [ 1e-7 ] } ' } do
      assert.equal(text, edited(text))
      assert.equal(text, edited(text, drop("absent")))
    end
  end)

  it("replaces a value and nothing around it", function()
    assert.equal('{ "model" :\t"b" , "n":9007199254740993}',
      edited('{ "model" :\t"a" , "n":9007199254740993}', set("model", '"b"')))
    assert.equal('{"a":[1, 2]}', edited('{"a":{"a":1}}', set("a", "[1, 2]")))
  end)

  it("adds a member behind the last", function()
    assert.equal('{"x":1}', edited("{}", set("x", "1")))
    assert.equal('{"x":1 }', edited("{ }", set("x", "1")))
    assert.equal(' {"x":1,"y":2\n} ', edited(" {\n} ", set("x", "1"), set("y", "2")))
    assert.equal('{"a":1,"x":1}', edited('{"a":1}', set("x", "1")))
    assert.equal('{ "a" : 1,"x":1 }\n', edited('{ "a" : 1 }\n', set("x", "1")))
    assert.equal('{"a\\"\\n\195\169":1}', edited("{}", set('a"\n\195\169', "1")))
  end)

  it("takes one comma with what it drops", function()
    local text = '{ "a" : 1 ,\n  "b" : 2 , "c":3\n}'
    assert.equal('{ "b" : 2 , "c":3\n}', edited(text, drop("a")))
    assert.equal('{ "a" : 1 , "c":3\n}', edited(text, drop("b")))
    assert.equal('{ "a" : 1 ,\n  "b" : 2\n}', edited(text, drop("c")))
    assert.equal('{ "c":3\n}', edited(text, drop("a"), drop("b")))
    assert.equal('{ "b" : 2\n}', edited(text, drop("a"), drop("c")))
    assert.equal('{ "a" : 1\n}', edited(text, drop("c"), drop("b")))
    assert.equal("{ \n}", edited(text, drop("b"), drop("a"), drop("c")))
    assert.equal('{ "x":0\n}', edited(text, drop("b"), drop("a"), drop("c"), set("x", "0")))
  end)

  it("edits every one of several members of a name, however it is spelt", function()
    local text = '{"a":1,"b":2,"\\u0061":3,"c":4,"a":5}'
    assert.equal('{"b":2,"c":4}', edited(text, drop("a")))
    assert.equal('{"a":0,"b":2,"\\u0061":0,"c":4,"a":0}', edited(text, set("a", "0")))
  end)

  it("sets within an object and touches nothing else there", function()
    local function usage(text)
      return edited(text, within("stream_options", "include_usage", "true"))
    end
    assert.equal('{"stream_options":{"include_usage":true}}', usage("{}"))
    assert.equal('{"stream_options": {"include_usage":true} }', usage('{"stream_options": null }'))
    assert.equal('{"stream_options":{"include_usage":true}}', usage('{"stream_options":{}}'))
    assert.equal('{"stream_options": { "x" : 1.0,"include_usage":true } ,"n":1}',
      usage('{"stream_options": { "x" : 1.0 } ,"n":1}'))
    assert.equal('{"stream_options":{"include_usage" : true, "x":1}}',
      usage('{"stream_options":{"include_usage" : false, "x":1}}'))
    assert.equal('{"a":1,"stream_options":{"include_usage":true}}', usage('{"a":1}'))
  end)

  it("leaves a value in which nothing can be set", function()
    for _, value in ipairs { "[]", "1", '"x"', "true" } do
      local text = ('{"stream_options":%s}'):format(value)
      assert.equal(text, edited(text, within("stream_options", "include_usage", "true")))
    end
  end)

  it("sets within what a set or a drop of the same member leaves, in any order", function()
    local inner = within("o", "i", "1")
    for _, text in ipairs { '{"o":{"x":1}}', "{}" } do
      assert.equal('{"o":{"y":2,"i":1}}', edited(text, set("o", '{"y":2}'), inner))
      assert.equal('{"o":{"y":2,"i":1}}', edited(text, inner, set("o", '{"y":2}')))
      assert.equal('{"o":{"i":1}}', edited(text, drop("o"), inner))
      assert.equal('{"o":{"i":1}}', edited(text, inner, drop("o")))
      assert.equal('{"o":{"i":1}}', edited(text, set("o", "null"), inner))
      assert.equal('{"o":{"i":1,"j":2}}', edited(text, drop("o"), inner, within("o", "j", "2")))
    end
  end)

  it("lets a later edit override an earlier one", function()
    assert.equal('{"a":2}', edited('{"a":0}', drop("a"), set("a", "1"), set("a", "2")))
    assert.equal("{}", edited('{"a":0}', set("a", "1"), drop("a")))
    assert.equal('{"o":{"i":2}}', edited("{}", within("o", "i", "1"), within("o", "i", "2")))
  end)

  it("applies the edits of another list after its own", function()
    local first = new_edits { set("a", "1"), set("b", "1"), within("o", "i", "1") }
    local second = new_edits { set("b", "2"), drop("c"), within("o", "i", "2") }
    C.body_edits_add(first, second)
    assert.equal('{"a":1,"b":2,"o":{"i":2}}', write('{"c":3}', first))
  end)

  it("does the work of a send", function()
    local text = '{\n  "model": "default",\n'
      .. '  "messages": [{"role": "user", "content": "h\\u00e9"}],\n'
      .. '  "logprobs": true,\n  "seed": 9007199254740993,\n  "temperature": 1.0\n}\n'
    assert.equal('{\n  "model": "llama-3.3-70b",\n'
      .. '  "messages": [{"role": "user", "content": "h\\u00e9"}],\n'
      .. '  "seed": 9007199254740993,\n  "temperature": 1.0,"stream":true,'
      .. '"stream_options":{"include_usage":true}\n}\n',
      edited(text, set("model", '"llama-3.3-70b"'), set("stream", "true"), drop("logprobs"),
        within("stream_options", "include_usage", "true")))
  end)

  it("copies a large body whole", function()
    local parts = {}
    for i = 1, 20000 do parts[i] = ("%d "):format(i) end
    local rest = '","n":1,"x":"' .. table.concat(parts) .. '"}'
    assert.equal('{"model":"longer name' .. rest,
      edited('{"model":"name' .. rest, set("model", '"longer name"')))
  end)
end)

describe("random edits of random bodies", function()
  local NAMES = { "model", "stream", "a", "b", "\195\169", "c d", "e\\u0066", "\\\"", "" }
  local DECODED = { ["e\\u0066"] = "ef", ["\\\""] = '"' }
  local INNER = { "i", "j", "a" }

  local function random_names(random)
    local names, seen = {}, {}
    for _ = 1, random:int(0, 7) do
      local name = random:pick(NAMES)
      if not seen[name] or (name ~= "model" and name ~= "stream") then
        names[#names + 1], seen[name] = name, true
      end
    end
    return names
  end

  local function random_object(random, names, depth)
    local inner = { random:pick(INNER), random:pick(INNER) }
    local values = { model = '"m\\u0061"' }
    if random:chance(60) then
      values.a = random:chance(70) and random:object(inner, depth) or "null"
    end
    return random:object(names, depth, values)
  end

  local function random_edits(random)
    local edits = {}
    for i = 1, random:int(0, 6) do
      local name = random:pick(NAMES)
      name = DECODED[name] or name
      local kind = random:int(1, 4)
      if kind == 1 then
        edits[i] = drop(name)
      elseif kind == 2 then
        edits[i] = within(name, random:pick(INNER), random:value(1))
      else
        edits[i] = set(name, random:value(2))
      end
    end
    return edits
  end

  local function fold(edits)
    local whole, inner, order = {}, {}, {}
    for _, edit in ipairs(edits) do
      local name = edit.name
      if not whole[name] and not inner[name] then order[#order + 1] = name end
      if edit.inner then
        inner[name] = inner[name] or {}
        table.insert(inner[name], edit)
      else
        whole[name] = edit
      end
    end
    return whole, inner, order
  end

  -- What is meant by setting `edits` within the value (a canonical text or a tree).
  local function meant_within(value, edits)
    if value and value.kind ~= "object" and value.kind ~= "null" then
      return reference.canon(value)
    end
    local names, texts = {}, {}
    local function put(name, text, every)
      local found = false
      for i = 1, every and #names or 0 do
        if names[i] == name then texts[i], found = text, true end
      end
      if not found then names[#names + 1], texts[#texts + 1] = name, text end
    end
    for _, member in ipairs(value or {}) do
      put(reference.decode(member.name), reference.canon(member.value), false)
    end
    for _, edit in ipairs(edits) do
      put(edit.inner, reference.canon(reference.parse(edit.value)), true)
    end
    for i, name in ipairs(names) do names[i] = ("%q:%s"):format(name, texts[i]) end
    return "{" .. table.concat(names, ",") .. "}"
  end

  -- The canonical text of what the edits mean for the tree.
  local function meant(tree, edits)
    local whole, inner, order = fold(edits)
    local parts, present = {}, {}
    local function add(name, value)
      local edit = whole[name]
      if edit then value = edit.value and reference.parse(edit.value) end
      if inner[name] then
        parts[#parts + 1] = ("%q:%s"):format(name, meant_within(value, inner[name]))
      elseif value then
        parts[#parts + 1] = ("%q:%s"):format(name, reference.canon(value))
      end
    end
    for _, member in ipairs(tree) do
      local name = reference.decode(member.name)
      present[name] = true
      add(name, member.value)
    end
    for _, name in ipairs(order) do
      if not present[name] then add(name, nil) end
    end
    return "{" .. table.concat(parts, ",") .. "}"
  end

  -- The bytes that no edit names, in pieces that must occur in this order.
  local function untouched(text, tree, edits)
    local whole, inner = fold(edits)
    local pieces = { text:sub(1, tree.first) }
    local previous
    for i, member in ipairs(tree) do
      local name = reference.decode(member.name)
      local kept = not whole[name] and not inner[name]
      local value = member.value
      if kept then
        local from = previous == i - 1 and i > 1 and tree[i - 1].value.last + 1 or member.first
        pieces[#pieces + 1] = text:sub(from, value.last)
        previous = i
      elseif inner[name] or whole[name].value then
        pieces[#pieces + 1] = text:sub(member.first, value.first - 1)
      end
    end
    pieces[#pieces + 1] = text:sub(#tree > 0 and tree[#tree].value.last + 1 or tree.first + 1)
    return pieces
  end

  local function try(random)
    local text = random:space() .. random_object(random, random_names(random), 3) .. random:space()
    local edits = random_edits(random)
    local result = edited(text, unpack(edits))
    local function check(good) -- assert.equal is slow, and this is in the inner loop
      if not good then error(("%s -> %s"):format(text, result), 0) end
    end

    local tree, after = reference.parse(text), reference.parse(result)
    check(after and meant(tree, edits) == reference.canon(after))
    check(#edits > 0 or text == result)

    local at = 1
    local pieces = untouched(text, tree, edits)
    for i, piece in ipairs(pieces) do
      local from, to = result:find(piece, at, true)
      check(from and (i > 1 or from == 1))
      at = to + 1
    end
    check(pieces[#pieces] == result:sub(-#pieces[#pieces]))
  end

  it("leave the untouched bytes equal and parse to what was meant", function()
    Random.cases(2500, try)
  end)
end)
