--- A small disk that can be filled, or only be read: a tmpfs in a mount namespace of its own, where
--- nobody else sees it. A process that lives there does what the spec says; gateways enter.
local gateway = require("spec.support.gateway")
local process = require("spec.support.process")

local Disk = {}
Disk.__index = Disk

local disk = {}

--- Reads a word at a time, and answers each, so that the spec can wait for it.
local SERVANT = [[
mount -t tmpfs -o size=$1 tmpfs "$2/disk" || exit 9
echo mounted
while read word < "$2/ask"; do
  case $word in
    fill) cat /dev/zero > "$2/disk/fill" 2> /dev/null ;;
    free) rm -f "$2/disk/fill" ;;
    freeze) until mount -o remount,ro "$2/disk" 2> /dev/null; do sleep 0.02; done ;;
    thaw) mount -o remount,rw "$2/disk" ;;
  esac
  echo done > "$2/said"
done]]

local UNSHARE = { "unshare", "--user", "--map-root-user", "--mount" }

--- Whether this machine lets anybody make one; else why not.
function disk.why_not()
  local status = os.execute(table.concat(UNSHARE, " ")
    .. " mount -t tmpfs tmpfs /mnt > /dev/null 2> /dev/null")
  if status ~= 0 and status ~= true then
    return "this machine lets nobody mount in a namespace of their own"
  end
end

--- size: as mount takes it, "16m". Its folder is disk.path, for whoever disk.under starts.
function disk.new(size)
  local folder = gateway.folder {}
  assert(os.execute(("mkdir %s/disk && mkfifo %s/ask %s/said"):format(folder, folder, folder)))
  local argv = { unpack(UNSHARE) }
  for _, word in ipairs { "sh", "-c", SERVANT, "disk", size, folder } do argv[#argv + 1] = word end
  local servant = process.start(argv)
  servant:wait_for("out", function(text) return text:find("mounted", 1, true) end, "the disk")
  local under = { "nsenter", "--target", ("%d"):format(servant.pid), "--user", "--mount",
    "--preserve-credentials", "sh", "-c", 'cd "$0" && exec "$@"', require("lfs").currentdir() }
  return setmetatable({ folder = folder, path = folder .. "/disk", servant = servant,
    under = under }, Disk)
end

local function order(self, word)
  local ask = assert(io.open(self.folder .. "/ask", "w"))
  ask:write(word, "\n")
  ask:close()
  local said = assert(io.open(self.folder .. "/said"))
  said:read("*a")
  said:close()
end

--- Not a byte is left.
function Disk:fill() order(self, "fill") end

function Disk:free() order(self, "free") end

--- It can only be read, as soon as nobody has a file of it open for writing.
function Disk:freeze() order(self, "freeze") end

function Disk:thaw() order(self, "thaw") end

function Disk:close()
  self.servant:kill()
  gateway.remove_folder(self.folder)
end

return disk
