-- The Dockerfile cannot be built where specs run; what it names is held to what is there, the
-- libraries on the plain build: with sanitizers others are linked.

local process = require("spec.support.process")
local read_file = require("spec.support.read_file")

local function run(...)
  local command = process.start { ... }
  local status = command:wait(60)
  return status, command.text.out .. command.text.err
end

--- The packages of the nth apt-get install, as a set.
local function installed(number)
  local sets = {}
  for list in read_file("Dockerfile"):gmatch("install %-y %-%-no%-install%-recommends (.-) &&") do
    local set = {}
    for name in list:gsub("\\", " "):gmatch("%S+") do
      set[name] = true
    end
    sets[#sets + 1] = set
  end
  return assert(sets[number], "no such apt-get install")
end

describe("the image", function()
  it("is built with what make installs", function()
    local wanted = {}
    for name in read_file("tools/install"):match('build="(.-)"'):gmatch("%S+") do
      wanted[name] = true
    end
    wanted.curl, wanted["ca-certificates"] = nil, nil -- the tools' own
    assert.same(wanted, installed(1))
  end)

  it("has the libraries that the binary needs #plain", function()
    local status, said = run("readelf", "-d", os.getenv("WEIR") or "build/weir")
    if status ~= 0 then return pending("readelf says: " .. said) end
    local there, count = installed(2), 0
    for library in said:gmatch("%(NEEDED%)[^%[]*%[([^%]]+)%]") do
      local found, owners = run("dpkg", "-S", "*/" .. library)
      if found ~= 0 then return pending("dpkg does not know " .. library) end
      local has_one = false
      for owner in ("\n" .. owners):gmatch("\n([^:,]+)") do
        has_one = has_one or owner == "libc6" or there[owner] == true
      end
      assert.is_true(has_one, owners)
      count = count + 1
    end
    assert.is_true(count > 5)
  end)

  it("asks what the package asks besides", function()
    local depends = read_file("packaging/package.cmake"):match('PACKAGE_DEPENDS "([^"]+)"')
    for name in depends:gmatch("[^, ]+") do
      assert.is_true(installed(2)[name] == true, name)
    end
  end)

  it("is run by a compose file whose settings docker-compose takes", function()
    local status, said = run("sh", "-c", "command -v docker-compose >/dev/null || exit 77; "
      .. "folder=$(mktemp -d) && cp compose.yaml $folder && mkdir $folder/config && "
      .. "touch $folder/config/keys.env && cd $folder && docker-compose config --quiet; "
      .. "status=$?; rm -r $folder; exit $status")
    if status == 77 then return pending("docker-compose is not there") end
    assert.equal(0, status, said)
  end)
end)
