local native = require("spec.support.native")

local C, ffi = native.load { "slice", "err", "buf", "json", "chunk", "said" }

local function slice(text)
  return ffi.new("struct slice", text, #text)
end

local function text_of(buf)
  local text = buf.len > 0 and ffi.string(buf.ptr, buf.len) or ""
  C.buf_free(buf)
  return text
end

local function chunk_of(text)
  local chunk = ffi.new("struct chunk[1]")
  assert(C.chunk_read(slice(text), chunk) == C.ERR_OK)
  return chunk
end

local function delta(members, more)
  return ('{"id":"a","created":7,"choices":[{"index":0,"delta":{%s}%s}]}'):format(members,
    more or "")
end

local function content(text)
  return delta('"content":"' .. text .. '"')
end

describe("said", function()
  local said

  before_each(function()
    said = ffi.new("struct said[1]")
  end)

  after_each(function()
    C.said_fini(said)
  end)

  local function add(...)
    for _, text in ipairs { ... } do C.said_add(said, slice(text), chunk_of(text)) end
  end

  --- The text so far, or nil when nothing can go on.
  local function so_far()
    local out = ffi.new("struct buf[1]")
    local may = C.said_may_go_on(said, out)
    local text = text_of(out[0])
    return may and text or nil
  end

  local function join(text)
    local out = ffi.new("struct buf[1]")
    C.said_join(said, slice(text), chunk_of(text), out)
    return text_of(out[0])
  end

  it("is the text of the content, without its thoughts", function()
    assert.equal("", so_far())
    add(delta('"role":"assistant","content":""'), delta('"reasoning":"hm"'), content("one"),
      content(" \\u00e9\\n"))
    assert.equal("one é\n", so_far())
  end)

  it("joins a surrogate pair that two messages share", function()
    add(content("\\ud83d"))
    assert.is_nil(so_far())
    add(content("\\ude00"))
    assert.equal("😀", so_far())
  end)

  for what, message in pairs {
    ["a tool call"] = delta('"tool_calls":[{"index":0}]'),
    ["a tool call beside text"] = delta('"content":"x","tool_calls":[{"index":0}]'),
    ["an old function call"] = delta('"function_call":{"name":"f"}'),
    ["the finish"] = delta("", ',"finish_reason":"stop"'),
    ["a second choice"] = '{"choices":[{"index":1,"delta":{"content":"x"}}]}',
    ["two choices"] = '{"choices":[{"index":0,"delta":{}},{"index":1,"delta":{}}]}',
    ["text that is a list"] = delta('"content":[{"type":"text"}]'),
    ["a NUL"] = content("\\u0000"),
  } do
    it("cannot go on after " .. what, function()
      add(content("x"), message, content("y"))
      assert.is_nil(so_far())
    end)
  end

  it("cannot go on after more than it keeps", function()
    local piece = content(("x"):rep(1024))
    for _ = 1, 1024 do add(piece) end
    assert.equal(1024 * 1024, #so_far())
    add(content("x"))
    assert.is_nil(so_far())
  end)

  it("gives what follows the first one's id and time, and every other byte as it came", function()
    add(content("one"))
    local choices = '"choices":[{"index":0,"delta":{"content":"t"}}]}'
    assert.equal('{ "id" : "a","x":1.0, "created":7 ,' .. choices,
      join('{ "id" : "zz","x":1.0, "created":8 ,' .. choices))
  end)

  it("takes the role out of what follows", function()
    add(content("one"))
    assert.equal(content("two"), join(delta('"role":"assistant","content":"two"')))
    assert.equal(content("two"), join(delta('"content":"two","role":"assistant"')))
  end)

  it("leaves out what says no more than its role", function()
    add(content("one"))
    assert.equal("", join(delta('"role":"assistant","content":""')))
    assert.is_truthy(join('{"choices":[{"index":0,"delta":{}}],"usage":{"total_tokens":1}}'):find(
      "total_tokens", 1, true))
  end)

  it("adds no id where the first had none", function()
    add('{"choices":[{"index":0,"delta":{"content":"one"}}]}')
    assert.equal('{"id":"z","choices":[{"text":"t"}]}', join('{"id":"z","choices":[{"text":"t"}]}'))
  end)

  it("makes one line of it", function()
    add(content("one"))
    assert.equal('{"choices": [{"text":"t"}],"id":"a","created":7}',
      join('{"choices":\n[{"text":"t"}]}'))
  end)
end)
