--- A small disk that can be filled: a tmpfs, in a mount namespace of the gateway's own, where
--- nothing else sees it. Somebody in there does what the spec says.
local gateway = require("spec.support.gateway")

local Disk = {}
Disk.__index = Disk

local disk = {}

--- Reads a word at a time; answers each, so that the spec can wait for it.
local SERVANT = [[
mount -t tmpfs -o size=$1 tmpfs "$2/disk" || exit 9
( (
  while read word < "$2/ask"; do
    case $word in
      fill) cat /dev/zero > "$2/disk/fill" 2> /dev/null ;;
      free) rm -f "$2/disk/fill" ;;
      end) exit ;;
    esac
    echo done > "$2/said"
  done
) < /dev/null > /dev/null 2> /dev/null & )
shift 2
exec "$@"]]

local UNSHARE = { "unshare", "--user", "--map-root-user", "--mount" }

--- Whether this machine lets anybody make one; else why not.
function disk.why_not()
  local words = table.concat(UNSHARE, " ")
  local status = os.execute(words .. " mount -t tmpfs tmpfs /mnt 2> /dev/null")
  if status ~= 0 and status ~= true then
    return "this machine lets nobody mount in a namespace of their own"
  end
end

--- size: as mount takes it, "16m". The disk's folder is disk.path, for whoever disk.under starts.
function disk.new(size)
  local folder = gateway.folder {}
  assert(os.execute(("mkdir %s/disk && mkfifo %s/ask %s/said"):format(folder, folder, folder)))
  local under = { unpack(UNSHARE) }
  for _, word in ipairs { "sh", "-c", SERVANT, "disk", size, folder } do
    under[#under + 1] = word
  end
  return setmetatable({ folder = folder, path = folder .. "/disk", under = under }, Disk)
end

local function tell(self, word)
  local ask = assert(io.open(self.folder .. "/ask", "w"))
  ask:write(word, "\n")
  ask:close()
end

local function order(self, word)
  tell(self, word)
  local said = assert(io.open(self.folder .. "/said"))
  said:read("*a")
  said:close()
end

--- Not a byte is left.
function Disk:fill() order(self, "fill") end

function Disk:free() order(self, "free") end

--- After whoever was started in it has ended.
function Disk:close()
  tell(self, "end")
  gateway.remove_folder(self.folder)
end

return disk
