-- A provider whose name does not resolve in time stalls nobody.  On the plain build: what is
-- preloaded here does not go with a sanitizer's own.

local gateway_support = require("spec.support.gateway")
local openai = require("spec.support.openai")
local preload = require("spec.support.preload")
local world = require("spec.support.world")

describe("a provider whose name server is silent #plain", function()
  local w, first, second, folder

  before_each(function()
    w = world.new()
    first, second = w:upstream("first"), w:upstream("second")
    folder = gateway_support.folder {}
  end)

  after_each(function()
    w:close()
    gateway_support.remove_folder(folder)
  end)

  local function start()
    return w:gateway {
      under = preload(folder, "slow_names"),
      providers = [[
    slow = {
      type = "openai", base_url = "http://slow.example:80/v1", timeout = { connect = 0.3 },
    },]],
      models = [[
    default = waterfall { "slow/m", "first/m" },
    leaves = waterfall { "slow/m" },
    other = waterfall { "second/m" },]],
    }
  end

  it("is given up when its time is over, and the next target serves", function()
    local gateway = start()
    local client = gateway:chat()
    first:answer(200, openai.answer("hello"))
    assert.equal("first/m", client:read_response().headers["x-weir-target"])
    gateway:wait_log("event=attempt", "target=slow/m", "outcome=timeout")
  end)

  it("holds up no other request, neither while it is asked nor when it is given up", function()
    local gateway = start()
    local waiting, leaving = gateway:chat(), gateway:chat { model = "leaves" }
    local client = gateway:chat { model = "other" }
    second:answer(200, openai.answer("at once"))
    assert.equal(200, client:read_response().status)
    leaving:close() -- its attempt is cancelled in the middle of the lookup
    first:answer(200, openai.answer("later"))
    assert.equal("first/m", waiting:read_response().headers["x-weir-target"])
  end)
end)
