-- What a client sent and what it got, as records for the clerk.

local native = require("spec.support.native")
local C, ffi = native.load { "slice", "ring", "transcript" }
local openai = require("spec.support.openai")

local function slice(text) return ffi.new("struct slice", { text, #text }) end

describe("a transcript", function()
  local rings, transcript

  local function start(most)
    local head = ffi.new("struct transcript_head", { account = 7, keep_s = 60, time_us = 5 })
    ffi.copy(head.request, "req_1")
    transcript = C.transcript_new(rings, 0, head, most or 1000)
  end

  before_each(function() rings = C.rings_new() end)
  after_each(function() C.rings_free(rings) end)

  --- The records: whose, which side, and its parts as { kind, choice, bytes, text }.
  local function records()
    local at, record = ffi.new("uint64_t[1]"), ffi.new("struct slice")
    local list = {}
    while C.rings_next(rings, 0, at, record) do
      local head, parts = ffi.new("struct transcript_head"), {}
      local visit = ffi.cast(
        "void (*)(void *, const struct transcript_head *, const struct transcript_part *)",
        function(_, _, part)
          parts[#parts + 1] = { ffi.string(C.transcript_kind_name(part.kind)), part.choice,
            tonumber(part.bytes), ffi.string(part.text.ptr, part.text.len) }
        end)
      assert.is_true(C.transcript_read(record, head, visit, nil))
      visit:free()
      list[#list + 1] = { id = ffi.string(head.request), account = head.account,
        is_answer = head.is_answer == 1, parts = parts }
    end
    return list
  end

  local function answer_of(...)
    start()
    for _, frames in ipairs { ... } do C.transcript_stream(transcript, slice(frames)) end
    C.transcript_end(transcript)
    return records()[1].parts
  end

  it("is a record for the request, and one for the answer", function()
    start()
    C.transcript_ask(transcript, slice("asked"))
    assert.same({ { id = "req_1", account = 7, is_answer = false,
      parts = { { "body", 0, 5, "asked" } } } }, records())
    C.transcript_answer(transcript, slice("told"))
    C.transcript_end(transcript)
    assert.same({ "body", 0, 4, "told" }, records()[2].parts[1])
    assert.is_true(records()[2].is_answer)
  end)

  it("has no answer where nothing was answered", function()
    start()
    C.transcript_ask(transcript, slice("asked"))
    C.transcript_end(transcript)
    assert.equal(1, #records())
  end)

  it("puts a stream's texts together, cut wherever its bytes are", function()
    local frames = openai.role .. ": a comment\n\n" .. openai.event('{"reasoning_content":"hm"}')
      .. openai.content("one \\n") .. openai.content("two") .. openai.finish .. openai.usage
      .. openai.done
    local whole = { { "reasoning", 0, 2, "hm" }, { "content", 0, 9, "one \\ntwo" },
      { "finish", 0, 4, "stop" } }
    for at = 0, #frames do
      C.rings_free(rings)
      rings = C.rings_new()
      assert.same(whole, answer_of(frames:sub(1, at), frames:sub(at + 1)))
    end
  end)

  it("keeps events of no known kind, and errors", function()
    assert.same({ { "other", 0, 21, '{"mine":1}\nno JSON {\n' }, { "error", 0, 3, '"x"' } },
      answer_of('data: {"mine":1}\n\ndata: no JSON {\n\ndata: {"error":"x"}\n\n'))
  end)

  it("is cut at its bound: no escape and no character is, and what follows is left out", function()
    local cuts = { { "abcdefgh", "ab", 2 }, { "a\\nbc", "a\\nb", 4 }, { "ab\\nc", "ab", 3 },
      { "\\u00e4bcd", "\\u00e4b", 7 }, { "\\u00e4bc", "", 5 }, { "a\195\164b", "a", 2 },
      { "\\\\\\\\", "\\\\", 3 } }
    for _, one in ipairs(cuts) do
      C.rings_free(rings)
      rings = C.rings_new()
      start(one[3])
      C.transcript_stream(transcript, slice(openai.content(one[1]) .. openai.content("z")))
      C.transcript_end(transcript)
      assert.same({ "content", 0, #one[1] + 1, one[2] }, records()[1].parts[1])
    end
  end)

  it("has so many texts of a stream, and says of the last that more was left out", function()
    local frames = {}
    for i = 0, 99 do
      frames[#frames + 1] = openai.content("x"):gsub('"index":0', '"index":' .. i)
    end
    local parts = answer_of(table.concat(frames))
    assert.equal(64, #parts)
    assert.same({ "content", 63, 37, "x" }, parts[64])
  end)

  it("is not read where it is no sound record", function()
    start()
    C.transcript_ask(transcript, slice("asked"))
    local at, record = ffi.new("uint64_t[1]"), ffi.new("struct slice")
    C.rings_next(rings, 0, at, record)
    local head = ffi.new("struct transcript_head")
    local nothing = ffi.cast(
      "void (*)(void *, const struct transcript_head *, const struct transcript_part *)",
      function() end)
    for len = 0, tonumber(record.len) - 1 do
      local part = ffi.new("struct slice", { record.ptr, len })
      assert.is_false(C.transcript_read(part, head, nothing, nil))
    end
    nothing:free()
    C.transcript_end(transcript)
  end)
end)
