local url = require("weir.url")

describe("url", function()
  it("takes http and https with host, port and path, and drops slashes at the end", function()
    local good = {
      ["https://api.openai.com/v1"] = "https://api.openai.com/v1",
      ["https://api.openai.com/v1/"] = "https://api.openai.com/v1",
      ["http://127.0.0.1:11434/v1"] = "http://127.0.0.1:11434/v1",
      ["http://[::1]:8080"] = "http://[::1]:8080",
      ["http://[fe80::1]/v1"] = "http://[fe80::1]/v1",
      ["http://localhost:65535"] = "http://localhost:65535",
      ["http://my_host.local:1//"] = "http://my_host.local:1",
      ["https://example.test/a/b.c/d~e/%20x"] = "https://example.test/a/b.c/d~e/%20x",
    }
    for text, read in pairs(good) do assert.equal(read, (url.read(text)), text) end
  end)

  it("refuses everything else and says why", function()
    local bad = {
      ["api.openai.com/v1"] = "must begin with",
      ["ftp://example.test"] = "must begin with",
      ["HTTPS://example.test"] = "must begin with",
      [" https://example.test"] = "must begin with",
      ["https://"] = "names no host",
      ["https:///v1"] = "names no host",
      ["https://:443/v1"] = "names no host",
      ["https://me:secret@example.test"] = "must not hold credentials",
      ["https://@example.test"] = "must not hold credentials",
      ["https://example.test@evil.test/v1"] = "credentials",
      ["https://example.test/v1?key=1"] = "no query",
      ["https://example.test?key=1"] = "no query",
      ["https://example.test/v1#x"] = "no fragment",
      ["https://example.test/v1 "] = "no URL has",
      ["https://example.test/v1\r\nx: y"] = "no URL has",
      ["https://example.test/v1\0"] = "no URL has",
      ["https://example.test/%zz"] = "no URL has",
      ["https://example.test/%2"] = "no URL has",
      ["https://example.test/caf\195\169"] = "no URL has",
      ["https://example.test/a/../b"] = "dots",
      ["https://example.test/.."] = "dots",
      ["https://example.test/./b"] = "dots",
      ["https://example .test/"] = "bad host",
      ["https://example.test\\evil/"] = "bad host",
      ["https://a..b/"] = "bad host",
      ["https://../"] = "bad host",
      ["https://-a/"] = "bad host",
      ["https://example.test:0/"] = "bad port",
      ["https://example.test:65536/"] = "bad port",
      ["https://example.test:/"] = "bad port",
      ["https://example.test:80a/"] = "bad port",
      ["https://example.test:80:80/"] = "bad port",
      ["https://[::1/"] = "bad",
      ["https://[]/"] = "IPv6",
      ["https://[abc]/"] = "IPv6",
      ["https://[::1]x/"] = "bad",
    }
    for text, why in pairs(bad) do
      local read, problem = url.read(text)
      assert.is_nil(read, text)
      assert.truthy(problem:find(why, 1, true), ("%q: %s"):format(text, problem))
    end
  end)
end)
