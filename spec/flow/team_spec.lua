-- What examples/team/ has beside its weir.lua, which spec/examples_spec.lua starts: each file is
-- held to the program that reads it, where that is there.

local gateway = require("spec.support.gateway")
local ledger = require("spec.support.ledger")
local json = require("dkjson")
local openai = require("spec.support.openai")
local process = require("spec.support.process")
local read_file = require("spec.support.read_file")
local world = require("spec.support.world")

local function has(program)
  return os.execute("command -v " .. program .. " >/dev/null 2>&1") == 0
end

local function run(...)
  local command = process.start { ... }
  local status = command:wait(60)
  return status, command.text.out .. command.text.err
end

describe("the team's example", function()
  local w, folder

  before_each(function()
    w, folder = world.new(), gateway.folder {}
  end)
  after_each(function()
    gateway.remove_folder(folder)
    w:close()
  end)

  local function write(name, text)
    local file = assert(io.open(folder .. "/" .. name, "wb"))
    file:write(text)
    file:close()
    return folder .. "/" .. name
  end

  --- Each label that a query sums by or asks for stands on a sample of its series.
  local function assert_labels(metrics, expr)
    for name, rest in expr:gmatch("([%a_]+_[%a_]+)({[^}]*})") do
      for label in rest:gmatch("([%a_]+)%s*[=!]") do
        assert.matches("\n" .. name .. "{[^\n]*" .. label .. '="', metrics)
      end
    end
    local name = expr:match("weir_[%a_]+") or expr:match("gen_ai_%l+_%l+_[%a_]+")
    for list in expr:gmatch("by %(([^)]*)%)") do
      for label in list:gmatch("[%a_]+") do
        assert.matches("\n" .. name .. "{[^\n]*" .. label .. '="', metrics)
      end
    end
  end

  it("has a dashboard of series that there are", function()
    local first = w:upstream("first")
    local started = w:gateway { more = ledger.CONFIG, models =
      '    default = waterfall { "first/first-model" }, bad = function() error("x") end,' }
    local headers = ledger.key(started, "alice")
    local client = started:chat { stream = true, headers = headers }
    local provider = first:stream(openai.content("a"))
    client:read_head()
    client:read_chunk()
    provider:send_chunk(openai.content("b"))
    client:read_chunk()
    provider:send_chunk(openai.finish .. openai.usage .. openai.done)
    provider:finish_stream()
    client:read_chunks()
    started:chat { model = "bad", headers = headers }:read_response()
    started:wait_log("event=request", "model=bad")
    assert.equal(2, #ledger.ask(started, "requests").requests) -- both are over
    local metrics = started:ask_admin("/metrics")
    local panels = json.decode(read_file("examples/team/grafana.json")).panels
    assert.is_true(#panels > 10)
    for _, panel in ipairs(panels) do
      for _, target in ipairs(panel.targets) do
        local count = 0
        for name in target.expr:gmatch("([%a_]+_[%a_]+)") do
          if name:find("^weir_") or name:find("^gen_ai_%l+_%l+_") or name == "error_type" then
            assert.is_truthy(metrics:find(name, 1, true) or name == "error_type", name)
            count = count + 1
          end
        end
        assert.is_true(count > 0, target.expr)
        assert_labels(metrics, target.expr)
      end
    end
  end)

  it("has units that systemd takes", function()
    if not has("systemd-analyze") then return pending("systemd-analyze is not there") end
    local binary = os.getenv("WEIR") or "build/weir"
    if not binary:find("^/") then binary = require("lfs").currentdir() .. "/" .. binary end
    local unit = write("weir.service",
      (read_file("examples/team/weir.service"):gsub("/usr/bin/weir", (binary:gsub("%%", "%%%%")))))
    local socket = write("weir.socket", read_file("examples/team/weir.socket"))
    local status, said = run("systemd-analyze", "verify", "--man=no", unit, socket)
    assert.equal(0, status, said)
    assert.equal("", said)
    -- 2.0 of 10, where 10 is everything: what is there now is 1.4, 1.2 as it runs
    status, said = run("systemd-analyze", "security", "--offline=true", "--threshold=20", unit)
    assert.equal(0, status, said)
  end)

  it("has an nginx in front that nginx takes", function()
    if not has("nginx") then return pending("nginx is not there") end
    require("spec.support.tls").make_certificate(folder, "nginx", "llm.example.com")
    local site = read_file("examples/team/nginx.conf")
      :gsub("/etc/ssl/llm.example.com/fullchain.pem", folder .. "/nginx.pem")
      :gsub("/etc/ssl/llm.example.com/privkey.pem", folder .. "/nginx.key")
    local path = write("nginx.conf", ("pid %s/pid;\nerror_log stderr;\nevents {}\nhttp {\n"
      .. "access_log off;\n%s}\n"):format(folder, site))
    local status, said = run("nginx", "-t", "-q", "-p", folder, "-c", path)
    assert.equal(0, status, said)
  end)

  it("is what the Debian package holds, with the units' folders", function()
    local build = (os.getenv("WEIR") or "build/weir"):match("^(.*)/") or "."
    local config = build .. "/CPackConfig.cmake"
    if not (has("cpack") and has("dpkg-deb") and io.open(config)) then
      return pending("cpack or dpkg-deb is not there")
    end
    local status, said = run("cpack", "--config", config, "-B", folder,
      "-D", "CPACK_DEBIAN_PACKAGE_SHLIBDEPS=OFF")
    assert.equal(0, status, said)
    local package = said:match("package: (%S+%.deb)")
    local _, contents = run("dpkg-deb", "--contents", package)
    for _, path in ipairs { "./usr/bin/weir", "./etc/weir/weir.lua",
      "./lib/systemd/system/weir.service", "./lib/systemd/system/weir.socket",
      "./usr/share/doc/weir/docs/deploy.md", "./usr/share/doc/weir/copyright",
      "./usr/share/doc/weir/changelog.gz", "./usr/share/man/man1/weir.1.gz",
      "./usr/share/doc/weir/examples/team/grafana.json" } do
      assert.is_truthy(contents:find(" " .. path .. "\n", 1, true), path)
    end
    run("dpkg-deb", "--extract", package, folder .. "/unpacked")
    local installed = read_file(folder .. "/unpacked/etc/weir/weir.lua")
    assert.is_truthy(installed:find('data = "/var/lib/weir"', 1, true))
    assert.is_truthy(installed:find('listen = { "unix:/run/weir/admin.sock" }', 1, true))
    local _, conffiles = run("dpkg-deb", "--info", package, "conffiles")
    assert.equal("/etc/weir/weir.lua\n", conffiles)
    for _, name in ipairs { "postinst", "prerm", "postrm" } do
      local _, script = run("dpkg-deb", "--info", package, name)
      assert.equal(0, (run("sh", "-n", write(name, script))), name)
    end
  end)

  it("has a manual page of every command", function()
    local status, help = run(os.getenv("WEIR") or "build/weir", "--help")
    assert.equal(0, status)
    local page, count = read_file("packaging/weir.1"):match("%.SH COMMANDS(.*)%.SH EXIT"), 0
    for words in help:gmatch("\n  weir (%l[%l, ]*)") do
      for command in words:gsub(" %l.*", ""):gmatch("%l+") do
        assert.matches("%f[%a]" .. command .. "%f[%A]", page)
        count = count + 1
      end
    end
    assert.is_true(count > 8, help)
  end)
end)
