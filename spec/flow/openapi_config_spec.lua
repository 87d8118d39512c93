-- docs/openapi.yaml against GET /config of a gateway whose weir.lua says all that it may.

local described = require("spec.support.described")
local folders = require("spec.support.gateway")
local read_file = require("spec.support.read_file")
local tls = require("spec.support.tls")
local world = require("spec.support.world")

local ALL = [[  workers = 1, keys = "ledger", drain = 10, cooldown = 20,
  tls = { cert = "spec.pem", key = "spec.key" },
  admin = { listen = { "unix:data/admin.sock", "127.0.0.1:0" }, token = weir.env "TOKEN",
    hosts = { "a.example" } },
  ledger = { timezone = "UTC", store = { keep = "30d" },
    webhook = { url = weir.env "HOOK", headers = { ["x-a"] = "b" } } },
  prices = { m = { input = 1, output = 2, cached = 1, reasoning = 2 } },
  policy = { fetch = { "https://a.example" }, check = "own_spec.lua",
    canary = { share = 0.1, header = "x-canary", keys = { "alice" } } },
  log = { file = "/dev/stderr" },]]
local PROVIDER = 'limits = { rpm = 1, tpm = 2, rpd = 3, tpd = 4, concurrent = 5 }, '
  .. 'headers = { ["x-team"] = "search" }, key = weir.env "KEY"'
local SECRETS = { HOOK = "https://hooks.example/secret-path", TOKEN = described.TOKEN }

--- Raises where a member below the schema was never told.
local function hold_seen(one, path)
  one = described.follow(one)
  for name, member in pairs(one.properties or {}) do
    local full = path .. "." .. name
    assert(described.seen[member], full .. " is described, and nobody is told it")
    hold_seen(member, full)
  end
  for _, inner in ipairs { one.items or false, one.additionalProperties or false } do
    if inner then hold_seen(inner, path) end
  end
end

describe("docs/openapi.yaml on the configuration", function()
  local w, folder

  before_each(function()
    w, folder = world.new(), folders.folder {}
  end)
  after_each(function()
    folders.remove_folder(folder)
    w:close()
  end)

  it("has every member, and none is a secret", function()
    w:upstream("first")
    tls.make_certificate(folder, "spec", "localhost")
    local gateway = w:gateway { more = ALL, env = SECRETS, provider = { first = PROVIDER },
      files = { ["own_spec.lua"] = "", ["spec.pem"] = read_file(folder .. "/spec.pem"),
        ["spec.key"] = read_file(folder .. "/spec.key") } }
    local response = described.ask(described.port(gateway), "GET", "/config")
    described.hold(response, described.document.paths["/config"].get.responses, "GET /config")
    hold_seen(described.document.components.schemas.Config, "Config")
    for _, secret in ipairs { described.TOKEN, "secret-path", "provider-key", "search" } do
      assert.is_nil(response.body:find(secret, 1, true))
    end
  end)
end)
