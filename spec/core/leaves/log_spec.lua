local native = require("spec.support.native")
local libc = require("spec.support.libc")

local C, ffi = native.load { "slice", "buf", "log" }

local O_NONBLOCK = 2048
local TIME = "%d%d%d%d%-%d%d%-%d%dT%d%d:%d%d:%d%d%.%d%d%dZ"

local function slice(text)
  return ffi.new("struct slice", text, #text)
end

describe("log", function()
  local reading, writing

  local function open(format, level, flags)
    local fds = ffi.new("int[2]")
    libc.check(libc.C.pipe2(fds, flags or O_NONBLOCK), "pipe2")
    reading, writing = fds[0], fds[1]
    C.log_open(writing, level or C.LOG_INFO, format or C.LOG_LOGFMT)
  end

  -- One read(2), as one line is one write(2).
  local function read()
    if not libc.wait(reading, libc.POLLIN, libc.now()) then return nil end
    local bytes = ffi.new("char[65536]")
    local len = libc.check(libc.C.read(reading, bytes, 65536), "read")
    return ffi.string(bytes, len)
  end

  -- Logs one line of fields, in order, and gives it without its time.
  local function line_of(fields, event)
    local line = ffi.new("struct log_line[1]", { C.log_begin(C.LOG_INFO, event or "x") })
    for _, field in ipairs(fields) do
      local verb, key, value = unpack(field)
      C[verb](line, key, verb == "log_text" and slice(value) or value)
    end
    C.log_end(line)
    local text = read()
    return text and text:gsub(TIME, "T")
  end

  local function value_of(value)
    return line_of({ { "log_text", "k", value } }):match("^time=T level=info event=x k=(.*)\n$")
  end

  local function json_value_of(value)
    return line_of({ { "log_text", "k", value } })
      :match('^{"time":"T","level":"info","event":"x","k":(.*)}\n$')
  end

  after_each(function()
    C.log_open(2, C.LOG_INFO, C.LOG_LOGFMT)
    if reading then
      libc.C.close(reading)
      libc.C.close(writing)
    end
    reading, writing = nil, nil
  end)

  it("writes time, level, event and fields in order", function()
    open()
    local line = line_of({
      { "log_text", "target", "groq/llama-3.3" }, { "log_int", "status", 429 },
      { "log_ms", "first", 12345 }, { "log_bool", "stream", true }, { "log_str", "model", "m" },
    }, "attempt")
    assert.equal("time=T level=info event=attempt target=groq/llama-3.3 status=429 "
      .. "first=12.345 stream=true model=m\n", line)
  end)

  it("writes JSON with the same fields", function()
    open(C.LOG_JSON)
    local line = line_of({
      { "log_text", "target", "groq/llama-3.3" }, { "log_int", "status", 429 },
      { "log_ms", "first", 12345 }, { "log_bool", "stream", false },
    }, "attempt")
    assert.equal('{"time":"T","level":"info","event":"attempt","target":"groq/llama-3.3",'
      .. '"status":429,"first":12.345,"stream":false}\n', line)
  end)

  it("writes the time of day in UTC, with milliseconds", function()
    open()
    local before = os.time()
    C.log_end(ffi.new("struct log_line[1]", { C.log_begin(C.LOG_INFO, "x") }))
    local shown = read():match("^time=(" .. TIME .. ") ")
    local after = os.time()
    assert.truthy(shown)
    assert.is_true(shown >= os.date("!%Y-%m-%dT%H:%M:%S.000Z", before))
    assert.is_true(shown <= os.date("!%Y-%m-%dT%H:%M:%S.999Z", after))
  end)

  it("leaves out a text that is NULL", function()
    open()
    assert.equal("time=T level=info event=x\n", line_of { { "log_str", "k", nil } })
  end)

  it("writes any number", function()
    open()
    for number, text in pairs {
      [0] = "0", [-1] = "-1", [9007199254740993LL] = "9007199254740993",
      [0x7fffffffffffffffLL] = "9223372036854775807",
      [-0x7fffffffffffffffLL - 1] = "-9223372036854775808",
    } do
      assert.equal("time=T level=info event=x k=" .. text .. "\n",
        line_of { { "log_int", "k", number } })
    end
    for us, text in pairs { [0] = "0.000", [7] = "0.007", [-1500] = "-1.500" } do
      assert.equal("time=T level=info event=x k=" .. text .. "\n",
        line_of { { "log_ms", "k", us } })
    end
  end)

  it("quotes what would not be read back as one word", function()
    open()
    for value, text in pairs {
      ["plain/word:1.5_-"] = "plain/word:1.5_-",
      ["caf\195\169"] = "caf\195\169",
      [""] = '""',
      ["a b"] = '"a b"',
      ["a=b"] = '"a=b"',
      ['say "a"'] = [["say \"a\""]],
      ["a\\b"] = [["a\\b"]],
      ["a\r\n\tb"] = [["a\r\n\tb"]],
      ["a\0\27[31m\127"] = [["a\u0000\u001b[31m\u007f"]],
      ["a\194\155b"] = [["a\u009bb"]], -- what some terminals take for ESC [
    } do
      assert.equal(text, value_of(value))
    end
  end)

  it("replaces what is not UTF-8", function()
    open(C.LOG_JSON)
    local mark = "\239\191\189"
    for value, text in pairs {
      ["a\255b"] = "a" .. mark .. "b",
      ["\128"] = mark,
      ["\195"] = mark,
      ["\195x"] = mark .. "x",
      ["\192\175"] = mark .. mark,                        -- overlong
      ["\224\128\175"] = mark .. mark .. mark,            -- overlong
      ["\237\160\128"] = mark .. mark .. mark,            -- half of a pair
      ["\244\144\128\128"] = mark .. mark .. mark .. mark, -- past U+10FFFF
      ["\240\159\152\128"] = "\240\159\152\128",
      ["\226\130\172"] = "\226\130\172",
    } do
      assert.equal('"' .. text .. '"', json_value_of(value))
    end
  end)

  it("escapes JSON as JSON does", function()
    open(C.LOG_JSON)
    assert.equal([["a \"b\" \\ = \n\u0001"]], json_value_of('a "b" \\ = \n\1'))
  end)

  it("keeps keys that would break a line from breaking it", function()
    open()
    assert.equal("time=T level=info event=x a_b_c_d=1\n", line_of { { "log_int", "a b=c\nd", 1 } })
    C.log_open(writing, C.LOG_INFO, C.LOG_JSON)
    assert.equal('{"time":"T","level":"info","event":"x","a_b_c":1}\n',
      line_of { { "log_int", 'a"b\\c', 1 } })
  end)

  it("cuts a value at 1 KiB, not within a character", function()
    open()
    local mark = "\226\128\166"
    assert.equal(("x"):rep(1024), value_of(("x"):rep(1024)))
    assert.equal(("x"):rep(1024) .. mark, value_of(("x"):rep(1025)))
    assert.equal(("x"):rep(1023) .. mark, value_of(("x"):rep(1023) .. "\195\169"))
  end)

  it("leaves out fields that a line of 8 KiB does not hold, and says so", function()
    for _, format in ipairs { C.LOG_LOGFMT, C.LOG_JSON } do
      open(format)
      local fields = {}
      for i = 1, 12 do
        fields[i] = { "log_text", "k" .. i, ("\1"):rep(400) }
      end
      fields[13] = { "log_int", "last", 1 }
      local line = line_of(fields)
      assert.is_true(#line <= 8192)
      assert.truthy(line:find("k3", 1, true))
      assert.is_nil(line:find("k4", 1, true))
      assert.truthy(line:find('last"?[:=]1'))
      assert.truthy(line:find('cut"?[:=]true}?\n$'))
      libc.C.close(reading)
      libc.C.close(writing)
      reading = nil
    end
  end)

  it("writes nothing below its level", function()
    open(C.LOG_LOGFMT, C.LOG_WARN)
    assert.is_false(C.log_wants(C.LOG_INFO))
    assert.is_true(C.log_wants(C.LOG_WARN))
    assert.is_nil(line_of { { "log_int", "k", 1 } })
  end)

  it("names the levels", function()
    open(C.LOG_LOGFMT, C.LOG_DEBUG)
    for level, name in pairs {
      [C.LOG_DEBUG] = "debug", [C.LOG_INFO] = "info", [C.LOG_WARN] = "warn",
      [C.LOG_ERROR] = "error",
    } do
      C.log_end(ffi.new("struct log_line[1]", { C.log_begin(level, "x") }))
      assert.truthy(read():find(" level=" .. name .. " ", 1, true))
    end
  end)

  it("lets a new line replace one that was left open", function()
    open()
    local left = ffi.new("struct log_line[1]", { C.log_begin(C.LOG_INFO, "left") })
    C.log_int(left, "a", 1)
    local line = ffi.new("struct log_line[1]", { C.log_begin(C.LOG_INFO, "new") })
    C.log_int(left, "b", 2)
    C.log_int(line, "c", 3)
    C.log_end(left)
    C.log_end(line)
    assert.equal("time=T level=info event=new c=3\n", (read():gsub(TIME, "T")))
  end)

  it("writes a line once", function()
    open()
    local line = ffi.new("struct log_line[1]", { C.log_begin(C.LOG_INFO, "x") })
    C.log_end(line)
    C.log_end(line)
    assert.equal("time=T level=info event=x\n", (read():gsub(TIME, "T")))
  end)

  for name, flags in pairs { ["non-blocking"] = O_NONBLOCK, blocking = 0 } do
    it("drops lines that a full " .. name .. " pipe does not take, and counts them", function()
      open(C.LOG_LOGFMT, C.LOG_INFO, flags)
      local long = ("x"):rep(1000)
      local function fill()
        local line = ffi.new("struct log_line[1]", { C.log_begin(C.LOG_INFO, "x") })
        for _ = 1, 4 do
          C.log_text(line, "k", slice(long))
        end
        C.log_end(line)
      end
      for _ = 1, 40 do -- a pipe holds 64 KiB
        fill()
      end
      local lines, text = 0, read()
      while text do
        lines = lines + select(2, text:gsub("\n", ""))
        text = read()
      end
      assert.is_true(lines > 0 and lines < 40)
      assert.equal(("time=T level=info event=x k=1 dropped=%d\n"):format(40 - lines),
        line_of { { "log_int", "k", 1 } })
      assert.equal("time=T level=info event=x k=2\n", line_of { { "log_int", "k", 2 } })
    end)
  end

  describe("redaction", function()
    local MARK = "\226\128\166"

    local function redact(text)
      local out = ffi.new("struct buf[1]")
      C.log_redact(out, slice(text))
      local result = out[0].len > 0 and ffi.string(out[0].ptr, out[0].len) or ""
      C.buf_free(out)
      return result
    end

    local masked = {
      ["sk-abcdefgh"] = "sk-" .. MARK,
      ["sk-proj-Ab1_-2345678"] = "sk-" .. MARK,
      ["sk-or-v1-0123456789abcdef"] = "sk-" .. MARK,
      ["wk-abcdefgh"] = "wk-" .. MARK,
      ["gsk_abcdefgh"] = "gsk_" .. MARK,
      ["csk-abcdefgh"] = "csk-" .. MARK,
      ["AIzaSyA-1234567"] = "AIza" .. MARK,
      ["xai-abcdefgh"] = "xai-" .. MARK,
      ["key-abcdefgh"] = "key-" .. MARK,
      ["Bearer abc"] = "Bearer " .. MARK,
      ["authorization: bearer\t  eyJh.bGci/+=~x, done"] = "authorization: bearer\t  " .. MARK
        .. ", done",
      ["Incorrect API key provided: sk-abcd****************wxyz. See"] =
        "Incorrect API key provided: sk-" .. MARK .. ". See",
      ['{"api_key":"sk-abcdefgh","b":"gsk_abcdefgh"}'] =
        '{"api_key":"sk-' .. MARK .. '","b":"gsk_' .. MARK .. '"}',
      ["?key=AIzaSyA-1234567&x=1"] = "?key=AIza" .. MARK .. "&x=1",
      ["?key%3Dsk-abcdefgh"] = "?key%3Dsk-" .. MARK,
      ["my_sk-abcdefgh"] = "my_sk-" .. MARK,
    }

    local kept = {
      "", "nothing", "sk-", "sk-abcdefg", "task-abcdefgh", "Bearer", "Bearer ", "bearers abcdefgh",
      "gpt-4o-mini", "groq/llama-3.3-70b-versatile", "AIza", "a key of mine",
    }

    for text, expected in pairs(masked) do
      it("masks " .. text, function()
        assert.equal(expected, redact(text))
        assert.equal("<" .. expected .. ">", redact("<" .. text .. ">"))
      end)
    end

    for _, text in ipairs(kept) do
      it("keeps " .. ("%q"):format(text), function()
        assert.equal(text, redact(text))
      end)
    end

    it("masks what fields say, in both formats", function()
      open()
      assert.equal('"key sk-' .. MARK .. ' is bad"', value_of("key sk-abcdefghij is bad"))
      assert.equal("sk-" .. MARK, value_of("sk-abcdefghij"))
      C.log_open(writing, C.LOG_INFO, C.LOG_JSON)
      assert.equal('"sk-' .. MARK .. '"', json_value_of("sk-abcdefghij"))
    end)

    it("shows no part of a key where a value is cut", function()
      open()
      local before = ("x"):rep(1017) .. " "
      assert.equal('"' .. before .. "sk-" .. MARK .. MARK .. '"',
        value_of(before .. "sk-abcdefgh12"))
    end)
  end)
end)
