local bytes_of = require("spec.support.bytes_of")
local native = require("spec.support.native")

local C, ffi = native.load { "slice", "err", "buf", "http1" }

local OK, RESET, TRUNCATED, BAD = 0, C.ERR_RESET, C.ERR_TRUNCATED, C.ERR_BAD_RESPONSE

local function text_of(buf)
  return buf.len > 0 and ffi.string(buf.ptr, buf.len) or ""
end

--- Feeds pieces, then ends the connection when ends says so; what the reader made of them.
local function read(pieces, ends)
  local http1, body = ffi.new("struct http1"), ffi.new("struct buf")
  local detail = ffi.new("const char *[1]")
  local err = OK
  for _, piece in ipairs(pieces) do
    err = tonumber(C.http1_feed(http1, { piece, #piece }, body, detail))
    if err ~= OK then break end
  end
  if err == OK and ends then err = tonumber(C.http1_finish(http1, detail)) end
  local found = {
    err = err, status = http1.status, head = text_of(http1.head), body = text_of(body),
    done = http1.state == C.HTTP1_DONE, keeps = http1.keeps,
  }
  C.http1_free(http1)
  C.buf_free(body)
  return found
end

local function cut(text, random)
  local list, at = {}, 1
  while at <= #text do
    local last = at + random(1, 9) - 1
    list[#list + 1] = text:sub(at, last)
    at = last + 1
  end
  return list
end

--- Bytes, what is expected of them, and whether the connection then ends.
local answers = {
  ["a length"] = { "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
    { status = 200, head = "content-length: 5\n", body = "hello", done = true, keeps = true } },
  ["a length of nothing"] = { "HTTP/1.1 200 OK\r\ncontent-length:0\r\n\r\n",
    { status = 200, head = "content-length: 0\n", done = true, keeps = true } },
  ["the same length twice"] = {
    "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\na",
    { head = "content-length: 1\ncontent-length: 1\n", body = "a", done = true, keeps = true } },
  ["chunks"] = { "HTTP/1.1 200 OK\r\nTransfer-Encoding: Chunked\r\n\r\n"
    .. "5\r\nhello\r\n1;a=\"b\"\r\n \r\n00A \r\n0123456789\r\n0\r\n\r\n",
    { head = "transfer-encoding: Chunked\n", body = "hello 0123456789", done = true,
      keeps = true } },
  ["chunks and trailers, which rewrite nothing"] = {
    "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
      .. "1\r\na\r\n0\r\nTransfer-Encoding: x\r\n\r\n",
    { head = "transfer-encoding: chunked\n", body = "a", done = true, keeps = true } },
  ["chunks and a length: the chunks count, and the connection is not trusted"] = {
    "HTTP/1.1 200 OK\r\nContent-Length: 50\r\nTransfer-Encoding: chunked\r\n\r\n"
      .. "1\r\na\r\n0\r\n\r\n",
    { body = "a", done = true, keeps = false } },
  ["a body up to the end"] = { "HTTP/1.1 200 OK\r\n\r\nall of it",
    { body = "all of it", done = true, keeps = false }, "end" },
  ["no body for its status"] = { "HTTP/1.1 204 No Content\r\nContent-Length: 9\r\n\r\n",
    { status = 204, body = "", done = true, keeps = true } },
  ["interim heads before it"] = {
    "HTTP/1.1 100 Continue\r\nA: b\r\n\r\nHTTP/1.1 103 Hints\r\n\r\n"
      .. "HTTP/1.1 200\r\nContent-Length: 1\r\n\r\nx",
    { status = 200, head = "content-length: 1\n", body = "x", done = true } },
  ["a protocol nobody asked for"] = { "HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n",
    { status = 101, done = true, keeps = false } },
  ["bare line feeds, folds and blanks about values"] = {
    "HTTP/1.1 200 OK\nA:  b \t\n\tc\nName : d\nContent-Length: 1\n\nx",
    { head = "a: b c\nname: d\ncontent-length: 1\n", body = "x", done = true } },
  ["Connection: close"] = {
    "HTTP/1.1 200 OK\r\nConnection: Foo, Close\r\nContent-Length: 0\r\n\r\n",
    { done = true, keeps = false } },
  ["Connection: close, whatever else it says"] = {
    "HTTP/1.1 200 OK\r\nConnection: close\r\nConnection: keep-alive\r\n"
      .. "Content-Length: 0\r\n\r\n", { done = true, keeps = false } },
  ["an interim close that does not count"] = {
    "HTTP/1.1 103 Hints\r\nConnection: close\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
    { done = true, keeps = true } },
  ["chunks over HTTP/1.0, which knows none: the connection is not trusted"] = {
    "HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nTransfer-Encoding: chunked\r\n\r\n"
      .. "1\r\na\r\n0\r\n\r\n", { body = "a", done = true, keeps = false } },
  ["HTTP/1.0"] = { "HTTP/1.0 200 OK\r\nContent-Length: 0\r\n\r\n", { done = true, keeps = false } },
  ["HTTP/1.0 that keeps"] = {
    "HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 0\r\n\r\n",
    { done = true, keeps = true } },
  ["bytes that nobody asked for"] = { "HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\naHTTP/1.1 200",
    { body = "a", done = true, keeps = false } },

  ["nothing"] = { "", { err = RESET }, "end" },
  ["an end inside the status line"] = { "HTTP/1.1 20", { err = TRUNCATED }, "end" },
  ["an end inside the head"] = { "HTTP/1.1 200 OK\r\nA: b", { err = TRUNCATED }, "end" },
  ["an end after an interim head"] = { "HTTP/1.1 100 OK\r\n\r\n", { err = TRUNCATED }, "end" },
  ["an end inside a length"] = { "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc",
    { err = TRUNCATED, body = "abc", done = false }, "end" },
  ["an end between chunks"] = { "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n",
    { err = TRUNCATED, body = "a" }, "end" },
  ["an end before the last blank line"] = {
    "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n", { err = TRUNCATED }, "end" },
}

local function head(line)
  return "HTTP/1.1 200 OK\r\n" .. line .. "\r\n\r\n"
end

local chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"

local unsound = {
  ["rubbish"] = "this is no HTTP\r\n\r\n",
  ["an empty line"] = "\r\nHTTP/1.1 200 OK\r\n\r\n",
  ["HTTP/2"] = "HTTP/2 200 OK\r\n\r\n",
  ["HTTP/1.2"] = "HTTP/1.2 200 OK\r\n\r\n",
  ["a status of four digits"] = "HTTP/1.1 2000 OK\r\n\r\n",
  ["a status below 100"] = "HTTP/1.1 099 OK\r\n\r\n",
  ["a status that is no number"] = "HTTP/1.1 2x0 OK\r\n\r\n",
  ["a header without a colon"] = head("rubbish"),
  ["a header without a name"] = head(": b"),
  ["a fold before any header"] = head(" b"),
  ["NUL in a header"] = head("A: b\0c"),
  ["a negative length"] = head("Content-Length: -5"),
  ["a length with a sign"] = head("Content-Length: +5"),
  ["an empty length"] = head("Content-Length:"),
  ["a length past what counts"] = head("Content-Length: 9999999999999999999"),
  ["a list of lengths"] = head("Content-Length: 5, 5"),
  ["two lengths"] = head("Content-Length: 5\r\nContent-Length: 6"),
  ["a coding that nobody asked for"] = head("Transfer-Encoding: gzip, chunked"),
  ["a coding on top of chunks"] = head("Transfer-Encoding: chunked\r\nTransfer-Encoding: gzip"),
  ["a length that folds"] = head("Content-Length: 5\r\n 6"),
  ["a coding that folds"] = head("Transfer-Encoding: chunked\r\n , gzip"),
  ["a Connection that folds"] = head("Connection: keep-alive,\r\n close"),
  ["a bare carriage return in a header"] = head("A: b\rContent-Length: 5"),
  ["a chunk size with NUL behind it"] = chunked .. "1\0\r\na\r\n",
  ["a chunk size that is no number"] = chunked .. "zz\r\n",
  ["an empty chunk size"] = chunked .. "\r\n",
  ["a chunk size with a sign"] = chunked .. "-1\r\n",
  ["a huge chunk size"] = chunked .. ("f"):rep(17) .. "\r\n",
  ["a chunk longer than its size"] = chunked .. "1\r\nab\r\n",
  ["too many interim heads"] = ("HTTP/1.1 103 Hints\r\n\r\n"):rep(9),
  ["a head that is too long"] = head("A: " .. ("x"):rep(70000)),
  ["a line that never ends"] = "HTTP/1.1 200 OK\r\nA: " .. ("x"):rep(70000),
  ["many headers that are too long together"] = head(("A: b\r\n"):rep(12000) .. "A: b"),
  ["a chunk extension that is too long"] = chunked .. "1;" .. ("x"):rep(70000) .. "\r\n",
  ["trailers that are too long"] = chunked .. "0\r\n" .. ("A: b\r\n"):rep(12000),
}

describe("http1", function()
  local function each_way(text, check)
    check(read({ text }, false))
    check(read(bytes_of(text), false))
  end

  for name, case in pairs(answers) do
    it("reads an answer with " .. name .. ", however it is cut", function()
      local ways = { { case[1] }, bytes_of(case[1]) }
      math.randomseed(7)
      for _ = 1, 20 do ways[#ways + 1] = cut(case[1], math.random) end
      for _, pieces in ipairs(ways) do
        local found = read(pieces, case[3] == "end")
        assert.equal(case[2].err or OK, found.err)
        for field, value in pairs(case[2]) do
          assert.equal(value, found[field], field)
        end
      end
    end)
  end

  for name, text in pairs(unsound) do
    it("refuses " .. name, function()
      each_way(text, function(found) assert.equal(BAD, found.err) end)
    end)
  end

  it("walks the head's lines", function()
    local http1, body = ffi.new("struct http1"), ffi.new("struct buf")
    local detail = ffi.new("const char *[1]")
    local text = head("A-B: c: d\r\nEmpty:\r\nContent-Length: 0")
    assert.equal(OK, tonumber(C.http1_feed(http1, { text, #text }, body, detail)))
    local at, name, value = ffi.new("size_t[1]"), ffi.new("struct slice"), ffi.new("struct slice")
    local seen = {}
    while C.http1_next_header(http1, at, name, value) do
      seen[#seen + 1] = ffi.string(name.ptr, name.len) .. "=" .. ffi.string(value.ptr, value.len)
    end
    assert.same({ "a-b=c: d", "empty=", "content-length=0" }, seen)
    C.http1_free(http1)
    C.buf_free(body)
  end)
end)
