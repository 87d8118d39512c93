local bytes_of = require("spec.support.bytes_of")
local native = require("spec.support.native")

local C, ffi = native.load { "slice", "err", "buf", "sse" }

local FOLDER = "spec/core/parsers/sse/"
local FLAGS = { "has_ignored", "is_done", "is_unended" }

local function read(path)
  local file = assert(io.open(path, "rb"))
  local text = file:read("*a")
  file:close()
  return text
end

local function text_of(slice)
  return slice.len > 0 and ffi.string(slice.ptr, slice.len) or ""
end

-- What an event says: only the fields that say something.
local function said_by(event)
  local said = {
    data = event.has_data and text_of(event.data) or nil,
    retry_ms = event.retry_ms ~= -1 and tonumber(event.retry_ms) or nil,
  }
  for _, name in ipairs { "name", "id" } do
    said[name] = event[name].len > 0 and text_of(event[name]) or nil
  end
  for _, name in ipairs(FLAGS) do
    said[name] = event[name] or nil
  end
  return said
end

--- A parser whose events gather in .events, and their raw bytes in .raws.
local function new_parser(max_event)
  local parser = { events = {}, raws = {} }
  parser.callback = ffi.cast("sse_on_event *", function(_, event)
    parser.events[#parser.events + 1] = said_by(event)
    parser.raws[#parser.raws + 1] = text_of(event.raw)
  end)
  parser.sse = C.sse_new(max_event or 0, parser.callback, nil)

  function parser:feed(text)
    return tonumber(C.sse_feed(self.sse, text, #text))
  end

  function parser:finish()
    return tonumber(C.sse_finish(self.sse))
  end

  function parser:pending()
    return tonumber(C.sse_pending(self.sse))
  end

  function parser:free()
    C.sse_free(self.sse)
    self.callback:free()
  end

  jit.off(parser.feed) -- a compiled call cannot call back
  jit.off(parser.finish)
  return parser
end

local parser -- of the spec that runs

-- Feeds all pieces; gives events and raws.
local function parse(pieces, max_event)
  local one = new_parser(max_event)
  for _, piece in ipairs(pieces) do
    assert.equal(C.ERR_OK, one:feed(piece))
  end
  assert.equal(C.ERR_OK, one:finish())
  assert.equal(0, one:pending())
  one:free()
  return one.events, one.raws
end

-- A CRLF cut where its block ends gives the LF a block of its own: puts it back.
local function join_cut_endings(events, raws)
  local joined_events, joined_raws = {}, {}
  for i, raw in ipairs(raws) do
    local last = joined_raws[#joined_raws]
    if raw == "\n" and last and last:sub(-1) == "\r" then
      joined_raws[#joined_raws] = last .. raw
    else
      joined_raws[#joined_raws + 1] = raw
      joined_events[#joined_events + 1] = events[i]
    end
  end
  return joined_events, joined_raws
end

local function fixtures()
  local names = {}
  for path in io.popen("ls " .. FOLDER .. "*.sse"):lines() do
    names[#names + 1] = path:match("([%w_]+)%.sse$")
  end
  return names
end

describe("sse", function()
  after_each(function()
    if parser then parser:free() end
    parser = nil
  end)

  describe("fixtures", function()
    local names = fixtures()

    it("are there", function()
      assert.is_true(#names >= 25)
    end)

    for _, name in ipairs(names) do
      local input = read(FOLDER .. name .. ".sse")
      local chunk = "return {\n" .. read(FOLDER .. name .. ".events") .. "}"
      local expected = assert(loadstring(chunk, name))()
      local whole, raws

      it(name .. " gives its events when it comes whole", function()
        whole, raws = parse { input }
        assert.same(expected, whole)
        assert.equal(input, table.concat(raws))
      end)

      it(name .. " gives the same byte by byte", function()
        local events, cut_raws = join_cut_endings(parse(bytes_of(input)))
        assert.same(whole, events)
        assert.same(raws, cut_raws)
      end)

      it(name .. " gives the same cut at every offset", function()
        for at = 1, #input - 1 do
          local events, cut_raws = join_cut_endings(parse { input:sub(1, at), input:sub(at + 1) })
          assert.same(whole, events)
          assert.same(raws, cut_raws)
        end
      end)
    end
  end)

  it("hands an event out with the byte that ends it", function()
    for _, ending in ipairs { "\n\n", "\r\r", "\r\n\n", "\r\n\r", "\n\r" } do
      parser = new_parser()
      for _, byte in ipairs(bytes_of("data: a" .. ending:sub(1, -2))) do
        assert.equal(C.ERR_OK, parser:feed(byte))
      end
      assert.equal(0, #parser.events)
      assert.equal(C.ERR_OK, parser:feed(ending:sub(-1)))
      assert.same({ { data = "a" } }, parser.events)
      assert.equal(0, parser:pending())
      parser:free()
    end
    parser = nil
  end)

  it("hands the LF of a cut CRLF out at once, as a block without data", function()
    parser = new_parser()
    assert.equal(C.ERR_OK, parser:feed("data: a\r\n\r"))
    assert.equal(C.ERR_OK, parser:feed("\n"))
    assert.same({ { data = "a" }, {} }, parser.events)
    assert.same({ "data: a\r\n\r", "\n" }, parser.raws)
  end)

  it("takes no bytes as no change", function()
    parser = new_parser()
    assert.equal(C.ERR_OK, parser:feed("data: a\r\n\r"))
    assert.equal(C.ERR_OK, parser:feed(""))
    assert.equal(C.ERR_OK, parser:feed("\ndata: b\n\n"))
    assert.same({ "data: a\r\n\r", "\n", "data: b\n\n" }, parser.raws)
  end)

  it("keeps several parsers apart", function()
    local other = new_parser()
    parser = new_parser()
    for i = 1, 20 do
      assert.equal(C.ERR_OK, parser:feed(("data: a%d\n\n"):format(i):sub(1, 6)))
      assert.equal(C.ERR_OK, other:feed(("event: b\rdata: %d\r"):format(i)))
      assert.equal(C.ERR_OK, parser:feed(("data: a%d\n\n"):format(i):sub(7)))
      assert.equal(C.ERR_OK, other:feed("\r"))
    end
    for i = 1, 20 do
      assert.same({ data = "a" .. i }, parser.events[i])
      assert.same({ name = "b", data = tostring(i) }, other.events[i])
    end
    other:free()
  end)

  it("says how many bytes it holds", function()
    parser = new_parser()
    assert.equal(C.ERR_OK, parser:feed("\239\187"))
    assert.equal(2, parser:pending())
    assert.equal(C.ERR_OK, parser:feed("\191data: a\n\ndata: b"))
    assert.equal(7, parser:pending())
    assert.equal(C.ERR_OK, parser:feed("\n\n"))
    assert.equal(0, parser:pending())
  end)

  it("accepts NULL in free, and frees what is unfinished", function()
    C.sse_free(nil)
    parser = new_parser()
    assert.equal(C.ERR_OK, parser:feed("data: a"))
    parser:free()
    assert.equal(0, #parser.events)
    parser = nil
  end)

  describe("with a limit", function()
    local LIMIT = 100

    -- An event of so many bytes in all.
    local function event_of(size, ending)
      return "data: " .. ("x"):rep(size - 6 - #ending) .. ending
    end

    for name, ending in pairs { LF = "\n\n", CR = "\r\r", CRLF = "\r\n\r" } do
      it("takes a block of just its size that ends with " .. name, function()
        local fits = event_of(LIMIT, ending)
        assert.equal(2, #parse({ fits, fits }, LIMIT))
        assert.equal(1, #parse(bytes_of(fits), LIMIT))
      end)

      it("refuses one byte more that ends with " .. name .. ", however it comes", function()
        for _, pieces in ipairs { { event_of(LIMIT + 1, ending) },
          bytes_of(event_of(LIMIT + 1, ending)) } do
          parser = new_parser(LIMIT)
          local err = C.ERR_OK
          for _, piece in ipairs(pieces) do
            assert.equal(C.ERR_OK, err)
            err = parser:feed(piece)
          end
          assert.equal(C.ERR_TOO_LARGE, err)
          assert.equal(0, #parser.events)
          parser:free()
        end
        parser = nil
      end)
    end

    it("refuses a block before its end comes", function()
      parser = new_parser(LIMIT)
      assert.equal(C.ERR_TOO_LARGE, parser:feed(": " .. ("x"):rep(LIMIT)))
      assert.equal(0, parser:pending())
    end)

    it("counts lines that carry nothing, too", function()
      parser = new_parser(LIMIT)
      local err
      for _ = 1, LIMIT do
        err = parser:feed(":\n")
      end
      assert.equal(C.ERR_TOO_LARGE, err)
    end)

    it("hands out what came before the block that is too large", function()
      parser = new_parser(LIMIT)
      assert.equal(C.ERR_TOO_LARGE, parser:feed("data: a\n\n" .. event_of(LIMIT + 1, "\n\n")))
      assert.same({ { data = "a" } }, parser.events)
    end)

    it("stays failed", function()
      parser = new_parser(LIMIT)
      assert.equal(C.ERR_TOO_LARGE, parser:feed(event_of(LIMIT + 1, "\n\n")))
      assert.equal(C.ERR_TOO_LARGE, parser:feed("data: a\n\n"))
      assert.equal(C.ERR_TOO_LARGE, parser:finish())
      assert.equal(0, #parser.events)
    end)

    it("refuses an unended block at the end as well", function()
      parser = new_parser(LIMIT)
      assert.equal(C.ERR_OK, parser:feed(("x"):rep(LIMIT + 1)))
      assert.equal(C.ERR_TOO_LARGE, parser:finish())
      assert.equal(0, #parser.events)
    end)
  end)

  describe("by default", function()
    local SIZE = 16 * 1024 * 1024
    local big = "data: " .. ("x"):rep(SIZE - 8) .. "\n\n"

    it("takes an event of 16 MB whole", function()
      local events = parse { big }
      assert.equal(SIZE - 8, #events[1].data)
    end)

    it("takes an event of 16 MB in pieces of 1 KB, and holds nothing after it", function()
      parser = new_parser()
      for at = 1, #big, 1024 do
        assert.equal(C.ERR_OK, parser:feed(big:sub(at, at + 1023)))
      end
      assert.equal(1, #parser.events)
      assert.equal(big, parser.raws[1])
      assert.equal(0, parser:pending())
    end)

    it("refuses a byte more", function()
      parser = new_parser()
      assert.equal(C.ERR_TOO_LARGE, parser:feed("x" .. big))
    end)
  end)
end)
