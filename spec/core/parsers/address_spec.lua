local native = require("spec.support.native")

local C, ffi = native.load { "address" }

ffi.cdef [[
int inet_pton(int family, const char *text, void *to);
]]

local AF_INET, AF_INET6 = 2, 10

--- A struct sockaddr_in or sockaddr_in6, as bytes: family, port, (flow,) address.
local function sockaddr(text)
  local bytes = ffi.new("unsigned char[28]")
  local family = text:find(":") and AF_INET6 or AF_INET
  ffi.cast("unsigned short *", bytes)[0] = family
  assert.equal(1, C.inet_pton(family, text, bytes + (family == AF_INET6 and 8 or 4)))
  return ffi.cast("struct sockaddr *", bytes), bytes
end

local function is_public(text)
  local address, bytes = sockaddr(text)
  return C.address_is_public(address), bytes
end

local ours = {
  "0.0.0.0", "10.0.0.1", "10.255.255.255", "100.64.0.1", "100.127.255.255", "127.0.0.1",
  "127.255.255.254", "169.254.169.254", "172.16.0.1", "172.31.255.255", "192.0.0.8", "192.0.2.1",
  "192.88.99.1", "192.168.1.1", "198.18.0.1", "198.19.255.255", "198.51.100.1", "203.0.113.1",
  "224.0.0.1", "240.0.0.1", "255.255.255.255", "::", "::1", "::127.0.0.1", "::ffff:127.0.0.1",
  "::ffff:10.1.2.3", "64:ff9b::10.0.0.1", "64:ff9b::169.254.169.254", "64:ff9b:1::8.8.8.8",
  "64:ff9b:1:a00:1::808:808", "2002:7f00:1::", "2002:c0a8:101::1", "100::1", "100:0:0:1::1",
  "2001::1", "2001:db8::1", "fc00::1", "fd12:3456::1", "fe80::1", "fec0::1", "ff02::1",
}

local everybodys = {
  "1.1.1.1", "8.8.8.8", "9.255.255.255", "11.0.0.0", "100.63.255.255", "100.128.0.0",
  "126.255.255.255", "128.0.0.1", "172.15.255.255", "172.32.0.0", "192.167.255.255", "192.169.0.0",
  "198.17.255.255", "198.20.0.0", "223.255.255.255", "2606:4700:4700::1111", "2a00:1450::1",
  "100:0:0:2::1", "64:ff9b:2::1", "::ffff:8.8.8.8", "64:ff9b::8.8.8.8", "2002:808:808::1",
}

describe("address", function()
  for _, text in ipairs(ours) do
    it("knows " .. text .. " for one of a network's own", function()
      assert.is_false((is_public(text)))
    end)
  end

  for _, text in ipairs(everybodys) do
    it("knows " .. text .. " for a public one", function()
      assert.is_true((is_public(text)))
    end)
  end
end)
