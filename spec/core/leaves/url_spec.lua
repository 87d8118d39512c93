local native = require("spec.support.native")
local C, ffi = native.load { "slice", "url" }

local function split(text)
  local url = ffi.new("struct url")
  local problem = C.url_split(ffi.new("struct slice", { text, #text }), url)
  if problem ~= nil then return nil, ffi.string(problem) end
  local function of(slice) return ffi.string(slice.ptr, tonumber(slice.len)) end
  return of(url.base), of(url.path)
end

describe("url", function()
  it("is parted into where to connect and what to ask for", function()
    assert.same({ "https://hooks.example", "/a/b?c=d" }, { split("https://hooks.example/a/b?c=d") })
    assert.same({ "http://[::1]:80", "" }, { split("http://[::1]:80") })
    assert.same({ "http://h", "?x=/y" }, { split("http://h?x=/y") })
  end)

  for text, problem in pairs {
    ["hooks.example"] = "must begin", ["ftp://h/"] = "must begin", ["https://"] = "no host",
    ["https:///a"] = "no host", ["https://u:p@h/"] = "must not hold a user",
    ["https://h/a b"] = "a character", ["https://h/\r\nX: y"] = "a character",
    ["https://h/#f"] = "a fragment", ["https://h/\200"] = "a character",
  } do
    it("is none: " .. text:gsub("%c", "."), function()
      local base, said = split(text)
      assert.is_nil(base)
      assert.truthy(said:find(problem, 1, true), said)
    end)
  end

  it("may have an @ behind its host", function()
    assert.equal("/@team", select(2, split("https://h/@team")))
  end)
end)
