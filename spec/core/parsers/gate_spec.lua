local bytes_of = require("spec.support.bytes_of")
local native = require("spec.support.native")

local C, ffi = native.load { "slice", "gate" }

local HEAD, URI, HEADERS, BODY = 2048, 200, 20, 1000

local get = "GET / HTTP/1.1\r\nHost: a\r\n"
local post = "POST / HTTP/1.1\r\nHost: a\r\n"
local chunked = post .. "Transfer-Encoding: chunked\r\n\r\n"

-- What passes: bytes, and how many requests they are.
local sound = {
  { "a GET", get .. "\r\n", 1 },
  { "a POST", post .. "Content-Length: 5\r\n\r\nhello", 1 },
  { "a POST of nothing", post .. "Content-Length: 0\r\n\r\n", 1 },
  { "a GET that says its length is 0", get .. "Content-Length: 0\r\n\r\n", 1 },
  { "HTTP/1.0 without Host", "GET /x HTTP/1.0\r\n\r\n", 1 },
  { "HTTP/1.0 with Host and a length",
    "POST / HTTP/1.0\r\nHost: a\r\nContent-Length: 2\r\n\r\n{}", 1 },
  { "a path with a query and escapes",
    "GET /v1/a%20b?c=d&e=%00;[]{}|~ HTTP/1.1\r\nHost: a\r\n\r\n", 1 },
  { "a Host with a port", "GET / HTTP/1.1\r\nHost: weir.example-1.org:4000\r\n\r\n", 1 },
  { "a Host that is an IPv4 address", "GET / HTTP/1.1\r\nHost: 127.0.0.1:4000\r\n\r\n", 1 },
  { "a Host that is an IPv6 address", "GET / HTTP/1.1\r\nHost: [::1]:4000\r\n\r\n", 1 },
  { "a Host without a port after its colon", "GET / HTTP/1.1\r\nHost: a:\r\n\r\n", 1 },
  { "header names in any case", "POST / HTTP/1.1\r\nhOST: a\r\ncontent-LENGTH: 1\r\n\r\nx", 1 },
  { "all characters of a token in a name", get .. "!#$%&'*+-.^_`|~09azAZ: x\r\n\r\n", 1 },
  { "no space, spaces and tabs around a value", get .. "A:b\r\nC: \t d \t\r\nE:\r\n\r\n", 1 },
  { "tabs and bytes from 0x80 within a value", get .. "A: b\tc \128\255 caf\195\169\r\n\r\n", 1 },
  { "a header that may come twice", get .. "Accept: a\r\nAccept: b\r\n\r\n", 1 },
  { "any Connection header", get .. "Connection: close, Transfer-Encoding, Host\r\n\r\n", 1 },
  { "an Upgrade header", get .. "Connection: Upgrade\r\nUpgrade: h2c\r\n\r\n", 1 },
  { "an expectation", post .. "Expect: 100-Continue\r\nContent-Length: 2\r\n\r\n{}", 1 },
  { "a length with spaces around it", post .. "Content-Length:   5 \t\r\n\r\nhello", 1 },
  { "a chunked body", chunked .. "5\r\nhello\r\n1\r\n!\r\n0\r\n\r\n", 1 },
  { "an empty chunked body", chunked .. "0\r\n\r\n", 1 },
  { "a coding in any case", post .. "Transfer-Encoding: ChunkeD\r\n\r\n0\r\n\r\n", 1 },
  { "chunk sizes in upper and lower case",
    chunked .. "A\r\n0123456789\r\na\r\n0123456789\r\n0\r\n\r\n", 1 },
  { "a chunk size of 16 digits",
    chunked .. "0000000000000001\r\nx\r\n0000000000000000\r\n\r\n", 1 },
  { "chunk data that looks like chunks", chunked .. "9\r\n0\r\n\r\n0\r\n\r\r\n0\r\n\r\n", 1 },
  { "a body that looks like a request", post .. "Content-Length: 27\r\n\r\n" .. get .. "\r\n", 1 },
  { "pipelined requests", get .. "\r\n" .. post .. "Content-Length: 2\r\n\r\n{}" .. chunked
    .. "1\r\nx\r\n0\r\n\r\n" .. get .. "\r\n", 4 },
}

