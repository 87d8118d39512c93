--- The second policy serves when the first has nobody left.
return function(first, second)
  return function(req)
    local res, err = first(req)
    if res or err and err.final then return res, err end
    return second(req)
  end
end
