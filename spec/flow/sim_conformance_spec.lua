local conformance = require("spec.support.conformance")
local scenarios = require("spec.support.scenarios")

describe("the simulator and the gateway agree on", function()
  local simulated

  setup(function() simulated = conformance.simulate() end)

  scenarios.each(function(name, scenario, stream)
    it(name, function()
      local found = assert(simulated[name], "the simulator did not play it")
      assert.same(conformance.comparable(conformance.play(scenario, stream)),
        conformance.comparable(found))
    end)
  end)
end)