-- What is refused: status, code, bytes.  What is before the bad message passes.
local unsound = {
  -- which body is it?
  { "Content-Length and chunked", 400, "two_lengths",
    post .. "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" },
  { "chunked and Content-Length", 400, "two_lengths",
    post .. "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n" },
  { "two Content-Lengths that differ", 400, "duplicate_header",
    post .. "Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello" },
  { "two Content-Lengths that agree", 400, "duplicate_header",
    post .. "Content-Length: 5\r\ncontent-length: 5\r\n\r\nhello" },
  { "a length with a plus", 400, "bad_length", post .. "Content-Length: +5\r\n\r\nhello" },
  { "a length with a minus", 400, "bad_length", post .. "Content-Length: -1\r\n\r\nhello" },
  { "a length with a leading zero", 400, "bad_length", post .. "Content-Length: 05\r\n\r\nhello" },
  { "a length in hexadecimal", 400, "bad_length", post .. "Content-Length: 0x5\r\n\r\nhello" },
  { "a length with letters", 400, "bad_length", post .. "Content-Length: 5abc\r\n\r\nhello" },
  { "an empty length", 400, "bad_length", post .. "Content-Length:\r\n\r\nhello" },
  { "a list of lengths", 400, "bad_length", post .. "Content-Length: 5, 5\r\n\r\nhello" },
  { "a length with a space within", 400, "bad_length", post .. "Content-Length: 1 0\r\n\r\nhello" },
  { "a length with a fraction", 400, "bad_length", post .. "Content-Length: 5.0\r\n\r\nhello" },
  { "two codings", 400, "duplicate_header",
    post .. "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" },
  { "chunked and identity", 400, "duplicate_header",
    post .. "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n0\r\n\r\n" },
  { "the coding xchunked", 400, "bad_encoding",
    post .. "Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n" },
  { "the coding chunkedx", 400, "bad_encoding",
    post .. "Transfer-Encoding: chunkedx\r\n\r\n0\r\n\r\n" },
  { "the coding identity", 400, "bad_encoding", post .. "Transfer-Encoding: identity\r\n\r\n" },
  { "no coding", 400, "bad_encoding", post .. "Transfer-Encoding:\r\n\r\n0\r\n\r\n" },
  { "a quoted coding", 400, "bad_encoding",
    post .. "Transfer-Encoding: \"chunked\"\r\n\r\n0\r\n\r\n" },
  { "a coding after chunked", 400, "bad_encoding",
    post .. "Transfer-Encoding: chunked, gzip\r\n\r\n0\r\n\r\n" },
  { "chunked twice in a list", 400, "bad_encoding",
    post .. "Transfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n" },
  { "two words as a coding", 400, "bad_encoding",
    post .. "Transfer-Encoding: x chunked\r\n\r\n0\r\n\r\n" },
  { "a coding before chunked", 501, "unknown_encoding",
    post .. "Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n" },
  { "a coding with a vertical tab", 400, "control_byte",
    post .. "Transfer-Encoding: \11chunked\r\n\r\n0\r\n\r\n" },
  { "a fold in a coding", 400, "bad_encoding",
    post .. "Transfer-Encoding:\r\n chunked\r\n\r\n0\r\n\r\n" },
  { "chunked on HTTP/1.0", 400, "old_encoding",
    "POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" },
  { "a POST without a length", 411, "length_required", post .. "\r\n" },
  { "a GET with a body", 400, "get_body", get .. "Content-Length: 5\r\n\r\nhello" },
  { "a GET with a chunked body", 400, "get_body",
    get .. "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n" },
  { "an expectation of something else", 417, "bad_expect",
    post .. "Expect: 200-ok\r\nContent-Length: 2\r\n\r\n{}" },

  -- which lines, which headers?
  { "a space before a colon", 400, "space_before_colon",
    post .. "Content-Length : 5\r\n\r\nhello" },
  { "a tab before a colon", 400, "space_before_colon", post .. "Content-Length\t: 5\r\n\r\nhello" },
  { "a bare LF after the request line", 400, "bare_lf", "GET / HTTP/1.1\nHost: a\r\n\r\n" },
  { "a bare LF after a header", 400, "bare_lf", "GET / HTTP/1.1\r\nHost: a\nA: b\r\n\r\n" },
  { "a bare LF as the blank line", 400, "bare_lf", get .. "\n" },
  { "nothing but bare LFs", 400, "bare_lf", "GET / HTTP/1.1\nHost: a\n\n" },
  { "a bare CR in a value", 400, "bare_cr", get .. "A: b\rc\r\n\r\n" },
  { "a CR before CRLF", 400, "bare_cr", get .. "A: b\r\r\n\r\n" },
  { "a bare CR in the request line", 400, "bare_cr", "GET /\r HTTP/1.1\r\nHost: a\r\n\r\n" },
  { "a fold", 400, "obs_fold", get .. "A: b\r\n c\r\n\r\n" },
  { "a fold with a tab", 400, "obs_fold", get .. "A: b\r\n\tc\r\n\r\n" },
  { "a fold as the first header", 400, "obs_fold", "GET / HTTP/1.1\r\n Host: a\r\n\r\n" },
  { "a NUL in a value", 400, "control_byte", get .. "A: admin\0x\r\n\r\n" },
  { "a NUL in a name", 400, "control_byte", get .. "A\0B: c\r\n\r\n" },
  { "a NUL in the target", 400, "control_byte", "GET /\0 HTTP/1.1\r\nHost: a\r\n\r\n" },
  { "a control byte in a value", 400, "control_byte", get .. "A: b\8c\r\n\r\n" },
  { "DEL in a value", 400, "control_byte", get .. "A: b\127c\r\n\r\n" },
  { "an empty name", 400, "bad_header", get .. ": b\r\n\r\n" },
  { "a line without a colon", 400, "bad_header", get .. "Nothing\r\n\r\n" },
  { "a space in a name", 400, "space_before_colon", get .. "X A: b\r\n\r\n" },
  { "parentheses in a name", 400, "bad_header", get .. "X(A): b\r\n\r\n" },
  { "bytes from 0x80 in a name", 400, "bad_header", get .. "caf\195\169: b\r\n\r\n" },
  { "a slash in a name", 400, "bad_header", get .. "A/B: b\r\n\r\n" },
  { "a tab before a length", 400, "tab_before_value",
    post .. "Content-Length: \t5\r\n\r\nhello" },
  { "a tab before a coding", 400, "tab_before_value",
    post .. "Transfer-Encoding:\tchunked\r\n\r\n0\r\n\r\n" },
  { "no Host", 400, "no_host", "GET / HTTP/1.1\r\nA: b\r\n\r\n" },
  { "two Hosts", 400, "duplicate_header", get .. "Host: a\r\n\r\n" },
  { "two Hosts on HTTP/1.0", 400, "duplicate_header",
    "GET / HTTP/1.0\r\nHost: a\r\nHost: b\r\n\r\n" },
  { "an empty Host", 400, "bad_host", "GET / HTTP/1.1\r\nHost:\r\n\r\n" },
  { "a Host with a path", 400, "bad_host", "GET / HTTP/1.1\r\nHost: a/b\r\n\r\n" },
  { "a Host with a user", 400, "bad_host", "GET / HTTP/1.1\r\nHost: u@a\r\n\r\n" },
  { "a list of Hosts", 400, "bad_host", "GET / HTTP/1.1\r\nHost: a, b\r\n\r\n" },
  { "a Host with a bad port", 400, "bad_host", "GET / HTTP/1.1\r\nHost: a:8o\r\n\r\n" },
  { "a Host that is only a port", 400, "bad_host", "GET / HTTP/1.1\r\nHost: :80\r\n\r\n" },
  { "a Host with an open bracket", 400, "bad_host", "GET / HTTP/1.1\r\nHost: [::1\r\n\r\n" },
  { "a Host with something after its bracket", 400, "bad_host",
    "GET / HTTP/1.1\r\nHost: [::1]a\r\n\r\n" },
  { "two Authorizations", 400, "duplicate_header",
    get .. "Authorization: Bearer a\r\nAuthorization: Bearer b\r\n\r\n" },
  { "two Content-Types", 400, "duplicate_header",
    post .. "Content-Type: a/b\r\nContent-Type: a/b\r\nContent-Length: 0\r\n\r\n" },

  -- which request is it?
  { "a CRLF before the request line", 400, "bad_request_line", "\r\n" .. get .. "\r\n" },
  { "an LF before the request line", 400, "bare_lf", "\n" .. get .. "\r\n" },
  { "no version", 400, "bad_request_line", "GET /\r\n\r\n" },
  { "no target", 400, "bad_request_line", "GET HTTP/1.1\r\n\r\n" },
  { "an empty target", 400, "bad_target", "GET  HTTP/1.1\r\nHost: a\r\n\r\n" },
  { "a space in the target", 400, "bad_version", "GET /a b HTTP/1.1\r\nHost: a\r\n\r\n" },
  { "two spaces before the version", 400, "bad_version", "GET /  HTTP/1.1\r\nHost: a\r\n\r\n" },
  { "a space after the version", 400, "bad_version", "GET / HTTP/1.1 \r\nHost: a\r\n\r\n" },
  { "tabs as separators", 400, "bad_request_line", "GET\t/\tHTTP/1.1\r\nHost: a\r\n\r\n" },
  { "a tab in the target", 400, "bad_target", "GET /\t HTTP/1.1\r\nHost: a\r\n\r\n" },
  { "bytes from 0x80 in the target", 400, "bad_target",
    "GET /\195\169 HTTP/1.1\r\nHost: a\r\n\r\n" },
  { "an absolute target", 400, "bad_target", "GET http://a/ HTTP/1.1\r\nHost: a\r\n\r\n" },
  { "a target with two slashes first", 400, "bad_target", "GET //a HTTP/1.1\r\nHost: a\r\n\r\n" },
  { "an asterisk as target", 400, "bad_target", "GET * HTTP/1.1\r\nHost: a\r\n\r\n" },
  { "HTTP/0.9", 505, "unknown_version", "GET / HTTP/0.9\r\nHost: a\r\n\r\n" },
  { "HTTP/1.2", 505, "unknown_version", "GET / HTTP/1.2\r\nHost: a\r\n\r\n" },
  { "HTTP/2.0", 505, "unknown_version", "GET / HTTP/2.0\r\nHost: a\r\n\r\n" },
  { "HTTP/9.9", 505, "unknown_version", "GET / HTTP/9.9\r\nHost: a\r\n\r\n" },
  { "the preface of HTTP/2", 505, "unknown_version", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" },
  { "a version in lower case", 400, "bad_version", "GET / http/1.1\r\nHost: a\r\n\r\n" },
  { "a version of three digits", 400, "bad_version", "GET / HTTP/1.10\r\nHost: a\r\n\r\n" },
  { "a version without a dot", 400, "bad_version", "GET / HTTP/11\r\nHost: a\r\n\r\n" },
  { "HEAD", 405, "method_head", "HEAD / HTTP/1.1\r\nHost: a\r\n\r\n" },
  { "HEAD with a request as its body", 405, "method_head",
    "HEAD / HTTP/1.1\r\nHost: a\r\nContent-Length: 27\r\n\r\n" .. get .. "\r\n" },
  { "OPTIONS", 405, "method_not_allowed", "OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n" },
  { "PUT", 405, "method_not_allowed", "PUT / HTTP/1.1\r\nHost: a\r\n\r\n" },
  { "DELETE", 405, "method_not_allowed", "DELETE / HTTP/1.1\r\nHost: a\r\n\r\n" },
  { "PATCH", 405, "method_not_allowed", "PATCH / HTTP/1.1\r\nHost: a\r\n\r\n" },
  { "TRACE", 405, "method_not_allowed", "TRACE / HTTP/1.1\r\nHost: a\r\n\r\n" },
  { "CONNECT", 405, "method_not_allowed", "CONNECT a:443 HTTP/1.1\r\nHost: a\r\n\r\n" },
  { "a method nobody knows", 501, "unknown_method", "BREW / HTTP/1.1\r\nHost: a\r\n\r\n" },
  { "a known method in lower case", 501, "unknown_method", "get / HTTP/1.1\r\nHost: a\r\n\r\n" },
  { "a method that is no token", 400, "bad_method", "G@T / HTTP/1.1\r\nHost: a\r\n\r\n" },
  { "no method", 400, "bad_method", " / HTTP/1.1\r\nHost: a\r\n\r\n" },
  { "a TLS hello", 400, "control_byte", "\22\3\1\2\0\1\0\1\252\3\3" },

  -- limits
  { "a body over the limit", 413, "body_too_large", post .. "Content-Length: 1001\r\n\r\n" },
  { "a body over the limit that waits for leave", 413, "body_too_large",
    post .. "Content-Length: 1001\r\nExpect: 100-continue\r\n\r\n" },
  { "a length that 64 bits do not hold", 413, "body_too_large",
    post .. "Content-Length: 18446744073709551621\r\n\r\nhello" },
  { "a length of a hundred digits", 413, "body_too_large",
    post .. "Content-Length: " .. ("9"):rep(100) .. "\r\n\r\n" },
  { "a target over the limit", 414, "uri_too_long",
    "GET /" .. ("x"):rep(URI) .. " HTTP/1.1\r\nHost: a\r\n\r\n" },
  { "a target over the limit that does not end", 414, "uri_too_long", "GET /" .. ("x"):rep(HEAD) },
  { "a header over the limit", 431, "head_too_large",
    get .. "A: " .. ("x"):rep(HEAD) .. "\r\n\r\n" },
  { "a header over the limit that does not end", 431, "head_too_large",
    get .. "A: " .. ("x"):rep(HEAD) },
  { "more headers than the limit", 431, "too_many_headers",
    get .. ("A: b\r\n"):rep(HEADERS) .. "\r\n" },
}

-- The same of chunks: what passes of them, and what comes then.
local unsound_chunks = {
  { "a chunk extension", 400, "chunk_extension", "", "5;a=b\r\nhello\r\n0\r\n\r\n" },
  { "a chunk size with 0x", 400, "bad_chunk_size", "", "0x5\r\nhello\r\n0\r\n\r\n" },
  { "a chunk size with a plus", 400, "bad_chunk_size", "", "+5\r\nhello\r\n0\r\n\r\n" },
  { "a chunk size with a minus", 400, "bad_chunk_size", "", "-0\r\n\r\n" },
  { "a space before a chunk size", 400, "bad_chunk_size", "", " 5\r\nhello\r\n0\r\n\r\n" },
  { "a space after a chunk size", 400, "bad_chunk_size", "", "5 \r\nhello\r\n0\r\n\r\n" },
  { "an empty chunk size", 400, "bad_chunk_size", "", "\r\nhello\r\n0\r\n\r\n" },
  { "a chunk size that is no number", 400, "bad_chunk_size", "", "g\r\n" },
  { "a chunk size of 17 digits", 400, "bad_chunk_size", "", ("0"):rep(16) .. "5\r\nhello\r\n" },
  { "a bare LF after a chunk size", 400, "bare_lf", "", "5\nhello\r\n0\r\n\r\n" },
  { "a bare CR after a chunk size", 400, "bare_cr", "", "5\rhello\r\n0\r\n\r\n" },
  { "a bad second chunk size", 400, "bad_chunk_size", "5\r\nhello\r\n", "x\r\n" },
  { "a bare LF after chunk data", 400, "bare_lf", "5\r\nhello", "\n0\r\n\r\n" },
  { "a bare CR after chunk data", 400, "bare_cr", "5\r\nhello", "\r0\r\n\r\n" },
  { "chunk data that is too long", 400, "bad_chunk_end", "5\r\nhello", "!\r\n0\r\n\r\n" },
  { "a trailer", 400, "trailer", "0\r\n", "A: b\r\n\r\n" },
  { "a bare LF after the last chunk", 400, "bare_lf", "0\r\n", "\n" },
  { "a chunk over the limit", 413, "body_too_large", "", "3e9\r\n" },
  { "a chunk of all that 64 bits hold", 413, "body_too_large", "", "ffffffffffffffff\r\n" },
  { "chunks that are over the limit together", 413, "body_too_large",
    "3e8\r\n" .. ("x"):rep(1000) .. "\r\n", "1\r\n" },
  { "chunks that wrap 64 bits together", 413, "body_too_large",
    "3e8\r\n" .. ("x"):rep(1000) .. "\r\n", "fffffffffffffc18\r\n" },
}

local limits = ffi.new("struct gate_limits",
  { head = HEAD, headers = HEADERS, uri = URI, body = BODY })

local function new_gate()
  return ffi.new("struct gate", { limits = limits })
end

--- Offers the pieces as a connection's input would be offered: what has not
--- passed comes again, with what came after.
local function offer(pieces)
  local gate, input = new_gate(), ""
  local sum = { passed = 0, heads = 0, ends = 0, status = 0 }
  for _, piece in ipairs(pieces) do
    input = input .. piece
    local bytes = ffi.new("char[?]", math.max(#input, 1))
    ffi.copy(bytes, input, #input)
    local verdict = C.gate_read(gate, ffi.new("struct slice", bytes, #input))
    local passed = tonumber(verdict.passed)
    assert(passed <= #input)
    input = input:sub(passed + 1)
    sum.passed = sum.passed + passed
    sum.heads = sum.heads + verdict.heads
    sum.ends = sum.ends + verdict.ends
    if verdict.status ~= 0 then
      sum.status, sum.code = verdict.status, ffi.string(verdict.code)
      sum.reason = ffi.string(verdict.reason)
      break
    end
  end
  return sum, gate
end

-- The same, however it comes: whole, byte by byte, cut at every offset.
local function offer_all_ways(text)
  local whole = offer { text }
  assert.same(whole, (offer(bytes_of(text))))
  for at = 1, #text - 1 do
    assert.same(whole, (offer { text:sub(1, at), text:sub(at + 1) }))
  end
  return whole
end

describe("gate", function()
  it("has more than a hundred cases", function()
    assert.is_true(#sound + #unsound + #unsound_chunks > 100)
  end)

  for _, case in ipairs(sound) do
    local name, text, requests = unpack(case)
    it("passes " .. name, function()
      assert.same({ passed = #text, heads = requests, ends = requests, status = 0 },
        offer_all_ways(text))
    end)
  end

  local function it_refuses(name, status, code, passes, text)
    it("refuses " .. name, function()
      local verdict = offer_all_ways(passes .. text)
      assert.equal(code, verdict.code)
      assert.equal(status, verdict.status)
      assert.equal(#passes, verdict.passed)
      assert.equal(0, verdict.ends)
      assert.truthy(verdict.reason:match("^%u.*%.$"))
    end)

    it("passes what is before " .. name, function()
      local before = get .. "\r\n" .. post .. "Content-Length: 2\r\n\r\n{}"
      local verdict = offer { before .. passes .. text }
      assert.equal(#before + #passes, verdict.passed)
      assert.equal(2, verdict.ends)
      assert.equal(code, verdict.code)
    end)
  end

  for _, case in ipairs(unsound) do
    local name, status, code, text = unpack(case)
    it_refuses(name, status, code, "", text)
  end

  for _, case in ipairs(unsound_chunks) do
    local name, status, code, passes, text = unpack(case)
    it_refuses(name, status, code, chunked .. passes, text)
  end

  it("takes no bytes as no change", function()
    assert.same({ passed = 0, heads = 0, ends = 0, status = 0 }, (offer { "" }))
  end)

  it("passes nothing more once it has refused", function()
    local _, gate = offer { "BREW / HTTP/1.1\r\n" }
    local verdict = C.gate_read(gate, ffi.new("struct slice", get .. "\r\n", #get + 2))
    assert.equal(0, tonumber(verdict.passed))
    assert.equal(501, verdict.status)
  end)

  it("holds a head back until it is whole", function()
    local head = get .. "\r\n"
    for at = 1, #head - 1 do
      assert.equal(0, offer({ head:sub(1, at) }).passed)
    end
  end)

  it("passes body bytes as they come", function()
    local head = post .. "Content-Length: 5\r\n\r\n"
    for at = 0, 4 do
      local sum = offer { head .. ("hello"):sub(1, at) }
      assert.same({ passed = #head + at, heads = 1, ends = 0, status = 0 }, sum)
    end
  end)

  it("knows whether a head or a body comes next", function()
    local function phase_after(text)
      local _, gate = offer { text }
      return tonumber(gate.phase)
    end
    assert.equal(C.GATE_HEAD, phase_after(""))
    assert.equal(C.GATE_HEAD, phase_after(get))
    assert.equal(C.GATE_HEAD, phase_after(get .. "\r\n"))
    assert.equal(C.GATE_BODY, phase_after(post .. "Content-Length: 5\r\n\r\n"))
    assert.equal(C.GATE_BODY, phase_after(post .. "Content-Length: 5\r\n\r\nhell"))
    assert.equal(C.GATE_HEAD, phase_after(post .. "Content-Length: 5\r\n\r\nhello"))
    assert.equal(C.GATE_BODY, phase_after(chunked .. "0\r\n"))
    assert.equal(C.GATE_HEAD, phase_after(chunked .. "0\r\n\r\n"))
  end)

  it("looks at a byte of a dripping head once", function()
    local gate, head = new_gate(), get .. "A: " .. ("x"):rep(100)
    local bytes = ffi.new("char[?]", #head)
    for at = 1, #head do
      -- What was seen before is wiped: a gate that looked again would refuse it.
      ffi.fill(bytes, #head, 0)
      ffi.copy(bytes + at - 1, head:sub(at, at), 1)
      local line = tonumber(gate.line)
      ffi.copy(bytes + line, head:sub(line + 1, at), at - line) -- but for an unfinished line
      local verdict = C.gate_read(gate, ffi.new("struct slice", bytes, at))
      assert.equal(0, verdict.status)
    end
    assert.equal(#head, tonumber(gate.seen))
  end)

  describe("at a limit", function()
    local function target_of(size)
      return "POST /" .. ("x"):rep(size - 1) .. " HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n"
    end

    local function head_of(size)
      return get .. "A: " .. ("x"):rep(size - #get - 7) .. "\r\n\r\n"
    end

    local function body_of(size)
      return post .. ("Content-Length: %d\r\n\r\n"):format(size) .. ("x"):rep(size)
    end

    local function chunks_of(size)
      return chunked .. ("1\r\nx\r\n"):rep(10) .. ("%x\r\n"):format(size - 10)
        .. ("x"):rep(size - 10) .. "\r\n0\r\n\r\n"
    end

    local function headers_of(count)
      return get .. ("A: b\r\n"):rep(count - 1) .. "\r\n"
    end

    for name, case in pairs {
      target = { target_of, URI, 414 },
      head = { head_of, HEAD, 431 },
      body = { body_of, BODY, 413 },
      ["chunked body"] = { chunks_of, BODY, 413 },
      ["count of headers"] = { headers_of, HEADERS, 431 },
    } do
      local make, limit, status = unpack(case)

      it("passes a " .. name .. " of just that", function()
        for _, text in ipairs { make(limit - 1), make(limit) } do
          local expected = { passed = #text, heads = 1, ends = 1, status = 0 }
          assert.same(expected, (offer { text }))
          assert.same(expected, (offer(bytes_of(text))))
        end
      end)

      it("refuses a " .. name .. " of one more", function()
        assert.equal(status, offer({ make(limit + 1) }).status)
        assert.equal(status, offer(bytes_of(make(limit + 1))).status)
      end)
    end
  end)
end)
