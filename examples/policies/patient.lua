--- The first target gets ten seconds to begin and its own temperature; the second all the time.
return function(fast, slow)
  return function(req)
    local res, err = req:send(fast, {
      timeout = { first = 10 },
      edit = function(body) body.temperature = 0.2 end,
    })
    if res or err.final then return res, err end
    return req:send(slow)
  end
end
